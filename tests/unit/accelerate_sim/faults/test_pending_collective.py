"""The collective in which ranks wait: its operation, its size and its number follow from the layout and the phase."""

from __future__ import annotations

from functools import cache

import pytest

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.faults.pending_collective import PendingCollective, pending_in
from accelerate_sim.faults.planned import schedule_of
from accelerate_sim.faults.told import lines_of
from accelerate_sim.sim.run import Run
from tests.support.repository import ROOT


@cache
def run_with(name: str, fault: str) -> Run:
    return Run(ConfigSource.read(ROOT / f"configs/{name}.yaml").with_faults((fault,), "--fault").resolve())


def pending(name: str, at: str) -> PendingCollective:
    attempt = schedule_of(run_with(name, f"hang rank=1 at={at}"), 1).attempt(0)
    assert attempt
    return pending_in(attempt.occurrences[0])


def test_sharded_training_gathers_weights_and_scatters_gradients() -> None:
    run = run_with("llama70b", "hang rank=1")
    forward, backward = pending("llama70b", "step:3+phase:forward"), pending("llama70b", "step:3+phase:backward")
    assert (forward.op, backward.op) == ("_ALLGATHER_BASE", "_REDUCE_SCATTER_BASE")
    assert forward.numel_out == 8 * forward.numel_in == backward.numel_in == 8 * backward.numel_out
    assert forward.numel_out == pytest.approx(run.model.architecture.parameters / 80 / 8, rel=0.01)
    assert pending("llama70b", "step:3+phase:optimizer")[1:] == ("ALLREDUCE", 1, 1)


def test_other_training_sums_gradients_in_buckets() -> None:
    found = pending("debug", "step:3+phase:allreduce")
    assert (found.op, found.numel_in, found.numel_out) == ("ALLREDUCE", 25 * 2**19, 25 * 2**19)
    assert pending("debug", "step:4+phase:optimizer").seq == 4 * 11  # ten buckets of 124 million gradients, and a norm


def test_numbers_rise_with_phases_and_steps() -> None:
    phases = ("forward", "backward", "allreduce", "optimizer")
    numbers = [pending("llama70b", f"step:{step}+phase:{phase}").seq for step in (1, 2, 9) for phase in phases]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 1
    assert pending("llama70b", "phase:nccl")[1:] == ("ALLREDUCE", 1, 1)


def test_all_waiting_ranks_name_the_same_collective_and_the_one_that_hangs_none() -> None:
    attempt = schedule_of(run_with("debug", "hang rank=1 at=step:9"), 1).attempt(0)
    assert attempt
    strike = attempt.occurrences[0]
    seq = pending_in(strike).seq
    said = "\n".join(line.text for line in lines_of(strike))
    assert said.count(f"WorkNCCL(SeqNum={seq}, OpType=ALLREDUCE, NumelIn=13107200, ") >= 3
    assert f"last enqueued work: {seq}, last completed work: {seq - 1}" in said
    assert f"Last enqueued NCCL work: {seq - 1}, last completed NCCL work: {seq - 1}" in said
