"""The voice of Hugging Face's Trainer: a dictionary per log on standard output, a tqdm bar on standard error.

Sources: the modules trainer and trainer_callback of transformers 4.57.6 and 5.24.0. 4.x prints bare numbers with a
rounded loss; 5.x prints every float as a string of four significant digits. ``loss`` is the mean since the last log.
The banner is logged at level INFO, which the Trainer hides unless ``log_level`` is info. Not played: the bar of a
validation, and the bars of loading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from accelerate_sim.records import (
    DetectRecord,
    EvalRecord,
    ExportingRecord,
    RestoredRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.records.timestamps import asctime
from accelerate_sim.voices.tqdm_bar import TqdmBar
from accelerate_sim.voices.voice import Bar, Line, Scalars, Setting, Voice, VoiceState, Wording

SOURCE_LINES = {"4": "trainer.py:2519", "5": ""}
"""File and line that a log line of 4.x names; 5.x names none."""


class Trainer(VoiceState):
    """Sums since the last log and since the training began, and the bar."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.is_4 = self.version == "4"
        self.says_info = self.options["log_level"] == "info"
        self.begin = self.now()
        self.bar: TqdmBar | None = None
        self.loss = self.total_loss = 0.0
        self.steps = self.total_steps = 0
        self.last: StepRecord | None = None

    def seconds(self, time: datetime) -> float:
        """Seconds from the beginning of the training to ``time``."""
        return (time - self.begin).total_seconds()

    def info(self, text: str) -> Iterator[Line]:
        """A line of the Trainer's logger."""
        if self.says_info:
            prefix = f"[INFO|{SOURCE_LINES['4']}] {asctime(self.now())} >> " if self.is_4 else "[transformers] "
            yield Line(prefix + text, to_stderr=True)

    def epoch(self, step: int) -> float:
        """Epochs done after ``step``."""
        return step / self.run.steps_per_epoch

    def entry(self, values: Mapping[str, Any]) -> str:
        """The dictionary of a log as the version prints it."""
        if self.is_4:
            return str({key: round(value, 2) if key == "epoch" else value for key, value in values.items()})
        return str({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in values.items()})


def _begin(record: DetectRecord, state: Trainer) -> Iterator[Line | Bar]:
    run, config = state.run, state.plan.config
    state.begin = state.now()
    yield from state.info("***** Running training *****")
    batch = state.plan.layout.global_batch
    yield from state.info(f"  Num examples = {run.steps_per_epoch * batch:,}")
    yield from state.info(f"  Num Epochs = {run.epochs:,}")
    if not state.is_4:
        yield from state.info(f"  Num update steps per epoch = {run.steps_per_epoch:,}")
    yield from state.info(f"  Instantaneous batch size per device = {config.train.micro_batch:,}")
    yield from state.info(f"  Total train batch size (w. parallel, distributed & accumulation) = {batch:,}")
    yield from state.info(f"  Gradient Accumulation steps = {state.plan.layout.accumulation}")
    yield from state.info(f"  Total optimization steps = {run.total_steps:,}")
    yield from state.info(f"  Number of trainable parameters = {state.plan.model.architecture.parameters:,}")
    state.bar = TqdmBar(run.total_steps, 0.0)
    yield state.bar.bar()


def _restored(record: RestoredRecord, state: Trainer) -> Iterator[Line | Bar]:
    state.begin = state.now()
    yield from state.info(
        f"  Resuming training from checkpoint with epoch {int(state.epoch(record.step))} and global step {record.step}"
    )
    if state.bar:
        state.bar.update(record.step, state.seconds(state.now()))


def logged_as(entry: Callable[[StepRecord, float, Any], str]) -> Wording:
    """The wording of steps: the bar, and every ``logging_steps`` what ``entry`` makes of the step and the mean loss."""

    def step(record: StepRecord, state: Trainer) -> Iterator[Line | Bar]:
        state.steps += 1
        state.loss += record.loss
        state.last = record
        if state.bar and state.bar.update(record.step, state.seconds(record.time)):
            yield state.bar.bar()
        if record.step % state.run.log_every == 0:
            loss = state.loss / state.steps
            _count_loss(state)
            yield Line(entry(record, loss, state))

    return step


