"""train.py with one process a rank: what each says, that the numbers are those of one process, and how a job ends."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import until
from tests.support.reading import Train
from tests.support.train_ranks import Job

START = "2026-01-01T00:00:00"
RUN = (
    "--config", "configs/debug.yaml", "--start-time", START, "--set", "train.steps_per_epoch=150",
    "--set", "train.warmup_steps=10", "--set", "log.gpu_grid_every=100", "--set", "log.every=20",
    "--set", "train.batch_ramp={start: 32, increment: 32, samples: 1000}",
)  # fmt: skip
"""GPT-2 for 300 steps, in which the batch grows."""
FAST = ("--speed", "max")
SMALL = (*RUN, *FAST)
LONG = ("--set", "impose.step_time_s=[3000, 3600]")
"""Steps of an hour: long enough for ranks to warn of something."""
SLOW = ("--config", "configs/debug.yaml", "--set", "train.steps_per_epoch=100000", "--start-time", START)
"""A run that does not end by itself."""
BEGUN = ("--set", "run.startup_speed=100000")
"""The time that a run takes to start is not waited for."""
SPEED = ("--set", "run.speed=20", *BEGUN)
PROMPT_S = 30.0
"""Generous: the machine may be busy. What is meant is 0.1 s; hanging would be minutes."""
STOPPED_WITHIN_S = 20.0
"""Longest time in which output that was on its way when a rank was stopped may still come."""
INTRODUCTION = re.compile(r"\[.*\] \[Rank (\d+)/\d+\] INFO Process index: \1 \| local process index: \d+ \| .*\n")


def shape(nodes: int, gpus: int) -> tuple[str, ...]:
    return ("--set", f"cluster.nodes={nodes}", "--set", f"cluster.gpus_per_node={gpus}")


def lines_of(text: str, said: Callable[[int], bool]) -> list[str]:
    """Lines of the ranks that are asked for; what bears no rank is rank 0's."""
    ranks = [(re.match(r"\[[^]]*\] \[Rank (\d+)/", line), line) for line in text.splitlines()]
    return [line for rank, line in ranks if said(int(rank[1]) if rank else 0)]


def own_lines(job: Job, rank: int) -> list[str]:
    """Lines of a rank after the one that introduces it."""
    return INTRODUCTION.sub("", job.ranks[rank].stdout, count=1).splitlines()


# --- The same numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nodes, gpus, layout",
    [
        pytest.param(1, 4, ("--seed", "8"), marks=pytest.mark.slow),
        pytest.param(
            2, 4, ("--seed", "2", "--set", "parallel.tensor=2", "--set", "log.ranks=main"), marks=pytest.mark.slow
        ),
        pytest.param(
            2, 4, ("--seed", "2", "--set", "parallel.tensor=2", "--set", "log.ranks=node"), marks=pytest.mark.slow
        ),
        (2, 2, ("--seed", "2", "--set", "log.ranks=all")),
    ],
)
def test_all_figures_are_those_of_one_process(
    train: Train, tmp_path: Path, nodes: int, gpus: int, layout: tuple[str, ...]
) -> None:
    """Rank 0 says what one process says, but for the lines of other ranks, which they say themselves."""
    for name in ("one", "all"):
        (tmp_path / name).mkdir()
    alone = train(*SMALL, *LONG, *shape(nodes, gpus), *layout, "--output-dir", str(tmp_path / "one"))
    assert alone.returncode == 0
    with Job([*SMALL, *LONG, *layout, "--output-dir", str(tmp_path / "all")], nodes * gpus, gpus) as job:
        assert job.wait() == [0] * nodes * gpus
    assert not any(rank.stderr for rank in job.ranks)
    expected = alone.stdout.replace(str(tmp_path / "one"), str(tmp_path / "all"))
    assert job.ranks[0].stdout.splitlines() == lines_of(expected, lambda rank: rank == 0)
    for rank in range(1, nodes * gpus):
        assert own_lines(job, rank) == lines_of(expected, lambda said, rank=rank: said == rank)
    assert lines_of(expected, bool), "the run has to be one in which other ranks have something to say"
    one, all_ = ((tmp_path / name / "metrics.jsonl").read_text() for name in ("one", "all"))
    assert all_ == one.replace(str(tmp_path / "one"), str(tmp_path / "all"))


