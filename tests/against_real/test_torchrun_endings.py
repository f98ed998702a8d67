"""The same script under fake-torchrun and the real torchrun: its end, and its ranks' environment, are the same.

Compared are the exit code, the report's root cause and its other entries, and each rank's environment in each attempt.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.processes import children_of, until
from tests.support.repository import ROOT

pytestmark = pytest.mark.real

RANKS = 3
LIMIT_S = 120.0
LAUNCHERS = ("fake_torch_dist.run", "torch.distributed.run")
SAME = (
    "LOCAL_RANK", "RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS", "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_SIGNALS_TO_HANDLE", "TORCH_NCCL_ASYNC_ERROR_HANDLING", "OMP_NUM_THREADS",
)  # fmt: skip
THERE = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_USE_AGENT_STORE")
"""Theirs have other values: another free port, another directory, and see the README for the store."""

TOGETHER = """
import json, os, signal, sys, time
rank, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])

def write(name, content):
    with open(name + ".new", "w") as file:
        file.write(content)
    os.rename(name + ".new", name)

def wait_for(name):
    until = time.monotonic() + 60
    while not os.path.exists(name):
        assert time.monotonic() < until, name
        time.sleep(0.005)

BEFORE
write(f"seen-{attempt}-{rank}", json.dumps(dict(os.environ, PID=str(os.getpid()))))
for other in range(int(os.environ["WORLD_SIZE"])):
    wait_for(f"seen-{attempt}-{other}")
"""
"""Nothing goes wrong before all ranks are there."""
IDLE = "time.sleep(100)\n"

ENTRY = re.compile(
    r"\[\d+]:\n  time      : \S+\n  host      : .+\n  rank      : (\d+) \(local_rank: (\d+)\)\n"
    r"  exitcode  : (-?\d+) \(pid: (\d+)\) (.*)\n  error_file: (.*)\n  traceback : ((?:.*\n)*?)(?=\[\d+]:|-{3,}|={3,})"
)


@dataclass(frozen=True)
class Scenario:
    """A script that the ranks run once all are there, and the signal that is sent to them."""

    then: str
    before: str = ""
    flags: tuple[str, ...] = ()
    to_launcher: signal.Signals | None = None
    to_rank_1: signal.Signals | None = None


@dataclass
class Ending:
    """Values that are compared."""

    code: int
    root: tuple[object, ...] | None
    others: list[tuple[object, ...]]
    last_words: str
    environments: dict[str, dict[str, str]] = field(repr=False)


SCENARIOS = {
    "all end well": Scenario(""),
    "a rank raises": Scenario("if rank == 1: raise ValueError('boom')\n" + IDLE),
    "a rank exits": Scenario("if rank == 2: sys.exit(3)\n" + IDLE),
    "a rank exits with a text": Scenario("if rank == 2: sys.exit('no data')\n" + IDLE),
    "a rank exits at once": Scenario("if rank == 0: os._exit(7)\n" + IDLE),
    "a rank aborts": Scenario("if rank == 2: os.abort()\n" + IDLE),
    "a rank is killed": Scenario(IDLE, to_rank_1=signal.SIGKILL),
    "a rank is terminated": Scenario(IDLE, to_rank_1=signal.SIGTERM),
    "SIGTERM": Scenario(IDLE, to_launcher=signal.SIGTERM),
    "SIGINT": Scenario(IDLE, to_launcher=signal.SIGINT),
    "SIGHUP": Scenario(IDLE, to_launcher=signal.SIGHUP),
    "SIGTERM, and a rank that ignores it": Scenario(
        IDLE, "if rank == 1: signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", ("--shutdown-timeout", "1"),
        to_launcher=signal.SIGTERM,
    ),
    "SIGTERM, and ranks that end well on it": Scenario(
        IDLE, "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n", to_launcher=signal.SIGTERM
    ),
    "told to stop, a rank fails, too": Scenario(
        "if rank == 2: os._exit(4)\n" + IDLE,
        "if rank == 0: signal.signal(signal.SIGTERM, lambda *_: os._exit(5))\n",
    ),
    "two ranks fail, the second one earlier": Scenario(
        """
