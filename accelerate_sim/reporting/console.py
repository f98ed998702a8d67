"""Tells the person at the terminal what the run reports: log lines, GPU grids, the summary."""

from __future__ import annotations

from accelerate_sim.display.gpu.table import gpu_table
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.display.summary import summary_table
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
from accelerate_sim.voices.house import checkpoint_line, collective_line, evaluation_line, step_line
from fake_torch_dist.terminal.descriptor import printable

logger = get_logger(__name__)

PIPE_WIDTH = 120
"""Columns of tables where there is no terminal."""


class Console:
    """Shows a run's records on a screen. ``log_every`` is the number of steps between detail lines."""

    def __init__(self, screen: Screen, style: Style, log_every: int, host: str, memory_total_bytes: int) -> None:
        self.screen = screen
        self.style = style
        self.log_every = log_every
        self.host = host
        self.memory_total_bytes = memory_total_bytes

    @property
    def table_width(self) -> int:
        return self.screen.width if self.screen.live else PIPE_WIDTH

    def flush(self) -> None: ...

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                if record.step % self.log_every == 0:
                    logger.info(step_line(record, self.memory_total_bytes))
            case GpuRecord(phase="step"):
                self.screen.write(gpu_table(record, self.table_width, self.style, self.host))
            case CollectiveRecord():
                logger.info(collective_line(record))
            case WarningRecord():
                logger.warning(record.message, rank=record.rank)
            case EvalRecord():
                logger.info(evaluation_line(record))
            case CheckpointRecord():
                logger.info(checkpoint_line(record))
            case SummaryRecord():
                self.screen.write(summary_table(record, self.table_width, self.style))
                logger.info("Training finished successfully. Model: %s", printable(record.export_path))
