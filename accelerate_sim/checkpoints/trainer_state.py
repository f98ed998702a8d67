"""The content of trainer_state.json, collected from a run's records: Hugging Face Trainer's ``log_history``.

The Trainer keeps every entry and writes all of them with each checkpoint, so its file grows with the run. Here the
number of entries is bounded: in a longer run they are thinned evenly, as if the Trainer had logged less often.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from accelerate_sim.artifacts.damage import conforming
from accelerate_sim.records import EvalRecord, Record, StepRecord
from accelerate_sim.sim.run import Run

MOST_ENTRIES = 500
"""Largest number of entries with a training loss, and of entries with a validation loss."""

Entry = dict[str, Any]


class Best(NamedTuple):
    """Loss and step of the best validation so far."""

    loss: float
    step: int


class TrainerHistory:
    """An observer that makes the Trainer's entries: every ``log.every`` steps, and for each validation.

    The training loss of an entry is the mean since the entry before, rounded as transformers 4 does.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._losses: list[Entry] = []
        self._evals: list[Entry] = []
        self._loss_sum, self._loss_steps = 0.0, 0
        """Sum and number of the training losses since the last entry, which has their mean."""
        self.counted_loss = 0.0
        """The last step's part of the sum."""
        self._best: list[Best] = []
        """The best validation so far, and before it those that it has replaced since the last ``thin``."""

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                self._add(record.loss)
                if record.step % self.run.config.log.every == 0:
                    self._log(record)
            case EvalRecord():
                layout, batches = self.run.layout, self.run.config.eval.batches
                samples = batches * layout.data * layout.micro_batch
                self._evals.append(
                    {
                        "epoch": self._epoch(record.step), "eval_loss": record.loss,
                        "eval_runtime": round(record.seconds, 4),
                        "eval_samples_per_second": round(samples / record.seconds, 3),
                        "eval_steps_per_second": round(batches / record.seconds, 3), "step": record.step,
                    }
                )  # fmt: skip
                if not self._best or record.loss < self._best[-1].loss:
                    self._best.append(Best(record.loss, record.step))

    def _add(self, loss: float) -> None:
        """Count a step's loss. For one that is not finite the Trainer counts the sum since its last log, divided by one
        more than the steps since then; that is 0 in the first of them.
        """
        self.counted_loss = loss if math.isfinite(loss) else self._loss_sum / (1 + self._loss_steps)
        self._loss_sum += self.counted_loss
        self._loss_steps += 1

    def _log(self, record: StepRecord) -> None:
        loss = round(self._loss_sum / self._loss_steps, 4)
        self._loss_sum, self._loss_steps = 0.0, 0
        self._losses.append(
            {
                "epoch": self._epoch(record.step),
                "grad_norm": record.grad_norm if math.isfinite(record.grad_norm) else None,
                "learning_rate": record.lr, "loss": loss, "step": record.step,
            }
        )  # fmt: skip

    def flush(self) -> None: ...

    def thin(self, step: int) -> None:
        """Drop the entries that no checkpoint after ``step`` or more steps contains."""
        if len(self._losses) > 2 * MOST_ENTRIES:
            self._losses = thinned(self._losses, step, self.run.config.log.every)
        if len(self._evals) > 2 * MOST_ENTRIES:
            self._evals = thinned(self._evals, step, 1)
        if len(self._best) > 1 and self._best[-1].step <= step:
            del self._best[:-1]

    def validation_loss(self, step: int) -> float | None:
        """Loss of the validation after ``step`` steps; None if there was none."""
        last = self._evals[-1] if self._evals else {}
        return last.get("eval_loss") if last.get("step") == step else None

    def go_on_with(self, document: Mapping[str, Any]) -> None:
        """Continue the history of a trainer_state.json; raises Damaged."""
        known = history_of(document, "trainer_state.json")
        entries = document["log_history"]
        self._losses = [entry for entry in entries if "loss" in entry]
        self._evals = [entry for entry in entries if "eval_loss" in entry]
        # The mean of the next entry includes the steps between the last one and the checkpoint.
        step = known.global_step
        since = range(step - step % self.run.config.log.every, step)
        self._loss_sum, self._loss_steps = 0.0, 0
        for each in since:
            self._add(self.run.loss_at(each))
        found = known.best_metric is not None and known.best_global_step is not None
        self._best = [Best(document["best_metric"], document["best_global_step"])] if found else []

    def trainer_state(self, step: int) -> dict[str, Any]:
        """Fields of ``transformers.TrainerState`` after ``step`` steps."""
        run, config = self.run, self.run.config
        best = next((best for best in reversed(self._best) if best.step <= step), None)
        saved = best is not None and config.checkpoint.every and best.step % config.checkpoint.every == 0
        tokens = run.tokens_before(step)
        losses, evals = thinned(self._losses, step, config.log.every), thinned(self._evals, step, 1)
        return {
            "best_global_step": best and best.step,
            "best_metric": best and best.loss,
            "best_model_checkpoint": f"checkpoint-{best.step}" if best and saved else None,
            "epoch": self._epoch(step),
            "eval_steps": config.eval.every or config.train.steps_per_epoch,
            "global_step": step,
            "log_history": sorted([*losses, *evals], key=lambda entry: (entry["step"], "eval_loss" in entry)),
            "logging_steps": config.log.every,
            "max_steps": run.last_step,
            "num_input_tokens_seen": tokens,
            "num_train_epochs": config.train.epochs,
            "save_steps": config.checkpoint.every,
            "stateful_callbacks": {"TrainerControl": self._control(step)},
            "total_flos": float(tokens * run.flops_per_token),
            "train_batch_size": config.train.micro_batch,
        }

    def _control(self, step: int) -> dict[str, Any]:
        """The state of the Trainer's ``TrainerControl`` when it saves after ``step`` steps."""
        is_last = step >= self.run.last_step
        flags = {"should_epoch_stop": False, "should_evaluate": False, "should_log": False, "should_save": True}
        return {"args": {**flags, "should_training_stop": is_last}, "attributes": {}}

    def _epoch(self, step: int) -> float:
        return round(step / self.run.config.train.steps_per_epoch, 6)