def test_every_rank_plays_the_run_that_rank_0_draws(tmp_path: Path) -> None:
    """Several runs without a config: model, cluster, batch and clock are the same everywhere, and so is the end."""
    arguments = ("--runs", "2", "--max-steps", "3", "--speed", "max", "--output-dir", str(tmp_path / "out"))
    with Job(arguments, 4, 2) as job:
        assert job.wait() == [0] * 4
    said = job.ranks[0].stdout
    assert len(re.findall(r"Run \d: train.py on 2 nodes x 2 GPUs = 4 ranks", said)) == 2
    begun = re.findall(r"^(\[.*?\]) \[Rank 0/4\] INFO Run", said, re.MULTILINE)
    for rank in job.ranks[1:]:
        assert re.findall(r"^(\[.*?\]) \[Rank \d/4\] INFO Process index", rank.stdout, re.MULTILINE) == begun
    events = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [event["run"] for event in events if event["event"] == "summary"] == [1, 2]


def test_the_loss_is_really_averaged() -> None:
    """Without a rank there is no mean: while one is stopped, nobody goes on."""
    with Job([*SLOW, *SPEED], 4) as job:
        job.read_until("step 20 ")
        job.kill(signal.SIGSTOP, 2)
        before, end_s = "", time.monotonic() + STOPPED_WITHIN_S
        while job.ranks[0].stdout != before and time.monotonic() < end_s:  # what was on its way may come late
            before = job.ranks[0].stdout
            job.go_on_for(0.5)
        assert job.ranks[0].stdout == before
        job.kill(signal.SIGCONT, 2)
        job.read_until("step 30 ")


# --- Once, not by everybody ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (("--help",), 0, "Usage"),
        (("--version",), 0, "fake-torchrun"),
        (("--list", "gpus"), 0, "H100-SXM"),
        (("--config", "configs/debug.yaml", "--plan"), 0, "1 node"),
        (("--config", "configs/debug.yaml", "--print-config"), 0, "gpus_per_node: 4"),
        (("--no-such-option",), 2, "no such option"),
        (("--config", "configs/nowhere.yaml"), 2, "no such file"),
        (("--config", "configs/llama70b.yaml"), 2, "tensor 8 does not divide 4 GPUs"),
        (
            ("--config", "configs/llama70b.yaml", "--set", "parallel.tensor=4"),
            2,
            " GiB on each H100-SXM, which has 79.6 GiB",
        ),
    ],
)
def test_what_concerns_everybody_is_said_once(arguments: tuple[str, ...], code: int, said: str) -> None:
    with Job(arguments, 4) as job:
        assert job.wait() == [code] * 4
    assert said in job.ranks[0].stdout + job.ranks[0].stderr
    assert not any(rank.stdout + rank.stderr for rank in job.ranks[1:])


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE = 'many' is not a whole number"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is not"),
        ({"LOCAL_RANK": "7"}, "LOCAL_RANK = 7 is not from 0 to 1"),
        ({"LOCAL_WORLD_SIZE": "3"}, "LOCAL_WORLD_SIZE = 3"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not"),
    ],
)
def test_an_environment_that_makes_no_sense_is_said_once(wrong: dict[str, str], said: str) -> None:
    with Job(["--speed", "max"], 2, environ=wrong) as job:
        assert job.wait() == [2, 2]
    assert said in job.ranks[0].stderr
    assert len(job.ranks[0].stderr.splitlines()) == 1
    assert not job.ranks[1].stderr


def test_nccl_speaks_for_every_rank() -> None:
    with Job([*SMALL, "--max-steps", "1"], 4, environ={"NCCL_DEBUG": "INFO"}) as job:
        job.wait()
    for number, rank in enumerate(job.ranks):
        assert f"rank {number} nranks 4" in rank.stdout
        stated = set(re.findall(r"NCCL version (\d\S+?)(?:\+cuda[\d.]+)?(?= |$)", rank.stdout, re.MULTILINE))
        assert stated == {"2.21.5"}, "the log and NCCL's own lines agree"
        assert "cudaDriverVersion 12040" in rank.stdout


