"""Ranks of ``train.py`` without a launcher, at a signal: all wait for rank 0, which saves, and end with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.processes import Child, Children
from tests.support.repository import ROOT
from tests.support.train_ranks import launched, plain_environment
from tests.support.warm_train import run_train

SIZE = 4
RUN = (
    "--config", "configs/debug.yaml", "--start-time", "2026-01-01", "--set", "train.steps_per_epoch=100000",
    "--set", "run.speed=20", "--set", "run.startup_speed=100000", "--set", "checkpoint.every=1000",
)  # fmt: skip


class SlowSave:
    """A job whose rank 0 says when it saves, and goes on when it is let."""

    def __init__(self, children: Children, directory: Path) -> None:
        self.children = children
        self.directory = directory
        self._held, self._let_go = os.pipe()
        port = free_port()
        self.ranks: list[Child] = []
        for rank in range(SIZE):
            variables = plain_environment() | launched(rank, SIZE, SIZE, port)
            self.ranks.append(children.fork(partial(self._play, rank, variables), pipes=3))

    def _play(self, rank: int, variables: dict[str, str], out: int, err: int, saves: int) -> None:
        from accelerate_sim.checkpointing import Checkpoints

        save = Checkpoints.save_at_last_mark

        def held(checkpoints: Checkpoints) -> str:
            os.write(saves, b"saves")
            os.read(self._held, 1)
            return save(checkpoints)

        if rank == 0:
            Checkpoints.save_at_last_mark = held
        run_train([*RUN, "--output-dir", str(self.directory)], variables, ROOT, out, err)

    def tell(self, number: int) -> None:
        """Send a signal to all ranks that are there."""
        for rank in self.ranks:
            if rank.exit_code is None:
                rank.send_signal(number)

    def begin_to_save(self, number: int) -> None:
        """Send a signal to all ranks of a job that trains, and read until rank 0 saves."""
        self.children.read_until(lambda: b"step 10 " in self.ranks[0].outputs[0], "step 10")
        self.tell(number)
        self.children.read_until(lambda: self.ranks[0].outputs[2], "rank 0 saves")

    def let_go(self) -> None:
        """Let rank 0 save."""
        os.write(self._let_go, b".")

    def has_ended(self, ranks: list[Child]) -> bool:
        return any(rank.exit_code is not None for rank in ranks)

    def close(self) -> None:
        os.close(self._held)
        os.close(self._let_go)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[SlowSave]:
    with Children() as children:
        made = SlowSave(children, tmp_path / "run")
        yield made
        made.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_an_engine_that_kills_all_when_the_first_has_ended_leaves_a_whole_checkpoint(
    job: SlowSave, number: signal.Signals
) -> None:
    job.begin_to_save(number)
    job.children.read_for(0.5)
    assert not job.has_ended(job.ranks)
    job.let_go()
    job.children.read_until(lambda: job.has_ended(job.ranks), "the first rank has ended")
    job.tell(signal.SIGKILL)
    codes = job.children.wait()
    assert set(codes) <= {143, -signal.SIGKILL} and 143 in codes
    last = job.ranks[0].outputs[0].decode().splitlines()[-1]
    assert last.startswith("Terminated: ") and " | saved " in last
    assert [path.name for path in job.directory.glob("checkpoint-*")] == [last.rpartition("/")[2]]
    assert not any(rank.outputs[1] for rank in job.ranks)


def test_a_second_signal_ends_the_others_at_once(job: SlowSave) -> None:
    job.begin_to_save(signal.SIGTERM)
    others = job.ranks[1:]
    while not all(rank.exit_code is not None for rank in others):  # two that come together count as one
        job.tell(signal.SIGTERM)
        job.children.read_for(0.05)
    assert job.ranks[0].exit_code is None
    job.let_go()
    assert job.children.wait() == [143] * SIZE
    assert b" | saved " in job.ranks[0].outputs[0]


def test_the_others_end_when_rank_0_is_killed_while_it_saves(job: SlowSave) -> None:
    job.begin_to_save(signal.SIGTERM)
    job.ranks[0].send_signal(signal.SIGKILL)
    assert job.children.wait() == [-signal.SIGKILL, *[143] * (SIZE - 1)]
    assert not any(rank.outputs[1] for rank in job.ranks)


def test_a_signal_to_one_rank_alone_ends_it(job: SlowSave) -> None:
    """Rank 0 goes on training, so it announces nothing, and is not waited for long."""
    job.children.read_until(lambda: b"step 10 " in job.ranks[0].outputs[0], "step 10")
    job.ranks[2].send_signal(signal.SIGTERM)
    codes = job.children.wait()
    assert (codes[0], codes[2]) == (1, 143)
    assert b"rank 2 is gone" in job.ranks[0].outputs[1]
