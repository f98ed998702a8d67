"""Records of single ranks: what each measures in a step before the figures of all are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np

from accelerate_sim.records import RankStepRecord
from accelerate_sim.sim.disturbances.rank_moments import data_waits_s, leads_s
from accelerate_sim.sim.run import Run


def rank_step_records(run: Run, step: int, end: datetime, ranks: Sequence[int]) -> list[RankStepRecord]:
    """The records of ``ranks`` for ``step``, from 1, which ends for all at ``end``; in the order of their times."""
    index, layout, numbers = step - 1, run.layout, np.asarray(ranks)
    step_s = run.timing(index).seconds
    leads = leads_s(run.noise_seed, run.incidents, index, numbers, step_s)
    seconds = step_s - leads
    if index:
        seconds = seconds + leads_s(run.noise_seed, run.incidents, index - 1, numbers, run.timing(index - 1).seconds)
    rates = run.tokens_of(index) / layout.nodes / seconds
    losses = run.micro_losses(index).mean(axis=0)[layout.data_rank(numbers)]
    waits = data_waits_s(run.noise_seed, index, numbers, run.accumulation(index))
    if run.fault_facts:
        waits = waits + run.late_batches_s(index, ranks)
    records = [
        RankStepRecord(
            step=step,
            rank=rank,
            node=rank // layout.gpus_per_node,
            time=end - timedelta(seconds=float(leads[place])),
            loss=round(float(losses[place]), 7),
            memory_used_bytes=run.telemetry.memory_used_bytes(rank, index),
            data_wait_s=round(float(waits[place]), 6),
            node_tokens_per_s=round(float(rates[place]), 4),
        )
        for place, rank in enumerate(ranks)
    ]
    return sorted(records, key=lambda record: (record.time, record.rank))