def _entry(record: StepRecord, loss: float, state: Trainer) -> str:
    epoch = record.step / state.run.steps_per_epoch
    if state.is_4:
        return (
            f"{{'loss': {round(loss, 4)}, 'grad_norm': {record.grad_norm}, 'learning_rate': {record.lr}, "
            f"'epoch': {round(epoch, 2)}}}"
        )
    return (
        f"{{'loss': '{loss:.4g}', 'grad_norm': '{record.grad_norm:.4g}', 'learning_rate': '{record.lr:.4g}', "
        f"'epoch': '{epoch:.4g}'}}"
    )


def _count_loss(state: Trainer) -> None:
    """Add the losses since the last log to those of the training."""
    state.total_loss += state.loss
    state.total_steps += state.steps
    state.loss, state.steps = 0.0, 0


def _evaluation(record: EvalRecord, state: Trainer) -> Iterator[Line]:
    yield Line(state.entry(evaluation(record, state)))


def evaluation(record: EvalRecord, state: Trainer) -> dict[str, float]:
    """The figures of an evaluation under the Trainer's names."""
    run, batches = state.run, state.plan.config.eval.batches
    samples = batches * run.data_parallel * run.micro_batch
    return {
        "eval_loss": record.loss,
        "eval_runtime": round(record.seconds, 4),
        "eval_samples_per_second": round(samples / record.seconds, 3),
        "eval_steps_per_second": round(batches / record.seconds, 3),
        "epoch": state.epoch(record.step),
    }


def _saving(record: SavingRecord, state: Trainer) -> Iterator[Line]:
    yield from state.info(f"Saving model checkpoint to {record.path}")


def _end(record: ExportingRecord, state: Trainer) -> Iterator[Line | Bar]:
    """The end of the training: rates over its whole time, the mean of all losses, and the bar's last state."""
    last = state.last
    if last is None or state.bar is None:
        return
    yield from state.info("\n\nTraining completed. Do not forget to share your model on huggingface.co/models =)\n\n")
    values = _train_metrics(state, last)
    yield Line(state.entry(values))
    state.bar.update(last.step, state.seconds(state.now()))
    yield state.bar.bar(leaves=True)
    state.bar = None
    if state.options["log_metrics"]:
        flos = last.tokens * state.run.flops_per_token
        yield from metrics_table("train", values | {"total_flos": float(flos)})


def _train_metrics(state: Trainer, last: StepRecord) -> dict[str, float]:
    _count_loss(state)
    seconds, steps = state.seconds(state.now()), state.total_steps
    samples = steps * state.plan.layout.global_batch
    return {
        "train_runtime": round(seconds, 4),
        "train_samples_per_second": round(samples / seconds, 3),
        "train_steps_per_second": round(steps / seconds, 3),
        "train_loss": state.total_loss / steps,
        "epoch": state.epoch(last.step),
    }


def metrics_table(split: str, metrics: Mapping[str, float]) -> Iterator[Line]:
    """The table that the example scripts print at their end: keys in order, values to the right."""
    shown = {key: _metric(key, value) for key, value in metrics.items()}
    key_width, value_width = max(map(len, shown)), max(len(str(value)) for value in shown.values())
    yield Line(f"***** {split} metrics *****")
    for key in sorted(shown):
        yield Line(f"  {key: <{key_width}} = {shown[key]:>{value_width}}")


def _metric(key: str, value: float) -> str:
    if key.endswith("_runtime"):
        whole, _, fraction = str(timedelta(seconds=value)).partition(".")
        return f"{whole}.{(fraction or '00')[:2]}"
    return f"{int(value) >> 30}GF" if key == "total_flos" else str(round(value, 4))


def _interrupted(record: SummaryRecord, state: Trainer) -> Iterator[Line | Bar]:
    if state.bar:  # a script that exports no model
        yield state.bar.bar(leaves=True)
        state.bar = None


LINES: Mapping[type, Wording] = {
    DetectRecord: _begin,
    RestoredRecord: _restored,
    StepRecord: logged_as(_entry),
    EvalRecord: _evaluation,
    SavingRecord: _saving,
    ExportingRecord: _end,
    SummaryRecord: _interrupted,
}
"""Kinds of record that the Trainer has words for."""

SCALARS = Scalars(
    {"loss": "train/loss", "grad_norm": "train/grad_norm", "lr": "train/learning_rate"},
    {"loss": "eval/loss", "seconds": "eval/runtime"},
)
VOICE = Voice(LINES, Trainer, scalars=SCALARS)