def test_a_restart_goes_on_from_the_last_checkpoint_and_nothing_is_lost(tmp_path: Path) -> None:
    """The metrics of a job that was killed and started again are those of one that was not."""
    arguments = [*RUN, "--max-steps", "60", "--set", "checkpoint.every=20", "--set", "checkpoint.shards=tiny"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with Job([*arguments, *FAST, "--output-dir", str(whole)], 2) as job:
        assert job.wait() == [0, 0]
    with Job([*arguments, "--set", "run.speed=5", *BEGUN, "--output-dir", str(killed)], 2) as job:
        job.read_until("step 40 ")
        job.kill(signal.SIGKILL)
        job.wait()
    with Job([*arguments, *FAST, "--output-dir", str(killed)], 2) as job:
        assert job.wait() == [2, 2], "a run is never overwritten"
    with Job([*arguments, *FAST, "--output-dir", str(killed)], 2, environ={"TORCHELASTIC_RESTART_COUNT": "1"}) as job:
        assert job.wait() == [0, 0]
    assert "[Rank 0/2] INFO Attempt 2: " in job.ranks[0].stdout
    assert "Going on from " in job.ranks[0].stdout
    one, other = ((path / "metrics.jsonl").read_text() for path in (whole, killed))
    at_its_pace, at_once = '"speed":5.0,"startup_speed":100000.0', '"speed":"max","startup_speed":null'
    assert other.replace(at_its_pace, at_once) == one.replace(str(whole), str(killed))


# --- The end ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_all_ends_all(number: signal.Signals, code: int) -> None:
    with Job([*SLOW, *SPEED], 4, 2) as job:
        job.read_until("step 10 ")
        job.kill(number)
        begin = time.monotonic()
        assert job.wait() == [code] * 4
    assert max(rank.ended_s for rank in job.ranks) - begin < PROMPT_S
    last = job.ranks[0].stdout.splitlines()[-1]
    assert re.match(r"(Interrupted|Terminated): epoch 1/2, step \d+/100000 \| loss", last)
    assert not any(rank.stderr for rank in job.ranks)
    assert not any("own loss" not in line for rank in range(1, 4) for line in own_lines(job, rank))
    assert not any(own_lines(job, rank) for rank in (1, 3))


def test_the_first_rank_of_each_node_logs_figures_of_its_own_by_default() -> None:
    """They are about the same steps as rank 0's lines, and not later."""
    with Job([*SMALL, "--max-steps", "40"], 4, 2) as job:
        assert job.wait() == [0] * 4
    lines = [lines_of(job.ranks[rank].stdout, lambda said, rank=rank: said == rank) for rank in range(4)]
    own = [[line for line in said if " | own loss " in line] for said in lines]
    assert [len(each) for each in own] == [2, 0, 2, 0]
    for node, rank in enumerate((0, 2)):
        said = rf"\[.*\] \[Rank {rank}/4\] INFO step \d0 on node{node} \| own loss \d+\.\d{{4}} "
        figures = r"\| mem [\d.]+/79\.6 GiB \| data wait [\d.]+ ms \| node tokens/s [\d,]+"
        assert all(re.fullmatch(said + figures, line) for line in own[rank])
    steps = [line for line in lines[0] if re.search(r"INFO step \d+ \|", line)]
    assert [line[1:20] for line in own[2]] <= [line[1:20] for line in steps]


def test_a_signal_reaches_who_waits_for_others() -> None:
    """In the middle of a collective that can't end: rank 0 waits for a stopped one, and so do the rest."""
    with Job([*SLOW, *SPEED], 4) as job:
        job.read_until("step 10 ")
        job.kill(signal.SIGSTOP, 3)
        job.go_on_for(0.3)
        job.kill(signal.SIGTERM, 0, 1, 2)
        job.read_until_ended(0, 1, 2, deadline_s=PROMPT_S)
        assert [rank.exit_code for rank in job.ranks] == [143, 143, 143, None]
    assert not any(rank.stderr for rank in job.ranks)


def test_a_signal_reaches_who_waits_for_rank_0_to_come() -> None:
    with Job([*SLOW, *SPEED], 3) as job:
        job.kill(signal.SIGSTOP, 0)
        for rank in (1, 2):
            until(lambda rank=rank: job.ranks[rank].handles(signal.SIGTERM), f"rank {rank} handles SIGTERM")
        job.go_on_for(0.3)
        job.kill(signal.SIGTERM, 1, 2)
        job.read_until_ended(1, 2, deadline_s=PROMPT_S)
        assert [rank.exit_code for rank in job.ranks[1:]] == [143, 143]
    assert not any(rank.stderr for rank in job.ranks[1:])


@pytest.mark.parametrize("dead", [0, 2])
def test_a_death_is_told_by_the_others(dead: int) -> None:
    """With the rank that is gone, and no traceback: by rank 0 for all, or if that is the one, by each of the others."""
    with Job([*SLOW, *SPEED], 4) as job:
        job.read_until("step 10 ")
        job.kill(signal.SIGKILL, dead)
        codes = job.wait()
    assert codes == [-signal.SIGKILL if rank == dead else 1 for rank in range(4)]
    for rank, process in enumerate(job.ranks):
        line = re.fullmatch(rf"\[rank{rank}\]: .*\brank {dead} is gone.*\n", process.stderr)
        # Who is slow to hear rank 0's last word may have said it as well.
        assert line or (rank == dead or (dead != 0 and rank != 0 and not process.stderr)), process.stderr
    if dead:
        assert job.ranks[0].stdout.splitlines()[-1].startswith("Aborted: epoch 1/2, step ")


def test_time_is_up_for_all() -> None:
    with Job([*SLOW, *SPEED, "--duration", "1s"], 4) as job:
        assert job.wait() == [0] * 4
    assert job.ranks[0].stdout.splitlines()[-1].startswith("Time is up: ")
    assert not any(rank.stderr for rank in job.ranks)


def test_rank_0_that_is_told_to_end_tells_the_others() -> None:
    """Without a launcher that would."""
    with Job([*SLOW, *SPEED], 4) as job:
        job.read_until("step 10 ")
        job.kill(signal.SIGINT, 0)
        assert job.wait() == [130] * 4
    assert not any(rank.stderr for rank in job.ranks)


# --- On a terminal ------------------------------------------------------------------------------


def test_bars_go_to_the_launcher_that_has_the_terminal() -> None:
    """As a block of live rows, made for the terminal's width, and anew when that changes; lines go plainly."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    environ = {"FAKE_TORCHRUN_TERMINAL": os.ttyname(slave), "FAKE_TORCHRUN_COLOR": "1", "TERM": "xterm"}
    try:
        _set_size(slave, 70)
        with Job([*SLOW, *SPEED], 2, environ=environ) as job:
            job.read_until_so(
                lambda: any(len(rows) == 2 for rows in _blocks(job.ranks[0].stdout)), "both bars are drawn"
            )
            first = _blocks(job.ranks[0].stdout)
            _set_size(slave, 50)
            job.kill(signal.SIGWINCH, 0)
            job.read_until_so(lambda: _is_narrow(_blocks(job.ranks[0].stdout)[-1]), "both bars have the new width")
            job.kill(signal.SIGTERM)
            assert job.wait() == [143, 143]
    finally:
        os.close(master)
        os.close(slave)
    text = job.ranks[0].stdout
    assert any(len(rows) == 2 and rows[1].startswith("Epoch 1/2") for rows in first)
    assert max(len(row) for rows in first for row in rows) in range(60, 70)
    assert _is_narrow(_blocks(text)[-2])
    assert _blocks(text)[-1] == [""]
    plain = re.sub(r"\x1b\]fake-torchrun;live;[^\x07]*\x07\n", "", text)
    assert "\r" not in plain and "Epoch 1/2" not in plain
    assert "\x1b[32mINFO" in plain
    assert "\nTerminated: " in plain


def _set_size(fd: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))


def _is_narrow(rows: list[str]) -> bool:
    """True for both bars, made for 50 columns."""
    return len(rows) == 2 and max(map(len, rows)) < 50


def _blocks(text: str) -> list[list[str]]:
    return [rows.split("\x1f") for rows in re.findall(r"\x1b\]fake-torchrun;live;([^\x07]*)\x07\n", text)]
