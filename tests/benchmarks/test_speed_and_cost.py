"""Cost of a run: start, steps per second, share of a core, memory. Printed, not judged.

    python -m pytest -m slow tests/benchmarks -s

Ratios compare commands that run by turns on the same machine; medians of several runs.
"""

import json
import os
import pty
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.slow

TRAIN = [sys.executable, str(ROOT / "train.py")]
IMPORTS = [sys.executable, "-c", "import numpy, tqdm, colorlog, typer, yaml, pydantic; print()"]
ROUNDS = 9


def config(name: str) -> list[str]:
    return ["--config", str(ROOT / "configs" / f"{name}.yaml")]


def first_byte_s(command: list[str]) -> float:
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as process:
        assert process.stdout
        process.stdout.read(1)
        taken = time.perf_counter() - begin
        process.terminate()
        process.stdout.read()
    return taken


def test_the_first_byte_against_the_imports_alone(capsys):
    commands = {
        "imports": IMPORTS,
        "train.py": [*TRAIN, *config("llama70b")],
        "--help": [*TRAIN, "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            taken[name].append(first_byte_s(command))
    median = {name: statistics.median(times) for name, times in taken.items()}
    with capsys.disabled():
        print()
        for name, seconds in median.items():
            print(f"  first byte, {name:9} {seconds * 1e3:6.0f} ms   {seconds / median['imports']:.2f} x the imports")


@pytest.mark.parametrize(("name", "steps"), [("llama70b", 3000), ("llama405b", 1500)])
def test_steps_per_second_at_full_speed(name, steps, tmp_path, capsys):
    rates = []
    for turn in range(3):
        directory = tmp_path / str(turn)
        settings = ["--speed", "max", "--max-steps", str(steps), "--output-dir", str(directory)]
        empty = ["--speed", "max", "--max-steps", "1"]
        begin = time.perf_counter()
        subprocess.run([*TRAIN, *config(name), *empty], stdout=subprocess.DEVNULL, check=True)
        between = time.perf_counter()
        subprocess.run([*TRAIN, *config(name), *settings], stdout=subprocess.PIPE, check=True)
        whole = time.perf_counter() - between
        rates.append((steps - 1) / (whole - (between - begin)))
    events = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "step" for event in events) == steps
    gpus = events[0]["world_size"]
    with capsys.disabled():
        print(f"\n  {gpus:6,} GPUs: {statistics.median(rates):7,.0f} steps/s to a pipe, with metrics.jsonl")


def cpu_s_and_peak_bytes(pid: int) -> tuple[float, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{pid}/status").read_text()
    return cpu_s, int(status.partition("VmHWM:")[2].split()[0]) * 1024


def played_in_a_terminal(arguments: list[str], seconds: float) -> list[tuple[float, int]]:
    """(CPU seconds, peak bytes) of a run on a 120x40 terminal, at a fifth of the time and at its end."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
        os.execv(sys.executable, [*TRAIN, *arguments])
    measured, begin = [], time.monotonic()
    for mark in (seconds / 5, seconds):
        while time.monotonic() - begin < mark:
            os.read(fd, 65536)
        measured.append(cpu_s_and_peak_bytes(pid))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(fd)
    return measured


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_the_share_of_a_core_at_the_default_pace(capsys):
    (early_cpu, _), (late_cpu, peak) = played_in_a_terminal(config("llama70b"), 20.0)
    with capsys.disabled():
        print(f"\n  default pace: {(late_cpu - early_cpu) / 16.0:.1%} of a core, peak {peak / 1e6:.0f} MB")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_memory_stays_flat_over_many_runs(capsys):
    arguments = [*config("llama70b"), "--speed", "max", "--runs", "0", "--set", "train.steps_per_epoch=200"]
    (_, early), (_, late) = played_in_a_terminal(arguments, 30.0)
    with capsys.disabled():
        print(f"\n  runs for ever at full speed: peak {early / 1e6:.1f} MB after 6 s, {late / 1e6:.1f} MB after 30 s")
