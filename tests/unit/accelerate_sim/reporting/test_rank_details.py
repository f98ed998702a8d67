"""Figures of single ranks agree with those of the whole job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from statistics import fmean

import pytest

from accelerate_sim.accelerator import Accelerator
from accelerate_sim.reporting.rank_details import rank_step_records
from accelerate_sim.sim.run import Run

END = datetime(2026, 1, 31, 9, 30)


@pytest.fixture
def run(accelerate: Callable[..., Accelerator]) -> Run:
    return accelerate(
        model="gpt2", cluster={"nodes": 4, "gpus_per_node": 2}, parallel={"tensor": 2, "sharding": "ddp"},
        train={"sequence_length": 1024, "global_batch": 64, "micro_batch": 4},
    ).run  # fmt: skip


def test_the_mean_of_all_own_losses_is_the_loss_of_the_step(run: Run) -> None:
    for step in (1, 7, 300):
        records = rank_step_records(run, step, END, range(8))
        assert fmean(record.loss for record in records) == pytest.approx(run.loss_at(step - 1), abs=1e-6)
        by_rank = {record.rank: record.loss for record in records}
        assert all(by_rank[rank] == by_rank[rank + 1] for rank in (0, 2, 4, 6)), "tensor-parallel ranks share a batch"
        assert len(set(by_rank.values())) == 4


def test_ranks_are_done_before_the_step_ends_in_the_order_of_their_moments(run: Run) -> None:
    records = rank_step_records(run, 50, END, range(8))
    times = [record.time for record in records]
    assert times == sorted(times)
    assert all(timedelta(0) <= END - time < timedelta(seconds=run.timing(49).seconds) for time in times)
    assert len(set(times)) == 8


def test_one_rank_has_the_figures_that_it_has_among_all(run: Run) -> None:
    together = {record.rank: record for record in rank_step_records(run, 9, END, range(8))}
    assert [rank_step_records(run, 9, END, [rank]) for rank in range(8)] == [[together[rank]] for rank in range(8)]


def test_the_rates_of_all_nodes_add_up_to_that_of_the_job(run: Run) -> None:
    """In the mean over many steps, since each rank measures from moment to moment of its own."""
    sums = [sum(record.node_tokens_per_s for record in rank_step_records(run, step, END, range(0, 8, 2)))
            for step in range(20, 120)]  # fmt: skip
    assert fmean(sums) == pytest.approx(fmean(run.timing(step - 1).tokens_per_s for step in range(20, 120)), rel=2e-3)