def thinned(entries: Iterable[Entry], step: int, every: int) -> list[Entry]:
    """The last entry up to ``step`` in each interval of steps; at most MOST_ENTRIES of them.

    An interval is ``every`` steps times a power of two. Intervals of later steps contain those of earlier ones, so the
    result does not depend on when and how often the entries were thinned before.
    """
    interval = every
    while step > interval * MOST_ENTRIES:
        interval *= 2
    last = {(entry["step"] - 1) // interval: entry for entry in entries if entry["step"] <= step}
    return list(last.values())


class _Entry(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    epoch: float
    step: Annotated[int, Field(ge=0, le=10**12)]


class _Loss(_Entry):
    grad_norm: float | None
    """None if it was not finite, for which JSON has no number."""
    learning_rate: float
    loss: float


class _Eval(_Entry):
    eval_loss: float
    eval_runtime: float
    eval_samples_per_second: float
    eval_steps_per_second: float


class SavedTrainerState(BaseModel):
    """The fields of trainer_state.json that a resumed run needs."""

    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True)

    global_step: Annotated[int, Field(ge=0, le=10**12)]
    best_metric: float | None
    best_global_step: Annotated[int, Field(ge=0, le=10**12)] | None
    log_history: list[_Loss | _Eval]


def history_of(document: Mapping[str, Any], name: str) -> SavedTrainerState:
    """The history in a trainer_state.json; raises Damaged."""
    return conforming(_reader(), dict(document), name)


@cache
def _reader() -> TypeAdapter[SavedTrainerState]:
    return TypeAdapter(SavedTrainerState)
