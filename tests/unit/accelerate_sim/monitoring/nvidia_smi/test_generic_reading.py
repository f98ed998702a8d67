"""A job with generic names is read with generic names, and programs find their fields all the same."""

from __future__ import annotations

import os
import re
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.monitoring.nvidia_smi.__main__ import run
from accelerate_sim.monitoring.nvidia_smi.generic_reading import renamed
from accelerate_sim.monitoring.published_job import Position, PublishedJob, path_of, process_start

REAL = re.compile(r"NVIDIA|H100|Hopper|CUDA|python3|mlx|Llama", re.IGNORECASE)


@pytest.fixture(autouse=True)
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of this process with generic names; its clock stands."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = tmp_path / "fake-torchrun"
    directory.mkdir(mode=0o700)
    changes = {
        "model": "gpt2", "cluster": {"nodes": 1, "gpus_per_node": 2}, "parallel": {"tensor": 1, "sharding": "ddp"},
        "train": {"sequence_length": 1024},
    }  # fmt: skip
    config = RunConfig.model_validate(changes).model_dump(mode="json")
    pid = os.getpid()
    published = PublishedJob(
        1, 42, config, 0.0, "2026-01-05T09:30:00", (pid,), process_start(pid), "torch-python", generic_names=True
    )
    position = Position(100.0, time.monotonic(), 0.0, 100.0)
    path_of(directory, pid).write_bytes(position.line() + published.line())


def printed(*words: str) -> str:
    texts: list[str] = []
    assert run(words, texts.append) == 0
    return "".join(texts)


@pytest.mark.parametrize(
    "words", [(), ("-L",), ("topo", "-m"), ("nvlink", "-s"), ("dmon", "-c", "1"), ("pmon", "-c", "1")]
)
def test_outputs_for_people_have_no_real_name(words: tuple[str, ...]) -> None:
    assert not REAL.search(printed(*words))


def test_the_table_keeps_its_frame() -> None:
    lines = printed().splitlines()[1:]
    assert {len(line) for line in lines} <= {91, 89, 0}
    assert lines[1].startswith("| Vendor-SMI 550.")
    assert "Accelerator 80GB" in lines[7] and "framework-python" in lines[-2]


def test_values_are_generic_where_programs_find_them() -> None:
    query = printed("--query-gpu=name,driver_version", "--format=csv").splitlines()
    assert query[0] == "name, driver_version" and query[1].startswith("Accelerator 80GB, 550.")
    log = ElementTree.fromstring(printed("-q", "-x"))
    gpu = log.find("gpu")
    assert gpu is not None and log.findtext("cuda_version") == "12.4"
    names = [gpu.findtext(f"product_{each}") for each in ("name", "brand", "architecture")]
    assert names == ["Accelerator 80GB", "Vendor", "Generic"]
    text = printed("-q")
    assert re.search(r"(?m)^CUDA Version +: 12\.4$", text) and not re.search("NVIDIA|H100|Hopper", text)


def test_a_line_without_a_frame_may_become_shorter() -> None:
    assert renamed("an NVIDIA GPU\n| CUDA 12  |\n") == "an Vendor GPU\n| gpu 12   |\n"
