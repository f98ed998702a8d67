"""Disks that are full and descriptors that are closed: the job ends as it should, and says what is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.launched import Jobs
from tests.support.repository import ROOT

SAY = "import os, sys\nprint('out', os.environ['RANK'])\nprint('err', os.environ['RANK'], file=sys.stderr)\n"
MUCH = "for i in range(3000): print('x' * 99)\nprint('end')\n"
FAIL_ONCE = "import os, sys\nsys.exit(int(os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'))\n"


def run_by_shell(directory: Path, redirection: str, *, before: str = "", flags: str = "") -> tuple[int, str]:
    """Exit code, and what came out where ``redirection`` left it open."""
    (directory / "job.py").write_text(SAY)
    command = f"{before} exec {sys.executable} -m fake_torch_dist.run --nproc-per-node 2 {flags} job.py {redirection}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=directory, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "redirection", [">/dev/full", "2>/dev/full", ">/dev/full 2>&1", ">&-", "2>&-", "<&-", "<&- >&- 2>&-"]
)
def test_standard_streams_that_take_nothing_keep_nobody_from_ending(tmp_path: Path, redirection: str) -> None:
    code, out = run_by_shell(tmp_path, redirection)
    assert code == 0, out
    if redirection[0] == "2" or redirection == "<&-":
        assert sorted(line for line in out.splitlines() if line.startswith("out")) == ["out 0", "out 1"]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A directory on a small disk of its own; who may not mount one skips."""
    marker = tmp_path / "full"
    marker.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=10", "tmpfs", str(marker)], capture_output=True, check=False
    )
    try:
        if mounted.returncode:
            pytest.skip("no right to mount")
        yield marker
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", "-l", str(marker)], check=True)
        marker.rmdir()


def test_logs_stop_where_the_disk_is_full_and_the_job_goes_on(jobs: Jobs, full: Path) -> None:
    ended = jobs.run(MUCH, "--nproc-per-node", "2", "--log-dir", str(full), "-t", "1")
    assert (ended.code, ended.out.count("end\n")) == (0, 2)
    assert ended.err.count("can't be kept: [Errno 28] No space left on device") == 2
    for log in full.rglob("stdout.log"):
        assert log.stat().st_size % 4096 == 0  # as much as there was room for


def test_a_log_that_cannot_be_made_is_said_and_its_lines_still_come(jobs: Jobs, full: Path) -> None:
    ended = jobs.run(SAY, "--nproc-per-node", "4", "--log-dir", str(full), "-t", "3")
    assert ended.code == 0, ended.err
    assert "can't be kept: [Errno 28] No space left on device: '" in ended.err
    assert ended.out.count("out") == 4


def test_a_file_that_a_rank_writes_to_itself_has_to_be_there(jobs: Jobs, full: Path) -> None:
    ended = jobs.run(SAY, "--nproc-per-node", "4", "--log-dir", str(full), "-r", "3")
    assert ended.code == 1
    assert "can't be started: No space left on device: " in ended.err
    assert "ulimit" not in ended.err


def test_a_restart_without_room_for_its_directories_ends_the_job(jobs: Jobs, full: Path) -> None:
    ended = jobs.run(FAIL_ONCE, "--nproc-per-node", "4", "--log-dir", str(full), "--max-restarts", "1")
    assert ended.code == 1
    assert "LogDirectoryError" not in ended.err
    assert not re.search(r'File "[^"]*/fake_torch_dist/', ended.err), "no frame is one of ours"
    assert "attempt_1" in ended.err and "can't be made: No space left on device" in ended.err


@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_full_temporary_directory_matters_only_to_who_wants_files(jobs: Jobs, full: Path, room: int) -> None:
    for index in range(9 - room):
        (full / str(index)).touch()
    ended = jobs.run(SAY, "--nproc-per-node", "2", TMPDIR=str(full))
    assert (ended.code, ended.out.count("out")) == (0, 2), ended.err
    assert len(list(full.iterdir())) == 9 - room
    ended = jobs.run(SAY, "--nproc-per-node", "2", "-r", "3", TMPDIR=str(full))
    assert ended.code == 1 and "can't be made: No space left on device" in ended.err, ended.err