if rank == 0: IDLE
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher may see the other end before this one has
stamp = str(int(time.time()) - 10 * rank)
error = {"message": f"rank {rank} says so", "extraInfo": {"py_callstack": f"stack of rank {rank}", "timestamp": stamp}}
write(os.environ["TORCHELASTIC_ERROR_FILE"], json.dumps({"message": error}))
write(f"failed-{rank}", "")
wait_for("failed-1"), wait_for("failed-2")
os._exit(rank)
""".replace("IDLE", IDLE.strip())
    ),
    "an error file that is a text": Scenario(
        "if rank == 1:\n    write(os.environ['TORCHELASTIC_ERROR_FILE'], json.dumps({'message': 'out of data', "
        "'timestamp': str(int(time.time()))}))\n    sys.exit(9)\n" + IDLE
    ),
    "recorded": Scenario(
        "from torch.distributed.elastic.multiprocessing.errors import record\n@record\ndef main():\n"
        "    if rank == 1: raise ValueError('boom')\n    time.sleep(100)\nmain()\n"
    ),
    "no restart helps": Scenario("if rank == 1: sys.exit(3 + attempt)\n" + IDLE, flags=("--max-restarts", "1")),
    "one restart helps": Scenario(
        "if attempt == 0:\n    if rank == 1: sys.exit(3)\n    time.sleep(100)\n", flags=("--max-restarts", "2")
    ),
    "a failure that is no reason for another": Scenario(
        "if rank == 1 and attempt == 0: raise ValueError('boom')\nif rank == 2 and attempt: os._exit(8)\n" + IDLE,
        flags=("--max-restarts", "1"),
    ),
}  # fmt: skip


def ending_under(launcher: str, scenario: Scenario, directory: Path) -> Ending:
    directory.mkdir()
    (directory / "job.py").write_text(TOGETHER.replace("BEFORE", scenario.before) + scenario.then)
    words = ["--nproc-per-node", str(RANKS), "--log-dir", "logs", "--rdzv-backend", "c10d", "--rdzv-id", "job"]
    words += ["--rdzv-endpoint", "localhost:0"]  # other tests at the same time have other ports
    with open(directory / "err", "wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", launcher, *words, *scenario.flags, "job.py"], cwd=directory, stderr=err,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(directory)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    try:
        if scenario.to_launcher or scenario.to_rank_1:
            seen = [directory / f"seen-0-{rank}" for rank in range(RANKS)]
            until(lambda: all(file.exists() for file in seen) or process.poll() is not None, "all ranks up", LIMIT_S)
        if scenario.to_rank_1:
            os.kill(int(json.loads(seen[1].read_text())["PID"]), scenario.to_rank_1)
        if scenario.to_launcher:
            process.send_signal(scenario.to_launcher)
        code = process.wait(LIMIT_S)
    finally:
        _kill_all_below(process.pid)
        process.kill()
        process.wait()
    return _ending(code, (directory / "err").read_text(), directory)


def _below(pid: int) -> list[int]:
    found = children_of(pid)
    return [*found, *(each for child in found for each in _below(child))]


def _kill_all_below(pid: int) -> None:
    for each in reversed(_below(pid)):
        os.kill(each, signal.SIGKILL)


def _ending(code: int, err: str, directory: Path) -> Ending:
    reported = err.partition("Root Cause (first observed failure):")
    roots, others = _entries(reported[2], directory), _entries(reported[0], directory)
    words = re.findall(r"^torch\.distributed\.\S+(?:: Process \d+ got signal: \d+)?", err, flags=re.M)
    environments = {file.name: json.loads(file.read_text()) for file in sorted(directory.glob("seen-*"))}
    return Ending(
        code,
        roots[0] if roots else None,
        sorted(others, key=str),
        re.sub(r"Process \d+", "Process", words[-1]) if words else "",
        {name: _comparable(variables) for name, variables in environments.items()},
    )


def _entries(text: str, directory: Path) -> list[tuple[object, ...]]:
    """Rank, local rank, exit code, signal, where the error file is, and message."""
    return [
        (
            int(rank), int(local), int(exitcode), name.strip(), re.sub(r".*/job_[^/]+/", "", file),
            message.replace(pid, "PID").replace(str(directory), "HERE").strip(),
        )
        for rank, local, exitcode, pid, name, file, message in ENTRY.findall(text)
    ]  # fmt: skip


def _comparable(variables: dict[str, str]) -> dict[str, str]:
    return {name: variables[name] for name in SAME} | {name: "there" for name in THERE if variables[name]}


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_job_ends_as_under_torchrun(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    ours, theirs = (ending_under(launcher, SCENARIOS[name], tmp_path / launcher) for launcher in LAUNCHERS)
    assert ours == theirs
    attempts = {seen.split("-")[1] for seen in theirs.environments}
    assert len(theirs.environments) == RANKS * len(attempts)
    wrong = name not in ("all end well", "one restart helps")
    assert theirs.code == int(wrong) and bool(theirs.last_words) is wrong
    if SCENARIOS[name].to_launcher is None:
        assert (theirs.root is not None) is wrong
