"""The output of all ranks comes out whole, in order per rank, and complete, whatever the pieces."""

from __future__ import annotations

import json
import operator
import os
import random
import re
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_torch_dist.launcher.output.begun_lines import CONTINUED
from tests.support.launched import Jobs, jobs_in
from tests.support.processes import until

WRITE_PIECES = """
import json, os, time
for piece in json.load(open("pieces.json"))[int(os.environ["RANK"])]:
    os.write(1, bytes.fromhex(piece))
"""
LINES = """
import os, sys
rank = os.environ["RANK"]
"""


def with_newline(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"


lines_of_bytes = st.lists(st.binary(max_size=40).map(lambda b: b.translate(None, b".\r\x1b\x0b\x0c\x1c\x1d\x1e\x85")))
texts = lines_of_bytes.map(b"\n".join)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(texts, min_size=3, max_size=3), st.randoms(use_true_random=False))
def test_what_each_rank_wrote_is_what_comes_out(tmp_path_factory: pytest.TempPathFactory, texts, draw) -> None:
    for jobs in jobs_in(tmp_path_factory.mktemp("torture")):
        pieces = [_pieces(text * draw.choice([1, 50]), draw) for text in texts]
        (jobs.directory / "pieces.json").write_text(json.dumps([[piece.hex() for piece in each] for each in pieces]))
        job = jobs.start(WRITE_PIECES, "--nproc-per-node", "3", "--prefix")
        job.end()
        written = {rank: with_newline(b"".join(each)) for rank, each in enumerate(pieces) if any(each)}
        assert _merged(job.out_path) == written


def _pieces(text: bytes, draw: random.Random) -> list[bytes]:
    pieces = []
    while text:
        size = draw.choice([1, 3, 30, 4096, 100_000])
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def _merged(path: Path) -> dict[int, bytes]:
    """The text of each rank. A line of a rank that stood still for long, on a busy machine, may be in several parts."""
    found: dict[int, list[bytes]] = {}
    for line in path.read_bytes().split(b"\n")[:-1]:
        prefix, _, text = line.partition(b"]:")
        lines = found.setdefault(int(prefix.removeprefix(b"[default")), [])
        if lines and text.startswith(CONTINUED):
            text = lines.pop()[:-1] + text.removeprefix(CONTINUED)
        lines.append(text + b"\n")
    return {rank: b"".join(lines) for rank, lines in found.items()}


RANK_0_STANDS_STILL = """
import os, sys, time
if os.environ["RANK"] == "0":
    os.write(1, b"half of ")
    while not os.path.exists("interrupted"):
        time.sleep(0.01)
    os.write(1, b"a line\\n")
else:
    while not os.path.exists("shown"):
        time.sleep(0.01)
    os.write(1, b"whole\\n")
"""


def test_a_line_that_is_interrupted_is_put_together_again(jobs: Jobs) -> None:
    job = jobs.start(RANK_0_STANDS_STILL, "--nproc-per-node", "2", "--prefix")
    job.wait_for("half of ")
    (jobs.directory / "shown").touch()
    job.wait_for("whole\n")
    (jobs.directory / "interrupted").touch()
    job.end()
    assert _merged(job.out_path) == {0: b"half of a line\n", 1: b"whole\n"}
    assert job.out.count("\n") == 3


def test_half_lines_and_print_with_several_arguments_are_not_torn(jobs: Jobs) -> None:
    script = (
        LINES
        + """
for i in range(300):
    print("half of", i, end=" "); print("line of", rank, "a" * 500)
"""
    )
    ended = jobs.run(script, "--nproc-per-node", "4")
    assert sorted(ended.lines) == sorted(
        f"half of {i} line of {rank} " + "a" * 500 for i in range(300) for rank in range(4)
    )


def test_a_line_of_a_megabyte_stays_one(jobs: Jobs) -> None:
    ended = jobs.run(LINES + "print(rank * 1_000_000)", "--nproc-per-node", "4", "--prefix")
    assert sorted(ended.lines) == [f"[default{rank}]:" + str(rank) * 1_000_000 for rank in range(4)]


def test_bytes_that_are_no_text_and_no_last_newline(jobs: Jobs) -> None:
    job = jobs.start(LINES + "os.write(1, b'\\xff\\xfe' + rank.encode())", "--nproc-per-node", "2")
    job.end()
    assert sorted(job.out_path.read_bytes().split(b"\n")) == [b"", b"\xff\xfe0", b"\xff\xfe1"]


def test_a_bar_on_a_pipe_is_its_last_frame(jobs: Jobs) -> None:
    script = LINES + "from tqdm import tqdm\nfor _ in tqdm(range(30), desc='rank ' + rank, file=sys.stdout): pass"
    ended = jobs.run(script, "--nproc-per-node", "3")
    assert sorted(line.partition("|")[0] for line in ended.lines) == [f"rank {rank}: 100%" for rank in range(3)]


