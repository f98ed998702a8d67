"""Standard output and error of ranks: the launcher's own, one pipe for both, or a pipe each."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support.launched import Jobs
from tests.support.processes import until

ALTERNATING = """
import os
for number in range(0, 400, 2):
    os.write(1, b"%s %03d\\n" % (os.environb[b"RANK"], number))
    os.write(2, b"%s %03d\\n" % (os.environb[b"RANK"], number + 1))
"""
WHICH = """
import os
print(os.environ["RANK"], *(os.fstat(fd).st_ino for fd in (1, 2)))
"""


def merged(jobs: Jobs, script: str, *flags: str) -> str:
    """Contents of a file after ``> file 2>&1``."""
    path = jobs.directory / "both"
    with open(path, "wb") as file:
        job = jobs.start(script, *flags, stdout=file.fileno(), stderr=file.fileno())
        job.end()
    return path.read_text()


@pytest.mark.parametrize("flags", [(), ("--prefix",), ("--nproc-per-node", "3"), ("--nproc-per-node", "2", "--prefix")])
def test_both_streams_in_one_file_are_in_the_order_of_writing(jobs: Jobs, flags: tuple[str, ...]) -> None:
    lines = merged(jobs, ALTERNATING, *flags).splitlines()
    ranks = int(flags[1]) if len(flags) > 1 else 1
    for rank in range(ranks):
        own = [line for line in lines if f"{rank} " in line]
        assert [int(line.split()[1]) for line in own] == list(range(400))


def test_the_only_rank_writes_where_the_launcher_would(jobs: Jobs) -> None:
    job = jobs.start(WHICH)
    job.end()
    assert job.out.split() == ["0", str(job.out_path.stat().st_ino), str(job.err_path.stat().st_ino)]


@pytest.mark.parametrize("flags", [("--prefix",), ("--dedupe",), ("--tee", "3"), ("--nproc-per-node", "2")])
def test_what_is_asked_for_needs_a_pipe(jobs: Jobs, flags: tuple[str, ...]) -> None:
    job = jobs.start(WHICH, "--log-dir", "logs", *flags)
    job.end()
    assert str(job.out_path.stat().st_ino) not in job.out.split()


def test_a_redirected_stream_leaves_the_other_to_the_rank(jobs: Jobs) -> None:
    job = jobs.start(WHICH, "--log-dir", "logs", "--redirects", "2")
    job.end()
    assert job.out.split()[1] == str(job.out_path.stat().st_ino)
    assert job.out.split()[2] != str(job.err_path.stat().st_ino)


def test_bytes_of_the_only_rank_are_untouched(jobs: Jobs) -> None:
    data = b"windows\r\nlone\rreturn\x1b[2J\x00\xff no newline"
    job = jobs.start(f"import os; os.write(1, {data!r})")
    job.end()
    assert job.out_path.read_bytes() == data


def test_line_ends_of_several_ranks_are_untouched(jobs: Jobs) -> None:
    job = jobs.start("import os; os.write(1, b'windows\\r\\nlines\\r\\n')", "--nproc-per-node", "2")
    job.end()
    assert sorted(job.out_path.read_bytes().splitlines(keepends=True)) == [b"lines\r\n"] * 2 + [b"windows\r\n"] * 2


def test_a_bar_and_lines_in_one_file_stay_apart(jobs: Jobs) -> None:
    script = """
import os, sys
from tqdm import tqdm
for i in tqdm(range(20), mininterval=0, desc="bar"):
    print("line", i, "of", os.environ["RANK"])
"""
    lines = merged(jobs, script, "--nproc-per-node", "2").splitlines()
    assert sorted(line for line in lines if "line" in line) == sorted(
        f"line {i} of {r}" for i in range(20) for r in (0, 1)
    )
    assert len([line for line in lines if line.startswith("bar: 100%")]) == 2


def test_a_signal_ends_the_only_rank_whose_output_nobody_takes(jobs: Jobs) -> None:
    read_end, write_end = os.pipe()
    job = jobs.start("import os; open('up', 'w'); os.write(1, b'x' * 1_000_000)", stdout=write_end)
    os.close(write_end)
    until((jobs.directory / "up").exists, "rank up")
    os.kill(job.pid, signal.SIGTERM)
    assert job.end().code == 1
    os.close(read_end)


# --- Text without a newline ----------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "prefix"), [((), ""), (("--prefix",), "[default0]:")])
def test_dots_in_a_pipe_are_seen_before_their_line_ends(jobs: Jobs, flags: tuple[str, ...], prefix: str) -> None:
    script = """
import os, time
if os.environ["RANK"] == "0":
    os.write(1, b"..")
    while not os.path.exists("go"): time.sleep(0.01)
    os.write(1, b". done\\n")
"""
    job = jobs.start(script, "--nproc-per-node", "2", *flags)
    until(lambda: job.out == f"{prefix}..", "the dots")
    (jobs.directory / "go").touch()
    assert job.end().out == f"{prefix}... done\n"


def test_a_line_that_others_interrupt_says_that_it_goes_on(jobs: Jobs) -> None:
    script = """
import os, time
def wait(name):
    while not os.path.exists(name): time.sleep(0.01)
if os.environ["RANK"] == "0":
    os.write(1, b"loading")
    wait("interrupted")
    os.write(1, b" done\\n")
else:
    wait("seen")
    os.write(1, b"other\\n")
"""
    job = jobs.start(script, "--nproc-per-node", "2", "--prefix")
    until(lambda: job.out == "[default0]:loading", "the beginning")
    (jobs.directory / "seen").touch()
    until(lambda: "other" in job.out, "the other rank's line")
    (jobs.directory / "interrupted").touch()
    assert job.end().lines == ["[default0]:loading", "[default1]:other", "[default0]:...  done"]


def test_half_a_line_waits_a_moment_for_its_rest(jobs: Jobs) -> None:
    """Whole lines are what is promised: lines that take less than that to be written are not torn."""
    script = """
import os, time
for number in range(5):
    os.write(1, b"half ")
    time.sleep(0.05)
    os.write(1, b"of rank %s\\n" % os.environb[b"RANK"])
"""
    ended = jobs.run(script, "--nproc-per-node", "3")
    assert sorted(ended.lines) == sorted([f"half of rank {rank}" for rank in range(3)] * 5)
