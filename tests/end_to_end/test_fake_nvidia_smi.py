"""A job that plays, and ``fake-nvidia-smi`` in another process."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.processes import state_of, until
from tests.support.repository import ROOT
from tests.support.warm_train import WarmTrain, run_main, run_warm

DEADLINE_S = 30.0
START = "2026-01-01T00:00:00"
SLOW = ("--config", "configs/debug.yaml", "--set", "run.speed=2", "--set", "train.epochs=500", "--set", "log.every=1")
SLOW += ("--start-time", START, "--set", "run.startup_speed=1000", "--set", "impose.step_time_s=[0.4, 0.5]")
"""Far more steps than any test waits for, each of a part of a second, the first one too."""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    return os.environ | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)}


def smi(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return run_main("accelerate_sim.monitoring.nvidia_smi.__main__", words, env, ROOT)


def asked(env: dict[str, str], fields: str) -> list[list[str]]:
    done = smi(env, f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    assert done.returncode == 0, done.stderr
    return [line.split(", ") for line in done.stdout.splitlines()]


def job(env: dict[str, str], *words: str) -> WarmTrain:
    return WarmTrain([*words, "--publish"], env, ROOT)


@contextmanager
def stoppable_job(env: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """A job in a group of its own, with us outside as a shell would be: an orphaned group can't be stopped."""
    command = [sys.executable, "train.py", *words, "--publish"]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: WarmTrain, pattern: str) -> str:
    """The first line with this pattern."""
    process.read_lines_until(lambda lines: any(re.search(pattern, line) for line in lines), repr(pattern))
    return next(line for line in process.lines if re.search(pattern, line))


def time_of(line: str) -> datetime:
    return datetime.fromisoformat(line[1:20])


def test_the_viewer_is_where_the_run_is_at_every_speed(env: dict[str, str]):
    """Between two lines of the log the viewer's clock is between their times, in start-up and after it."""
    with job(env, *SLOW) as process:
        for before, after in (("Model initialized", "Tokenizer"), ("step 2 ", "step 6 ")):
            earlier = time_of(read_until(process, before))
            [[moment, pid]] = {tuple(row) for row in asked(env, "timestamp,count")}
            shown = datetime.strptime(moment, "%Y/%m/%d %H:%M:%S.%f")
            assert pid == "2"
            assert earlier <= shown
            assert shown <= time_of(read_until(process, after)) or process.returncode is None
        pids = smi(env, "--query-compute-apps=pid", "--format=csv,noheader").stdout.split()
        assert pids == [str(process.pid)] * 2


def test_the_viewer_follows_a_job_without_real_names(env: dict[str, str]):
    with job(env, *SLOW, "--brand", "generic") as process:
        read_until(process, "Accelerator 80GB")
        assert asked(env, "name") == [["Accelerator 80GB"]] * 2
        assert not re.search("NVIDIA|H100|CUDA", smi(env).stdout)


