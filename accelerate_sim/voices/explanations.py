"""The reasons behind key messages, for learners: one sentence for each kind of record, said once in a run.

The steps have several, one for each of the first that are logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from accelerate_sim.display.folding import fold
from accelerate_sim.display.style import Style
from accelerate_sim.records import (
    AttemptRecord,
    BatchRecord,
    CheckpointRecord,
    CollectiveRecord,
    ConnectRecord,
    DataRecord,
    DetectRecord,
    EvalRecord,
    ExportRecord,
    LaunchRecord,
    LinkTestRecord,
    ModelLoadedRecord,
    ModelRecord,
    Record,
    ResumeRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
    TightMemoryRecord,
    TokenizerRecord,
    WarningRecord,
)

SENTENCES: Mapping[type, Sequence[str]] = {
    LaunchRecord: ("one process drives each GPU and is called a rank; the seed makes the run repeatable",),
    TightMemoryRecord: ("a GPU that runs out of memory ends the whole job, so the plan is checked before it starts",),
    ResumeRecord: ("work after the last complete checkpoint is lost, so a job that restarts begins there",),
    ModelRecord: (
        "parameters x 2 bytes are the weights in bf16; gradients and optimizer state take several times more",
    ),
    ModelLoadedRecord: ("random weights know nothing: every token is as likely, so the first loss is ln(vocabulary)",),
    TokenizerRecord: (
        "text becomes numbers of this vocabulary; a larger one makes texts shorter and the last layer larger",
    ),
    DataRecord: (
        "a step reads the global batch: micro batch x replicas (DP) x accumulation, as one GPU holds a few sequences",
    ),
    BatchRecord: ("a small batch is enough while gradients agree; later a larger one averages out more noise",),
    ConnectRecord: (
        "TP splits each layer and talks most, so it stays inside a node; DP talks once a step and crosses nodes",
    ),
    LinkTestRecord: (
        "busbw is the speed of the slowest link in use; a low value here means slow steps, so it is measured first",
    ),
    DetectRecord: ("all GPUs wait for each other in each step, so one that is slower or smaller limits all",),
    StepRecord: (
        "the loss falls fast at first: the model learns how often words occur; lr still warms up",
        "ppl = exp(loss): among so many equally likely tokens the model still hesitates",
        "MFU = 6 x parameters x tokens/s / peak FLOP/s: 35 to 55 % is usual, the rest is communication and memory",
        "grad_norm is the size of the update before clipping; a sudden rise warns of a spike in the loss",
    ),
    CollectiveRecord: (
        "algbw is bytes over time; busbw counts what each link carries and compares with the hardware's rate",
    ),
    WarningRecord: ("every collective waits for the slowest rank, so one bad GPU costs the speed of all",),
    EvalRecord: ("text that is not trained on shows what is learned and not memorized; it should fall with the loss",),
    SavingRecord: ("optimizer state is saved too, in 32 bits: without it training would not go on as before",),
    CheckpointRecord: (
        "training stands while it is written; more often costs time, less often loses more after a failure",
    ),
    AttemptRecord: ("a failure of one rank ends all, as collectives need everyone; the launcher starts them again",),
    ExportRecord: ("only the weights are kept for use; optimizer state is for training alone",),
    SummaryRecord: ("training time over total time is the goodput; start-up, checkpoints and failures take the rest",),
}


class Explainer:
    """Says the next sentence of each kind of record, as grey lines."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._run = 0
        self._said: dict[type, int] = {}

    def lines(self, record: Record, run: int, width: int) -> Iterator[str]:
        """The lines that follow those of ``record`` in the run of this number."""
        if run != self._run:
            self._run, self._said = run, {}
        kind = type(record)
        sentences, said = SENTENCES.get(kind, ()), self._said.get(kind, 0)
        if said < len(sentences):
            self._said[kind] = said + 1
            text = self._style.text(f"{'':22}why: {sentences[said]}")
            yield from (self._style.paint(line, "dim") for line in fold(text, width))
