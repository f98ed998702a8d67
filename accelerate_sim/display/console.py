"""Records as log lines: what a person at the terminal is told."""

from __future__ import annotations

from accelerate_sim.display.gpu_table import gpu_table
from accelerate_sim.display.summary import summary_table
from accelerate_sim.display.units import bytes_text, gib_text
from accelerate_sim.logging import get_logger
from accelerate_sim.records import (
    CheckpointRecord,
    CollectiveRecord,
    EvalRecord,
    GpuRecord,
    Record,
    StepRecord,
    SummaryRecord,
    WarningRecord,
)
from accelerate_sim.session import Session

logger = get_logger(__name__)

PIPE_WIDTH = 120
"""Columns of tables where there is no terminal."""


class Console:
    """Shows a run's records on the session's screen. ``log_every`` is the number of steps between detail lines."""

    def __init__(self, session: Session, log_every: int, host: str, memory_total_bytes: int) -> None:
        self.session = session
        self.log_every = log_every
        self.host = host
        self.memory_total_bytes = memory_total_bytes

    @property
    def table_width(self) -> int:
        return self.session.screen.width if self.session.screen.live else PIPE_WIDTH

    def flush(self) -> None: ...

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                if record.step % self.log_every == 0:
                    logger.info(step_line(record, self.memory_total_bytes))
            case GpuRecord():
                self.session.screen.write(gpu_table(record, self.table_width, self.session.style, self.host))
            case CollectiveRecord():
                logger.info(collective_line(record))
            case WarningRecord():
                logger.warning(record.message, rank=record.rank)
            case EvalRecord():
                logger.info(evaluation_line(record))
            case CheckpointRecord():
                logger.info(checkpoint_line(record))
            case SummaryRecord():
                self.session.screen.write(summary_table(record, self.table_width, self.session.style))
                logger.info("Training finished successfully. Model: %s", record.export_path)


def step_line(record: StepRecord, memory_total_bytes: int) -> str:
    """The detail line of a step."""
    return (
        f"step {record.step} | loss {record.loss:.4f} | ppl {perplexity_text(record.perplexity)} | "
        f"grad_norm {record.grad_norm:.3f} | lr {record.lr:.2e} | tokens/s {record.tokens_per_s:,.0f} | "
        f"MFU {mfu_text(record.mfu)} | mem {record.memory_used_bytes / 2**30:.1f}/{gib_text(memory_total_bytes)}"
    )


def perplexity_text(perplexity: float) -> str:
    return f"{perplexity:,.2f}"


def mfu_text(mfu: float) -> str:
    """A share of the peak; imposed step times can ask for more than there is, which is no utilization."""
    return f"{mfu:.1%}" if mfu <= 1 else "n/a"


def collective_line(record: CollectiveRecord) -> str:
    """A timed collective, in the terms of nccl-tests."""
    where = f"{record.nodes} nodes" if record.nodes > 1 else "1 node"
    return (
        f"NCCL {record.collective} ({record.axis} parallel) | {bytes_text(record.bytes)} over {record.ranks} ranks, "
        f"{where} | {record.seconds * 1e3:.3f} ms | algbw {record.algbw_bytes_per_s / 1e9:.1f} GB/s | "
        f"busbw {record.busbw_bytes_per_s / 1e9:.1f} GB/s"
    )


def evaluation_line(record: EvalRecord) -> str:
    verdict = "best so far" if record.best else "not the best so far"
    return (
        f"Validation | loss {record.loss:.4f} | ppl {perplexity_text(record.perplexity)} | "
        f"{record.seconds:.1f} s | {verdict}"
    )


def checkpoint_line(record: CheckpointRecord) -> str:
    rate = record.bytes / record.seconds / 1e9
    return f"Checkpoint saved: {record.path} | {bytes_text(record.bytes)} | {record.seconds:.1f} s | {rate:.1f} GB/s"
