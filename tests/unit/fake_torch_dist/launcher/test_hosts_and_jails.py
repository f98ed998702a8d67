"""Emulated nodes have names that resolve; jobs run without /proc, or with one that shows other processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fake_torch_dist.launcher.workers import descriptors, linux_processes
from fake_torch_dist.launcher.workers.job_processes import JobProcesses
from tests.support.launched import Jobs
from tests.support.repository import ROOT

NAMES = """
import os, socket
name = socket.gethostname()
address = socket.gethostbyname(name)
with socket.create_server((address, 0)) as server:
    print(os.environ["RANK"], name, address, server.getsockname()[0] == address, socket.getfqdn() == name)
"""


def may_unshare(*flags: str) -> bool:
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(["unshare", *flags, "true"], capture_output=True).returncode
    )


@pytest.mark.skipif(not may_unshare("--mount", "--uts"), reason="takes the right to unshare")
def test_each_emulated_node_resolves_its_own_name(jobs: Jobs) -> None:
    hosts = Path("/etc/hosts").read_bytes()
    ended = jobs.run(NAMES, "--nnodes", "3", "--nproc-per-node", "1", TMPDIR=str(jobs.directory))
    assert sorted(ended.lines) == [f"{i} node{i} 127.1.0.{i + 1} True True" for i in range(3)], ended.err
    assert Path("/etc/hosts").read_bytes() == hosts
    assert not list(jobs.directory.glob(".fake-torchrun-hosts-*"))


@pytest.mark.skipif(not may_unshare("--mount", "--uts"), reason="takes the right to unshare")
def test_all_nodes_resolve_each_other(jobs: Jobs) -> None:
    script = "import socket; print(*(socket.gethostbyname(f'node{i}') for i in range(2)))"
    ended = jobs.run(script, "--nnodes", "2", "--nproc-per-node", "1")
    assert ended.lines == ["127.1.0.1 127.1.0.2"] * 2, ended.err


def in_jail(
    jobs: Jobs, script: str, prepare: str, *flags: str, unshare: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    """Run a script in new namespaces, after the shell command ``prepare``."""
    (jobs.directory / "empty").mkdir()
    (jobs.directory / "job.py").write_text(script)
    launcher = f'exec "{sys.executable}" -m fake_torch_dist.run {" ".join(flags)} job.py'
    return subprocess.run(
        ["unshare", *unshare, "sh", "-c", f"{prepare} && {launcher}"],
        cwd=jobs.directory, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True,
        capture_output=True, timeout=60,
    )  # fmt: skip


@pytest.mark.skipif(not may_unshare("--mount"), reason="takes the right to unshare")
def test_a_job_runs_without_proc(jobs: Jobs) -> None:
    script = """
import subprocess
import numpy as np
import fake_torch_dist as dist
subprocess.Popen(["sleep", "600"])
dist.init_process_group("gloo")
total = np.ones(1)
dist.all_reduce(total)
print("sum", int(total[0]))
dist.destroy_process_group()
"""
    flags = ("--nnodes", "2", "--nproc-per-node", "2")
    ended = in_jail(jobs, script, "mount --bind empty /proc", *flags, unshare=("--mount",))
    assert (ended.returncode, ended.stdout.splitlines()) == (0, ["sum 4"] * 4), ended.stderr


@pytest.mark.skipif(not may_unshare("--pid", "--fork"), reason="takes the right to unshare")
@pytest.mark.parametrize("own_session", [False, True])
def test_a_proc_of_other_processes_is_not_believed(jobs: Jobs, own_session: bool) -> None:
    """The launcher is pid 1 of its namespace: the children of that number in /proc are others'."""
    script = f"""
import subprocess
subprocess.Popen(["sleep", "600"], start_new_session={own_session})
print("up")
"""
    ended = in_jail(jobs, script, "true", "--nproc-per-node", "2", unshare=("--pid", "--fork"))
    assert (ended.returncode, ended.stdout.splitlines()) == (0, ["up"] * 2), ended.stderr


def test_descriptors_are_closed_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(path: str) -> list[str]:
        raise FileNotFoundError(path)

    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(os, "listdir", no_proc)
        descriptors.close_all_but(write_end)
        still_open = [fd for fd in range(3, max(read_end, write_end) + 20) if _is_open(fd)]
        os._exit(still_open != [write_end] or descriptors.highest() < write_end)
    os.close(read_end)
    os.close(write_end)
    assert os.waitpid(pid, 0)[1] == 0


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_children_are_unknown_where_proc_shows_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert linux_processes.children() is not None
    monkeypatch.setattr(os, "readlink", lambda path: "1")
    assert linux_processes.children() is None


def test_what_cannot_be_killed_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux_processes, "_KILLED_WITHIN_S", 0.05)
    monkeypatch.setattr(linux_processes, "kill", lambda pid, number: None)
    linux_processes.kill_all(lambda: [os.getppid()])


@pytest.mark.parametrize("holds_pipe", [False, True])
def test_a_process_with_a_session_and_output_of_its_own_is_detached(holds_pipe: bool) -> None:
    read_end, write_end = os.pipe()
    with subprocess.Popen(
        ["sleep", "600"], start_new_session=True, stdout=write_end if holds_pipe else subprocess.DEVNULL
    ) as process:
        job_processes = JobProcesses()
        job_processes.add_rank(os.getpid(), [read_end])
        try:
            assert (process.pid in job_processes) is holds_pipe
            job_processes.add_rank(process.pid, [])
            assert process.pid in job_processes and process.pid in (JobProcesses() | job_processes)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    os.close(read_end)
    os.close(write_end)


def test_a_removed_working_directory_is_no_hindrance_or_said(jobs: Jobs) -> None:
    (jobs.directory / "job.py").write_text("import os\nprint('rank', os.environ['RANK'])\n")
    (jobs.directory / "gone").mkdir()
    launcher = f'"{sys.executable}" -m fake_torch_dist.run'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        (jobs.directory / "gone").mkdir(exist_ok=True)
        return subprocess.run(
            ["sh", "-c", f"rmdir ../gone; exec {launcher} {' '.join(arguments)}"],
            cwd=jobs.directory / "gone", env=environment, text=True, capture_output=True, timeout=60,
        )  # fmt: skip

    ended = run(str(jobs.directory / "job.py"))
    assert (ended.returncode, ended.stdout) == (0, "rank 0\n"), ended.stderr
    for arguments in (["job.py"], ["-m", "job"]):
        ended = run(*arguments)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
        assert "the working directory has been removed" in ended.stderr


def test_log_files_are_named_absolutely(jobs: Jobs) -> None:
    script = """
import os
from fake_torch_dist.elastic_errors import record
@record
def main():
    os.mkdir("work")
    os.chdir("work")
    raise ValueError("boom in work")
main()
"""
    ended = jobs.run(script, "--log-dir", "logs")
    assert "ValueError: boom in work" in ended.err[ended.err.index("Root Cause") :]
    assert len(list(jobs.directory.glob("logs/*/attempt_0/0/error.json"))) == 1