@pytest.mark.parametrize(
    ("flags", "environment", "prefix"),
    [
        ((), {}, ""),
        (("--tee", "3"), {}, "[default1]:"),
        (("--tee", "3", "--role", "trainer"), {}, "[trainer1]:"),
        (("--prefix",), {}, "[default1]:"),
        (("--tee", "3", "--no-prefix"), {}, ""),
        (("--tee", "3"), {"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "<${role_name}|g${rank}|l${local_rank}> "},
         "<default|g1|l1> "),
    ],
)  # fmt: skip
def test_prefixes(jobs: Jobs, flags: tuple[str, ...], environment: dict[str, str], prefix: str) -> None:
    script = LINES + "if rank == '1':\n    print('out'); print('err', file=sys.stderr)"
    ended = jobs.run(script, "--nproc-per-node", "2", "--log-dir", str(jobs.directory / "logs"), *flags, **environment)
    assert ended.lines == [f"{prefix}out"]
    assert ended.err.splitlines() == [f"{prefix}err"]


def test_several_nodes_show_in_the_prefix(jobs: Jobs) -> None:
    flags = ("--nnodes", "2", "--nproc-per-node", "2")
    wanted = [f"[node{node}:default{rank}]:x" for node in (0, 1) for rank in (0, 1)]
    assert jobs.run("print('x')", *flags).lines == ["x"] * 4
    assert sorted(jobs.run("print('x')", *flags, "--prefix").lines) == wanted
    assert sorted(jobs.run("print('x')", *flags, "--tee", "1").lines) == wanted


def test_log_files_have_what_was_written_and_no_prefix(jobs: Jobs) -> None:
    script = LINES + "print('out', rank); print('err', rank, file=sys.stderr)"
    ended = jobs.run(script, "--nproc-per-node", "3", "--log-dir", "logs", "-r", "0:3,1:1", "-t", "2:3")
    (run,) = (jobs.directory / "logs").iterdir()
    files = {str(path.relative_to(run)): path.read_text() for path in run.rglob("*") if path.is_file()}
    assert files == {
        "attempt_0/0/stdout.log": "out 0\n", "attempt_0/0/stderr.log": "err 0\n", "attempt_0/1/stdout.log": "out 1\n",
        "attempt_0/2/stdout.log": "out 2\n", "attempt_0/2/stderr.log": "err 2\n",
    }  # fmt: skip
    assert ended.lines == ["[default2]:out 2"]
    assert sorted(ended.err.splitlines()) == ["[default2]:err 2", "err 1"]


def test_filtered_ranks_are_silent_and_matching_lines_are_collected(jobs: Jobs) -> None:
    script = LINES + "print('loss', rank); print('other', rank)"
    ended = jobs.run(
        script, "--nproc-per-node", "3", "--log-dir", "logs", "-t", "3", "--local-ranks-filter", "0,2",
        "--duplicate-stdout-filters", "loss",
    )  # fmt: skip
    assert sorted(ended.lines) == [f"[default{rank}]:{what} {rank}" for rank in (0, 2) for what in ("loss", "other")]
    (filtered,) = (jobs.directory / "logs").rglob("filtered_stdout.log")
    assert sorted(filtered.read_text().splitlines()) == ["[default0]:loss 0", "[default2]:loss 2"]


SAME_UNTIL_SEEN = (
    LINES
    + """
import time
said = 0
while not os.path.exists("seen"):
    print("the same", flush=True)
    said += 1
    with open("said" + rank, "ab") as file:
        file.write(b".")
    time.sleep(0.01)
print("of", rank, "alone", said)
"""
)


def test_identical_lines_of_many_ranks_become_one(jobs: Jobs) -> None:
    """A line waits only so long for those of other ranks, so the launcher reads nothing until all have said it."""
    job = jobs.start(SAME_UNTIL_SEEN, "--nnodes", "2", "--nproc-per-node", "2", "--dedupe")
    files = [jobs.directory / f"said{rank}" for rank in range(4)]

    def counts() -> list[int]:
        return [file.stat().st_size if file.exists() else 0 for file in files]

    def is_one() -> bool:
        os.kill(job.pid, signal.SIGSTOP)
        before = counts()
        try:
            until(lambda: all(map(operator.gt, counts(), before)), "each rank has said it once more")
        finally:
            os.kill(job.pid, signal.SIGCONT)
        return "[ranks 0-3]:the same\n" in job.out

    until(lambda: all(counts()), "all ranks are there")
    until(is_one, "the lines of all ranks are one", every_s=0.05)
    (jobs.directory / "seen").touch()
    ended = job.end()
    said, shown = [0] * 4, [0] * 4
    for line in ended.lines:
        prefix, text = line.split("]:")
        if text == "the same":
            for rank in _ranks(prefix):
                shown[rank] += 1
        else:
            rank, count = map(int, re.findall(r"\d+", text))
            assert [rank] == _ranks(prefix)
            said[rank] = int(count)
    assert shown == said and min(said) > 0


def _ranks(prefix: str) -> list[int]:
    """The ranks, two on each node, that the start of a line names: ``[ranks 0-1,3`` or ``[node1:default0``."""
    if "ranks" not in prefix:
        node, local = map(int, re.findall(r"\d+", prefix))
        return [2 * node + local]
    ends = [part.split("-") for part in prefix.removeprefix("[ranks ").split(",")]
    return [rank for part in ends for rank in range(int(part[0]), int(part[-1]) + 1)]


def test_a_full_disk_is_said_once_and_the_job_goes_on(jobs: Jobs) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "wb") as full:
        job = jobs.start(
            LINES + "print('x' * 100)\nopen('done' + rank, 'w')", "--nproc-per-node", "2", stdout=full.fileno()
        )
        ended = job.end()
    assert ended.err.count("No space left on device") == 1
    assert (jobs.directory / "done0").exists() and (jobs.directory / "done1").exists()
