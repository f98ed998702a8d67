"""Real readers find in our words what was meant, and real libraries print what our words say.

Readers: the restart agent of nvidia-resiliency-ext 0.7 (``pip download`` of its wheel and unzip is enough) and
``health_checks`` of gpucm, which needs a virtual environment of its own and to be on PATH. Libraries: torch 2.13,
safetensors 0.8, libcudart of CUDA 12. Each test is skipped without its own.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from accelerate_sim.faults.words import (
    cuda,
    data_loader,
    heartbeat,
    kernel,
    nccl,
    nccl_error,
    numbers,
    signals,
    slurm,
    storage,
    store,
    watchdog,
)
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import TimedLine
from accelerate_sim.faults.words.torch_release import release
from accelerate_sim.faults.words.xid import xid
from accelerate_sim.faults.words.xid_bodies import BODIES, XidGpu
from tests.support.repository import ROOT

LIMIT_S = 120.0
pytestmark = pytest.mark.real
NOW = datetime(2026, 6, 6, 9, 9, 8)
GIB = cuda.GIB
AGENT = "nvidia_resiliency_ext.attribution.restart_agent"
REGISTRY = f"{AGENT}.l0.registry"
MEMORY = cuda.GpuMemory(
    capacity=int(79.1 * GIB), allocated=int(74.2 * GIB), reserved=int(76.9 * GIB), context=int(1.3 * GIB)
)
COLLECTIVE = watchdog.WatchedCollective(seq=57)


def waiter(torch: str = "2.13") -> watchdog.Waiter:
    group = watchdog.WatchedGroup(rank=3, enqueued=57, completed=56)
    return watchdog.Waiter(rank=3, group=group, default=group, expired=NOW, draw=Draw(1), torch=torch)


def speaker(version: str = "2.30.7") -> nccl.NcclProcess:
    return nccl.NcclProcess(host="node2", pid=4711, thread=4790, device=5, start=NOW, version=version)


def client() -> store.Client:
    return store.Client(rank=3, host="node0", port=29500, start=NOW, draw=Draw(1))


LOST_PEER = nccl.closed_text("node4", 45210)
FAMILIES: dict[str, tuple[Iterable[TimedLine], set[str]]] = {
    "out of GPU memory": (
        cuda.out_of_memory_of_rank(3, 3, 2 * GIB, MEMORY),
        {"cuda_oom", "observed_exception"},
    ),
    "waiting rank": (
        watchdog.waiting_rank(waiter(), COLLECTIVE),
        {"observed_distributed_operation_timeout", "nccl_cascade"},
    ),
    "waiting rank, torch 2.4": (
        watchdog.waiting_rank(waiter("2.4"), COLLECTIVE),
        {"observed_distributed_operation_timeout", "nccl_cascade"},
    ),
    "absent rank": (heartbeat.absent_rank(waiter(), 5), {"nccl_cascade"}),
    "port down": (nccl.port_event(speaker(), "mlx5_0"), {"nccl_rdma_port_error_event"}),
    "port down, NCCL 2.27": (nccl.port_event(speaker("2.27.7"), "mlx5_0"), set()),
    "peer gone": (
        nccl_error.async_error(waiter(), COLLECTIVE, nccl_error.REMOTE, LOST_PEER),
        {"observed_exception", "nccl_cascade", "terminal_transport_failure_surface"},
    ),
    "peer's socket closed": (nccl.connection_closed(speaker(), "node4", 9), {"terminal_transport_failure_surface"}),
    "retries exceeded": (nccl.retries_exceeded(speaker(), "10.0.0.4", 9, "mlx5_0", Draw(1)), set()),
    "store gone": (store.gone(client(), store.RESET), {"terminal_transport_failure_surface"}),
    "preempted": (slurm.end_of_step(7, 0, ["node0", "node1"], 8, NOW, "preempt"), {"infra_policy_event"}),
    "time limit": (slurm.end_of_step(7, 0, ["node0", "node1"], 8, NOW, "time"), {"time_limit"}),
    "node lost": (slurm.lost_node(7, 0, "node3", "node0", NOW), {"infra_policy_event"}),
    "step out of memory": (slurm.killed_for_memory(7, 0, "node3", 29, 2), {"linux_oom_kill_confirmation"}),
    "host out of memory": (kernel.out_of_memory(9, 900.0, Draw(1)), {"linux_oom_kill_confirmation"}),
    "segmentation fault": (kernel.segmentation_fault(9, Draw(1)), {"framework_crash"}),
    "worker killed": (data_loader.lost_worker(3, 9, data_loader.killed(9, 9), number=9), {"observed_exception"}),
    "memory error": (cuda.main_thread(3, cuda.ECC), {"observed_exception", "gpu_hardware_fault"}),
    "NVLink error": (cuda.main_thread(3, cuda.NVLINK), {"observed_exception", "gpu_hardware_fault"}),
    "contained error": (cuda.main_thread(3, cuda.CONTAINED), {"observed_exception", "peer_gpu_memory_access_failure"}),
    "interrupted": (signals.own_words(signal.SIGINT, Draw(1)), set()),
    **{f"Xid {code}": (xid(code, XidGpu(), Draw(code)), {"gpu_hardware_fault"}) for code in BODIES},
}


@pytest.fixture
def registry() -> ModuleType:
    return pytest.importorskip(REGISTRY)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_restart_agent_finds_the_planted_category(registry: ModuleType, family: str) -> None:
    lines, expected = FAMILIES[family]
    assert {row.registry_id for line in lines for row in registry.match_registry(line.text)} == expected


def test_the_restart_agent_knows_the_texts_of_storage_and_figures(registry: ModuleType) -> None:
    def found(text: str) -> set[str]:
        return {row.registry_id for row in registry.match_registry(text)}

    assert found(storage.last_line(storage.system_error("permission", "/d"))) == {
        "observed_exception",
        "filesystem_permission_denied",
    }
    assert "artifact_or_path_not_found" in found(storage.last_line(storage.system_error("missing", "/d")))
    assert found(storage.damaged_safetensors("data cut")) == {"observed_exception"}
    assert "observed_exception" in found(nccl_error.backend_error(nccl_error.REMOTE, LOST_PEER).split("\n")[0])
    assert found(numbers.trainer_log(float("nan"), 1.0, 0.1, 0.5, hides_nan=False)) == set(), "a quote is in between"


@cache
def clean_run(config: str) -> str:
    """Output of a run without faults."""
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(ROOT / f"configs/{config}.yaml")]
    run = subprocess.run(
        [*command, "--speed", "max", "--max-steps", "300"], capture_output=True, text=True, timeout=LIMIT_S
    )
    assert run.returncode == 0
    return run.stdout + run.stderr


@pytest.mark.parametrize("config", ["debug", "llama70b"])
def test_the_restart_agent_finds_nothing_in_a_clean_run(registry: ModuleType, config: str) -> None:
    lines = clean_run(config).splitlines()
    assert len(lines) > 50
    assert not [line for line in lines if registry.match_registry(line)]


@pytest.mark.parametrize(
    "family, primary",
    [
        ("out of GPU memory", "cuda_oom"),
        ("waiting rank", "observed_distributed_operation_timeout"),
        ("preempted", "infra_policy_event"),
        ("Xid 79", "gpu_hardware_fault"),
        (None, None),
    ],
)
def test_the_restart_agent_names_the_root(
    registry: ModuleType, tmp_path: Path, family: str | None, primary: str | None
) -> None:
    log, result = tmp_path / "job.log", tmp_path / "result.json"
    planted = [line.text for line in FAMILIES[family][0]] if family else []
    log.write_text("\n".join([*clean_run("llama70b").splitlines(), *planted, ""]), encoding="utf-8")
    command = [sys.executable, "-m", f"{AGENT}.cli", str(log), "--disable-l1", "--job-id", "1", "--cycle-id", "0"]
    command += ["--deterministic-json-out", str(result)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    if "No module named" in run.stderr:
        pytest.skip("the restart agent lacks a package of its own")
    assert run.returncode == 0, run.stderr
    found = json.loads(result.read_text())["candidate"]["result"]["primary_failure"] or {}
    assert found.get("failure_class") == primary


@pytest.mark.parametrize("code, status", [(79, 2), (94, 2), (13, 1), (31, 1), (63, 1)])
def test_gpucm_is_critical_of_hardware_and_warns_of_programs(tmp_path: Path, code: int, status: int) -> None:
    checks = shutil.which("health_checks")
    if not checks:
        pytest.skip("needs health_checks of gpucm on PATH")
    lines = xid(code, XidGpu(), Draw(1), with_others=False)
    (tmp_path / "log").write_text("\n".join(kernel.in_dmesg(line, 9000.0) for line in lines) + "\n")
    dmesg = tmp_path / "dmesg"
    dmesg.write_text(f"#!/bin/sh\ncat {tmp_path}/log\n")
    dmesg.chmod(0o755)
    command = [checks, "check-syslogs", "xid", "fair_cluster", "prolog", "--sink=do_nothing", "--verbose-out"]
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(
        [*command, f"--log-folder={tmp_path}"], env=environment, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert run.returncode == status, run.stdout + run.stderr
    assert f"XID error: {code}," in run.stdout


def test_cudas_own_library_has_our_names_and_texts() -> None:
    package = importlib.util.find_spec("nvidia.cuda_runtime") if importlib.util.find_spec("nvidia") else None
    folders = package.submodule_search_locations if package else None
    if not folders:
        pytest.skip("needs nvidia-cuda-runtime")
    library = ctypes.CDLL(str(next(Path(folders[0]).glob("lib/libcudart.so*"))))
    name, text = library.cudaGetErrorName, library.cudaGetErrorString
    name.restype = text.restype = ctypes.c_char_p
    theirs = [(name(error.number).decode(), text(error.number).decode()) for error in cuda.ERRORS]
    assert theirs == [(error.name, error.text) for error in cuda.ERRORS]


@pytest.fixture
def torch() -> ModuleType:
    module: ModuleType = pytest.importorskip("torch")
    if release(module.__version__) < (2, 13):
        pytest.skip("needs torch 2.13")
    return module


WORKER = """
import os, signal, sys
from torch.utils.data import DataLoader, Dataset

