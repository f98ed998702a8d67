"""Datasets and loaders. No data is read: a batch holds its step and micro-batch, from which the loss is computed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from accelerate_sim.records import BatchRecord
from accelerate_sim.reporting.build import data_record
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.catalog import DatasetSpec
    from accelerate_sim.training_progress import TrainingProgress


class TokenIds(NamedTuple):
    """Stands for the token ids of one micro-batch on every rank: its position in the run, not the ids themselves."""

    step: int
    """Optimizer step; in a validation the number of completed steps."""
    number: int
    """Micro-batch of the step, or batch of the validation."""


Batch = dict[str, TokenIds]


class Dataset(NamedTuple):
    """One split of a dataset."""

    spec: DatasetSpec
    split: str


def load_dataset(name: str) -> dict[str, Dataset]:
    """The splits of a dataset, of which the run reads the subset that one epoch takes; logs both."""
    state = PartialState()
    run, spec = state.run, state.run.dataset
    if name.lower() != spec.name.lower():
        raise ValueError(f"the run reads {spec.name!r}, not {name!r}: data.dataset in the config says which")
    state.session.clock.advance(run.startup.dataset)
    state.session.report(data_record(run))
    return {"train": Dataset(spec, "train"), "validation": Dataset(spec, "validation")}


class DataLoader:
    """Micro-batches of a split. Its length is the number of them in one epoch, or in one validation."""

    def __init__(self, dataset: Dataset, batch_size: int) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.skipped = 0
        """Batches at the beginning that are left out."""
        self._progress: TrainingProgress | None = None

    def connect(self, progress: TrainingProgress) -> None:
        """Take the training's progress, which decides the epoch that is read."""
        self._progress = progress

    def __len__(self) -> int:
        run = PartialState().run
        if self.dataset.split == "train":
            return self.batches_of(run.config.train.steps_per_epoch) - self.skipped
        return run.config.eval.batches - self.skipped

    def batches_of(self, steps: int) -> int:
        """Number of micro-batches in the first ``steps`` steps of the present epoch."""
        run = PartialState().run
        done = self._progress.completed_steps if self._progress else 0
        # After the last step no epoch follows, so the last one counts.
        first = min(done, run.total_steps - 1) // run.config.train.steps_per_epoch * run.config.train.steps_per_epoch
        return run.micro_batches(first, first + steps)

    def without_first(self, num_batches: int) -> DataLoader:
        """A loader of the same split that leaves out its first batches."""
        rest = DataLoader(self.dataset, self.batch_size)
        rest.skipped, rest._progress = num_batches, self._progress
        return rest

    def __iter__(self) -> Iterator[Batch]:
        if self._progress is None:
            raise RuntimeError("This DataLoader must be passed to Accelerator.prepare() before it is read.")
        batches = _training_batches if self.dataset.split == "train" else _validation_batches
        return islice(batches(self._progress), self.skipped, None)


def _training_batches(progress: TrainingProgress) -> Iterator[Batch]:
    """The micro-batches of the present epoch; reports where the batch size changes."""
    run, steps = progress.run, progress.run.config.train.steps_per_epoch
    report = PartialState().session.report
    first = progress.completed_steps // steps * steps
    for step in range(first, first + steps):
        accumulation = run.accumulation(step)
        if run.batches.begins(step):
            report(BatchRecord(step + 1, run.batches.batch(step), accumulation))
        for number in range(accumulation):
            ids = TokenIds(step, number)
            yield {"input_ids": ids, "labels": ids}


def _validation_batches(progress: TrainingProgress) -> Iterator[Batch]:
    """The batches of a validation, each after its simulated time."""
    clock, run = progress.clock, progress.run
    begin_s = clock.now_s
    progress.begin_phase("validation")
    for number in range(run.config.eval.batches):
        # The time of a batch passes before it is handed over, so that a bar counts it when it is done.
        clock.advance_to(begin_s + (number + 1) * run.evaluation_batch_s)
        ids = TokenIds(progress.completed_steps, number)
        yield {"input_ids": ids, "labels": ids}
