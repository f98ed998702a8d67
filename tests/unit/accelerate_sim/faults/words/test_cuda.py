"""CUDA errors and out-of-memory texts are those of each release of torch, and their figures add up."""

from __future__ import annotations

import re

import pytest

from accelerate_sim.faults.words import cuda
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.xid_bodies import BODIES

GIB = cuda.GIB
MEMORY = cuda.GpuMemory(
    capacity=int(79.10 * GIB), allocated=int(74.2 * GIB), reserved=int(76.9 * GIB), context=int(1.3 * GIB),
    others=((881, int(0.52 * GIB)),),
)  # fmt: skip


@pytest.mark.parametrize(
    "torch, name, search",
    [("2.4", "RuntimeError", 0), ("2.8.0", "torch.AcceleratorError", 0), ("2.13", "torch.AcceleratorError", 1)],
)
def test_the_class_and_the_pointer_to_the_manual_change_with_the_release(torch: str, name: str, search: int) -> None:
    lines = cuda.exception(cuda.ECC, torch).split("\n")
    assert lines[0] == f"{name}: CUDA error: uncorrectable ECC error encountered"
    assert sum("Search for `cudaErrorECCUncorrectable' in https://" in line for line in lines) == search
    assert lines[-4].startswith("CUDA kernel errors might be asynchronously reported at some other API call")
    assert lines[-3] == "For debugging consider passing CUDA_LAUNCH_BLOCKING=1"
    assert lines[-1] == "", "the message ends with an empty line"


def test_an_xid_that_ends_a_process_has_an_error_and_one_that_does_not_has_none() -> None:
    assert BODIES.keys() - cuda.AFTER_XID.keys() == {63, 64, 119, 120, 154}
    assert cuda.AFTER_XID.keys() <= BODIES.keys()
    assert set(cuda.AFTER_XID.values()) <= set(cuda.ERRORS)


def test_the_lines_of_a_rank_have_its_mark_with_one_blank() -> None:
    lines = [line.text for line in cuda.main_thread(13, cuda.NVLINK)]
    assert all(line.startswith("[rank13]: ") for line in lines)
    assert lines[0] == "[rank13]: Traceback (most recent call last):"
    assert any("uncorrectable NVLink error detected during the execution" in line for line in lines)


def test_the_watchdog_reports_first_in_most_runs_but_not_in_all() -> None:
    first = [cuda.watchdog_is_first(Draw(seed)) for seed in range(300)]
    assert 0.7 < sum(first) / len(first) < 0.9


@pytest.mark.parametrize(
    "size, text",
    [(0, "0 bytes"), (1024, "1024 bytes"), (1536, "1.50 KiB"), (20 << 20, "20.00 MiB"), (1 << 30, "1024.00 MiB"),
     (2_104_533_975, "1.96 GiB")],
)  # fmt: skip
def test_sizes_have_the_allocators_units(size: int, text: str) -> None:
    assert cuda.size_text(size) == text


def test_segments_are_two_or_twenty_mebibytes_or_multiples_of_two() -> None:
    asked = [1000, 5 << 20, (10 << 20) + 1, (33 << 20) - 5]
    assert [cuda.segment_size(size) >> 20 for size in asked] == [2, 20, 12, 34]


def sizes(text: str) -> dict[str, float]:
    """Figures of an out-of-memory text in GiB, by the words around them."""
    number = r"([\d.]+) (bytes|KiB|MiB|GiB)"
    unit = {"bytes": 2.0**-30, "KiB": 2.0**-20, "MiB": 2.0**-10, "GiB": 1.0}
    patterns = {
        "tried": f"Tried to allocate {number}", "capacity": f"total capacity of {number}",
        "free": f"of which {number} is free",
        "other": f"Process 881 has {number}", "used": f"this process has {number}",
        "allocated": f"Of the allocated memory {number}", "reserved": f"and {number} is reserved",
    }  # fmt: skip
    found = {name: re.search(pattern, text) for name, pattern in patterns.items()}
    return {name: float(match[1]) * unit[match[2]] for name, match in found.items() if match}


def test_the_figures_of_an_out_of_memory_text_add_up() -> None:
    text = cuda.out_of_memory(3, int(1.9 * GIB), MEMORY)
    said = sizes(text)
    assert said.keys() == {"tried", "capacity", "free", "other", "used", "allocated", "reserved"}
    assert said["used"] + said["other"] + said["free"] == pytest.approx(said["capacity"], abs=0.02)
    assert said["allocated"] + said["reserved"] <= said["used"] <= said["allocated"] + said["reserved"] + 2.0
    assert said["tried"] > said["free"]
    assert " GPU 3 has a total capacity of 79.10 GiB of which " in text


@pytest.mark.parametrize("torch, name, page", [
    ("2.4", "torch.cuda.OutOfMemoryError", "https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"),
    ("2.13", "torch.OutOfMemoryError", "#optimizing-memory-usage-with-pytorch-cuda-alloc-conf)"),
])  # fmt: skip
def test_the_out_of_memory_text_is_that_of_the_release(torch: str, name: str, page: str) -> None:
    text = cuda.out_of_memory(0, 2 * GIB, MEMORY, torch=torch)
    assert text.startswith(f"{name}: CUDA out of memory. Tried to allocate ")
    assert "to avoid fragmentation.  See documentation for Memory Management  (https://" in text
    assert text.endswith(page)


def test_limits_and_private_pools_are_named_where_there_are_some() -> None:
    plain = cuda.out_of_memory(0, 2 * GIB, MEMORY)
    more = cuda.out_of_memory(0, 2 * GIB, MEMORY._replace(private_pools=GIB // 2), allowed=78 * GIB)
    assert "78.00 GiB allowed; Of the allocated memory" in more
    assert "with 512.00 MiB allocated in private pools (e.g., CUDA Graphs), and " in more
    assert "allowed" not in plain and "private pools" not in plain


def test_memory_that_is_enough_is_refused_as_our_own_mistake() -> None:
    for asked, memory in ((1000, MEMORY), (2 * GIB, MEMORY._replace(context=9 * GIB))):
        with pytest.raises(ValueError, match="no shortage"):
            cuda.out_of_memory(0, asked, memory)


def test_a_rank_without_memory_prints_a_traceback_and_warns_of_retries_before_it() -> None:
    lines = [line.text for line in cuda.out_of_memory_of_rank(5, 1, 2 * GIB, MEMORY, retries=3)]
    assert lines[0] == "3 CUDA memory allocation retries."
    assert lines[-1].startswith("[rank5]: torch.OutOfMemoryError: CUDA out of memory. ")


def test_failed_assertions_of_a_kernel_are_of_one_block() -> None:
    texts = [line.text for line in cuda.device_assertions(Draw(1), 5)]
    found = [re.search(r"block: \[(\d+),0,0\], thread: \[(\d+),0,0\] Assertion `.+` failed\.$", text) for text in texts]
    assert all(found) and len({match[1] for match in found if match}) == 1
    assert len({match[2] for match in found if match}) == 5
