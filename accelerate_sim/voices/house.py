"""The house voice: records as sentences, with fields between bars. A pure function of each record."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from accelerate_sim.display.units import (
    gib_text,
    message_text,
    mfu_text,
    perplexity_text,
)
from accelerate_sim.records import (
    CollectiveRecord,
    EvalRecord,
    RankStepRecord,
    RunFacts,
    StepRecord,
    WarningRecord,
)
from accelerate_sim.voices.house_setup import SETUP
from accelerate_sim.voices.house_storage import STORAGE
from accelerate_sim.voices.voice import Line, Voice, Wording

Lines: TypeAlias = Iterable[Line]


def _step(record: StepRecord, run: RunFacts) -> Iterator[Line]:
    if record.step % run.log_every:
        return
    text = (
        f"step {record.step} | loss {record.loss:.4f} | ppl {perplexity_text(record.perplexity)} | "
        f"grad_norm {record.grad_norm:.3f} | lr {record.lr:.2e} | tokens/s {record.tokens_per_s:,.0f} | "
        f"MFU {mfu_text(record.mfu)} | mem {record.memory_used_bytes / 2**30:.1f}/{gib_text(run.memory_total_bytes)}"
    )
    yield Line(text)
    if record.load_balancing_loss is not None:
        yield Line(f"Experts | load_balancing_loss {record.load_balancing_loss:.4f} | step {record.step}")


def _rank_step(record: RankStepRecord, run: RunFacts) -> Lines:
    text = (
        f"step {record.step} on {run.host}{record.node} | own loss {record.loss:.4f} | "
        f"mem {record.memory_used_bytes / 2**30:.1f}/{gib_text(run.memory_total_bytes)} | "
        f"data wait {record.data_wait_s * 1e3:.1f} ms | node tokens/s {record.node_tokens_per_s:,.0f}"
    )
    return (Line(text, rank=record.rank, time=record.time),)


def _collective(record: CollectiveRecord, run: RunFacts) -> Lines:
    """A timed collective, in the terms of nccl-tests."""
    where = f"{record.nodes} nodes" if record.nodes > 1 else "1 node"
    text = (
        f"NCCL {record.collective} ({record.axis} parallel) | {message_text(record.bytes)} over {record.ranks} ranks, "
        f"{where} | {record.algorithm}/{record.protocol} | {record.seconds * 1e3:.3f} ms | "
        f"algbw {record.algbw_bytes_per_s / 1e9:.1f} GB/s | busbw {record.busbw_bytes_per_s / 1e9:.1f} GB/s"
    )
    return (Line(text),)


def _warning(record: WarningRecord, run: RunFacts) -> Lines:
    return (Line(record.message, logging.WARNING, record.rank),)


def _evaluation(record: EvalRecord, run: RunFacts) -> Lines:
    verdict = "best so far" if record.best else "not the best so far"
    text = (
        f"Validation | loss {record.loss:.4f} | ppl {perplexity_text(record.perplexity)} | "
        f"{record.seconds:.1f} s | {verdict}"
    )
    return (Line(text),)


LINES: Mapping[type, Wording] = {
    **SETUP,
    StepRecord: _step,
    RankStepRecord: _rank_step,
    CollectiveRecord: _collective,
    WarningRecord: _warning,
    EvalRecord: _evaluation,
    **STORAGE,
}
"""Every kind of record that the house voice mentions. GPU grids and the summary's table are drawn, not worded."""

VOICE = Voice(LINES, begin=lambda setting: setting.run, is_house=True)