class Data(Dataset):
    def __len__(self):
        return 64
    def __getitem__(self, index):
        if index == 9:
            {act}
        return index

if __name__ == "__main__":
    for batch in DataLoader(Data(), batch_size=4, num_workers=2, timeout={timeout}, collate_fn=list):
        pass
"""


def loader_says(tmp_path: Path, act: str, timeout: int = 0) -> list[str]:
    """Lines of a script whose data loader's worker does ``act``, numbers of processes replaced.

    Batches are lists: a tensor is fetched from its worker by a socket, whose end may be noticed first.
    """
    script = tmp_path / "load.py"
    script.write_text(WORKER.format(act=act, timeout=timeout))
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=LIMIT_S)
    return [without_pid(line) for line in run.stderr.splitlines()]


TRIES = 8
"""Runs in one of which torch waits for the worker that is killed, on a machine that is busy."""


def without_pid(line: str) -> str:
    return re.sub(r"\(pid(\(s\))? \d+\)", r"(pid\1 N)", line)


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS],
    ids=lambda each: each.name,
)
def test_torch_words_a_killed_worker_as_we_do(torch: ModuleType, tmp_path: Path, number: signal.Signals) -> None:
    ours = [without_pid(line.text.removeprefix("[rank0]: ")) for line in data_loader.lost_worker(
        0, 1, data_loader.killed(1, number), number=number)]  # fmt: skip
    errors = [line for line in ours if re.match(r"RuntimeError|ERROR|The above", line)]
    for _ in range(TRIES):
        theirs = loader_says(tmp_path, f"os.kill(os.getpid(), {int(number)})")
        found = [line for line in theirs if re.match(r"RuntimeError|ERROR|The above", line)]
        if len(found) == len(errors):
            break
        assert found == errors[: len(found)]  # it was not yet waiting for the worker as that was killed
    assert found == errors
    assert Counter(line.strip() for line in theirs)[data_loader.GETTING[-1].source] == 1


@pytest.mark.parametrize(
    "act, timeout, text",
    [
        ("os._exit(3)", 0, without_pid(data_loader.exited(1, 3))),
        ("raise ValueError(index)", 0, "ValueError: Caught ValueError in DataLoader worker process 0."),
        ("import time; time.sleep(60)", 1, "RuntimeError: DataLoader timed out after 1 seconds"),
    ],
)
def test_torch_words_other_lost_workers_as_we_do(
    torch: ModuleType, tmp_path: Path, act: str, timeout: int, text: str
) -> None:
    assert text in loader_says(tmp_path, act, timeout)


def raised(call: Callable[[], object]) -> str:
    """The last line, or lines, of the traceback that ``call`` ends with."""
    with pytest.raises(Exception) as caught:
        call()
    kind = caught.type
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name}: {caught.value}" if str(caught.value) else name


def test_torch_words_files_that_cannot_be_written_or_read_as_we_do(torch: ModuleType, tmp_path: Path) -> None:
    state = {"weight": torch.zeros(30000)}
    file = tmp_path / "state.pt"
    torch.save(state, file)
    whole = file.read_bytes()

    def load(content: bytes) -> Callable[[], object]:
        (tmp_path / "damaged.pt").write_bytes(content)
        return lambda: torch.load(tmp_path / "damaged.pt")

    for size in (4096, 4097, 69583, 69584, 100_000):
        assert raised(load(whole[:size])) == storage.damaged_torch_file("cut", size), size
    assert raised(load(b"")) == storage.damaged_torch_file("empty")
    assert raised(load(b"\x93 nothing" * 99)).startswith(storage.damaged_torch_file("garbage"))
    assert raised(lambda: torch.save(state, f"{tmp_path}/none/state.pt")) == storage.save_without_folder(
        f"{tmp_path}/none"
    )
    shape = re.compile(r"\d+ vs \d+")
    full = raised(lambda: torch.save(state, "/dev/full"))
    assert shape.sub("", full) == shape.sub("", storage.save_on_full_disk(Draw(1)))
    (positions,) = re.findall(r"(\d+) vs (\d+)", full)
    assert int(positions[0]) - int(positions[1]) == 106


def test_safetensors_words_damage_as_we_do(torch: ModuleType, tmp_path: Path) -> None:
    tensors = pytest.importorskip("safetensors.torch")
    file = tmp_path / "model.safetensors"
    tensors.save_file({"weight": torch.zeros(3000)}, file)
    whole = file.read_bytes()
    damages = {
        "data cut": whole[:1000],
        "header cut": whole[:20],
        "empty": b"",
        "length": whole[:7] + b"\xff" + whole[8:],
        "json": whole[:8] + b"x" + whole[9:],
    }
    for damage, content in damages.items():
        file.write_bytes(content)
        assert raised(lambda: tensors.load_file(file)) == storage.damaged_safetensors(damage)


def test_torch_words_a_store_that_is_gone_as_we_do(torch: ModuleType, tmp_path: Path) -> None:
    server = (
        "import torch.distributed as dist, sys\n"
        "store = dist.TCPStore('127.0.0.1', 0, None, True, wait_for_workers=False)\n"
        "print(store.port, flush=True)\nsys.stdin.read()\n"
    )
    asker = (
        "import torch.distributed as dist, sys\n"
        "store = dist.TCPStore('127.0.0.1', int(sys.argv[1]), None, False, wait_for_workers=False)\n"
        "store.set('a', 'b')\nstore.get('a')\n"  # the server has read all, so that its end resets no connection
        "print('connected', flush=True)\nsys.stdin.read()\n"
        "for _ in range(2):\n    try:\n        store.check(['x'])\n    except dist.DistNetworkError:\n        pass\n"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", server], **pipes) as host:
        port = host.stdout.readline().strip()
        with subprocess.Popen([sys.executable, "-c", asker, port], stderr=subprocess.PIPE, **pipes) as rank:
            assert rank.stdout.readline() == "connected\n"
            host.kill()
            host.wait(LIMIT_S)
            said = rank.communicate(timeout=LIMIT_S)[1]
    shape = re.compile(r"\[(?:rank3\]:\[)?W\d+ [\d:.]+ (TCPStore\.cpp:\d+\] \[c10d\] \w+ failed on )\S+\(.*\)(: .*)")
    place = re.compile(r"Exception raised from \w+ at .*(Utils\.hpp:\d+)")
    ours = "\n".join(line.text for line in store.gone(client(), seconds=2))
    assert shape.findall(said) == shape.findall(ours) != []
    assert place.findall(said) == place.findall(ours) != []