def test_a_job_that_is_stopped_stands_still_and_is_gone_when_it_is_killed(env: dict[str, str]):
    with stoppable_job(env, *SLOW) as process:
        assert process.stdout and any("step 1 " in line for line in process.stdout)
        process.send_signal(signal.SIGTSTP)
        until(lambda: state_of(process.pid) == "T", "the job is stopped", DEADLINE_S)
        looks = [asked(env, "timestamp,utilization.gpu,power.draw,temperature.gpu") for _ in range(2)]
        assert looks[0] == looks[1]
        process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + DEADLINE_S
        while asked(env, "timestamp") == [row[:1] for row in looks[0]]:
            assert time.monotonic() < deadline, "the clock does not go on"
        process.kill()
        process.wait()
        done = smi(env)
        assert done.returncode == 9
        assert done.stdout.startswith("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
        assert list(Path(env["XDG_RUNTIME_DIR"], "fake-torchrun").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_told_to_end_takes_its_file_away(env: dict[str, str], number: signal.Signals):
    with job(env, *SLOW) as process:
        read_until(process, "step 1 ")
        process.send_signal(number)
        assert process.wait() == 128 + number
    assert list(Path(env["XDG_RUNTIME_DIR"], "fake-torchrun").iterdir()) == []


def test_nothing_is_published_unless_asked(env: dict[str, str], tmp_path: Path):
    assert run_warm(["--config", "configs/debug.yaml", "--speed", "max"], env, ROOT).returncode == 0
    assert list(Path(env["XDG_RUNTIME_DIR"]).iterdir()) == []


def test_a_place_that_is_not_private_is_refused_before_anything_begins(env: dict[str, str], tmp_path: Path):
    Path(env["XDG_RUNTIME_DIR"], "fake-torchrun").mkdir(mode=0o755)
    output = tmp_path / "out"
    done = run_warm([*SLOW, "--publish", "--output-dir", str(output)], env, ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"--publish: .*fake-torchrun is open to other users \(mode 755.*XDG_RUNTIME_DIR", done.stderr)
    assert not list(output.glob("*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_a_place_that_another_user_has_taken_keeps_no_run_from_starting(env: dict[str, str], tmp_path: Path, mode: int):
    taken = tmp_path / f"fake-torchrun-{os.getuid()}"
    taken.mkdir()
    taken.chmod(mode)
    os.chown(taken, 65534, 65534)
    env = {name: value for name, value in env.items() if name != "XDG_RUNTIME_DIR"}
    done = run_warm(["--config", "configs/debug.yaml", "--speed", "max", "--publish"], env, ROOT)
    assert done.returncode == 0 and "finished successfully" in done.stdout
    assert re.fullmatch(
        r"--publish: \S*fake-torchrun-0 belongs to user 65534, so .* XDG_RUNTIME_DIR at .*\n", done.stderr
    )
    assert list(taken.iterdir()) == []
    viewer = smi(env)
    assert viewer.returncode != 0 and "belongs to user 65534" in viewer.stdout + viewer.stderr


@pytest.mark.parametrize("driver, count", [pytest.param(570, 187, marks=pytest.mark.slow), (590, 212)])
def test_an_exporter_finds_all_fields_of_the_driver_and_asks_for_them(env: dict[str, str], driver: int, count: int):
    """A field is found by the blank line before it, as exporters do; then all are asked for at once."""
    with job(env, *SLOW, "--set", f"cluster.driver={driver}") as process:
        read_until(process, "step 1 ")
        names = re.findall(r'\n\s*\n"([^"]+)"', smi(env, "--help-query-gpu").stdout)
        assert len(names) == count
        done = smi(env, f"--query-gpu={','.join(names)}", "--format=csv")
        assert {len(line.split(", ")) for line in done.stdout.splitlines()} == {count}
        assert smi(env, "--version").stdout.startswith(f"NVIDIA-SMI version  : {driver}.")
        assert smi(env, "topo", "-m").stdout.count("NV18") == 2
        assert smi(env, "dmon", "-c", "1").stdout.count("\n") == 2 + 2


def test_a_closed_pipe_ends_the_viewer_without_a_word(env: dict[str, str]):
    with job(env, *SLOW) as process:
        read_until(process, "step 1 ")
        viewer = [sys.executable, "-m", "accelerate_sim.monitoring.nvidia_smi", "-lms", "10"]
        with subprocess.Popen(viewer, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as looped:
            assert looped.stdout and looped.stderr
            looped.stdout.readline()
            looped.stdout.close()
            assert looped.wait(DEADLINE_S) == -signal.SIGPIPE
            assert looped.stderr.read() == b""


def cpu_s(command: list[str], env: dict[str, str]) -> float:
    """Seconds of processor time that a command takes."""
    before = os.times()
    subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, timeout=DEADLINE_S, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.slow
def test_one_look_costs_little_more_than_loading_numpy(env: dict[str, str], tmp_path: Path):
    """150 ms over Python and numpy, where those take 75: twice as much, as a ratio that any machine can hold."""
    limits = ("PYTHONDONTWRITEBYTECODE", "_NUM_THREADS")  # the latter set by importing accelerate_sim in this process
    env = {name: value for name, value in env.items() if not name.endswith(limits)}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path / "bytecode")
    with job(env, "--config", "configs/llama70b.yaml", "--set", "run.speed=1", "--start-time", START) as process:
        read_until(process, "Detected")
        looks, bare = [], []
        for _ in range(7):
            bare.append(cpu_s([sys.executable, "-c", "import numpy"], env))
            looks.append(cpu_s([sys.executable, "-m", "accelerate_sim.monitoring.nvidia_smi"], env))
    print(f"bare {min(bare) * 1e3:.0f} ms, a look {min(looks) * 1e3:.0f} ms")
    assert min(looks) - min(bare) <= max(0.150, 2.0 * min(bare))


@pytest.mark.real
def test_the_nvsmi_package_reads_it(env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nvsmi = pytest.importorskip("nvsmi")
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m accelerate_sim.monitoring.nvidia_smi "$@"\n')
    tool.chmod(0o755)
    for name, value in (env | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}).items():
        monkeypatch.setenv(name, value)
    assert shutil.which("nvidia-smi") == str(tool)
    with job(env, *SLOW) as process:
        read_until(process, "step 1 ")
        gpus = list(nvsmi.get_gpus())
        assert [gpu.name for gpu in gpus] == ["NVIDIA H100 80GB HBM3"] * 2
        assert all(gpu.mem_total == 81559 and 0 < gpu.mem_util < 100 for gpu in gpus)
        assert [each.pid for each in nvsmi.get_gpu_processes()] == [process.pid] * 2
