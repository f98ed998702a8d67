"""The voice of Hugging Face's Trainer: a dictionary per log on standard output, a tqdm bar on standard error.

Sources: the modules trainer and trainer_callback of transformers 4.57.6 and 5.24.0. 4.x prints bare numbers with a
rounded loss; 5.x prints every float as a string of four significant digits. ``loss`` is the mean since the last log.
The banner, validations and checkpoints are logged at level INFO, which the Trainer hides unless ``log_level`` is info.
Not played: the bar of a validation, and the bars of loading and of writing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate_sim.records import (
    CheckpointRecord,
    DeletedRecord,
    DetectRecord,
    EvalRecord,
    ExportingRecord,
    RestoredRecord,
    RestoringRecord,
    ResumeRecord,
    SavingRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.voices.hf_logger import (
    Trainer,
    banner,
    deleted,
    model_begun,
    model_saved,
    resumed,
    saved,
    saving,
    validating,
)
from accelerate_sim.voices.tqdm_bar import TqdmBar
from accelerate_sim.voices.voice import Bar, Line, Scalars, Voice, Wording


def _resume(record: ResumeRecord, state: Trainer) -> Iterator[Line]:
    state.resumes = record.checkpoint is not None
    yield from ()


def _begin(record: DetectRecord, state: Trainer) -> Iterator[Line | Bar]:
    state.begin = state.now()
    if state.plan.config.train.max_steps is not None:
        where, text = "trainer.py:699", "max_steps is given, it will override any value given in num_train_epochs"
        yield from state.info(where, text)
    if not state.resumes:
        yield from _started(state)


def _started(state: Trainer) -> Iterator[Line | Bar]:
    yield from banner(state)
    state.bar = TqdmBar(state.run.total_steps, 0.0)
    yield state.bar.bar()


def _restoring(record: RestoringRecord, state: Trainer) -> Iterator[Line]:
    yield from state.info("trainer.py:2934", f"Loading model from {record.path}.")


def _restored(record: RestoredRecord, state: Trainer) -> Iterator[Line | Bar]:
    state.begin = state.now()
    if state.resumes:
        state.resumes = False
        yield from _started(state)
    yield from resumed(record.step, state)
    if state.bar:
        state.bar.update(record.step, state.seconds(state.now()))


def logged_as(entry: Callable[[StepRecord, float, Any], str]) -> Wording:
    """The wording of steps: the bar, and every ``logging_steps`` what ``entry`` makes of the step and the mean loss."""

    def step(record: StepRecord, state: Trainer) -> Iterator[Line | Bar]:
        state.loss += state.counted(record.loss)
        state.steps += 1
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
    yield from validating(record, state)
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


def _end(record: ExportingRecord, state: Trainer) -> Iterator[Line | Bar]:
    """The end of the training: rates over its whole time, the mean of all losses, and the bar's last state."""
    last = state.last
    if last is None or state.bar is None:
        return
    yield from state.info(
        "trainer.py:2810", "\n\nTraining completed. Do not forget to share your model on huggingface.co/models =)\n\n"
    )
    values = _train_metrics(state, last)
    yield Line(state.entry(values))
    state.bar.update(last.step, state.seconds(state.now()))
    yield state.bar.bar(leaves=True)
    state.bar = None
    yield from model_begun(str(Path(record.path).parent), state)
    yield from model_saved(str(Path(record.path).parent), state)
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
    ResumeRecord: _resume,
    DetectRecord: _begin,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
    StepRecord: logged_as(_entry),
    EvalRecord: _evaluation,
    SavingRecord: saving,
    CheckpointRecord: saved,
    DeletedRecord: deleted,
    ExportingRecord: _end,
    SummaryRecord: _interrupted,
}
"""Kinds of record that the Trainer has words for."""

SCALARS = Scalars(
    {"loss": "train/loss", "grad_norm": "train/grad_norm", "lr": "train/learning_rate"},
    {"loss": "eval/loss", "seconds": "eval/runtime"},
)
VOICE = Voice(LINES, Trainer, scalars=SCALARS)
