"""Datasets and loaders. Nothing is read: a batch knows which step and micro-batch it is, and the loss follows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from accelerate_sim.records import BatchRecord
from accelerate_sim.reporting.build import data_record
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.accelerator import Accelerator
    from accelerate_sim.catalog import DatasetSpec


WITHOUT_EFFECT = {
    "num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "prefetch_factor",
    "persistent_workers", "pin_memory_device", "in_order",
}  # fmt: skip
"""Arguments of torch's loader that change when a batch is made and not which: they are taken and change nothing."""


class TokenIds(NamedTuple):
    """Token ids of one micro-batch on every rank: which ones they are, not the ids themselves."""

    step: int
    """Optimizer step, or for validation the steps done."""
    number: int
    """Micro-batch of the step, or batch of the validation."""

    def to(self, device: Any, **options: Any) -> TokenIds:
        """The same ids: they are with their ranks already."""
        return self


class Batch(dict[str, Any]):
    """A batch with names, which can be told to move to a device, as transformers' batches can."""

    def to(self, device: Any, **options: Any) -> Batch:
        """The same batch: the tensors of each rank are in its memory already."""
        return self


class Dataset(NamedTuple):
    """One split of a dataset."""

    spec: DatasetSpec
    split: str


def load_dataset(name: str) -> dict[str, Dataset]:
    """The splits of a dataset, of which the run reads the subset that one epoch takes; logs both."""
    state = PartialState.required()
    run, spec = state.run, state.run.dataset
    if name.lower() != spec.name.lower():
        raise ValueError(f"the run reads {spec.name!r}, not {name!r}: data.dataset in the config says which")
    state.session.clock.advance(run.startup.dataset)
    state.session.report(data_record(run))
    return {"train": Dataset(spec, "train"), "validation": Dataset(spec, "validation")}


class DataLoader:
    """Micro-batches of a split; its length is what one epoch, or one validation, takes.

    Over any other dataset it is a ``MapDataLoader``, which reads it.
    """

    def __new__(cls, dataset: Any, *args: Any, **kwargs: Any) -> DataLoader:
        if cls is DataLoader and not isinstance(dataset, Dataset):
            from accelerate_sim.sharded_loader import MapDataLoader

            return object.__new__(MapDataLoader)
        return object.__new__(cls)

    def __init__(self, dataset: Dataset, batch_size: int, shuffle: bool = True, **without_effect: Any) -> None:
        if unknown := set(without_effect) - WITHOUT_EFFECT - {"collate_fn", "drop_last"}:
            raise TypeError(f"DataLoader has no argument {sorted(unknown)[0]!r}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.skipped = 0
        """Batches at the beginning that are not handed out."""
        self.accelerator: Accelerator | None = None

    def __len__(self) -> int:
        run = PartialState.required().run
        if self.dataset.split == "train":
            return self.batches_of(run.config.train.steps_per_epoch) - self.skipped
        return run.config.eval.batches - self.skipped

    def batches_of(self, steps: int) -> int:
        """Micro-batches that the first ``steps`` steps of the present epoch take."""
        run = PartialState.required().run
        done = self.accelerator.completed_steps if self.accelerator else 0
        # After the last step of all there is no further epoch to speak of.
        first = min(done, run.total_steps - 1) // run.config.train.steps_per_epoch * run.config.train.steps_per_epoch
        return run.micro_batches(first, first + steps)

    def without_first(self, num_batches: int) -> DataLoader:
        """The same without its first batches."""
        rest = DataLoader(self.dataset, self.batch_size)
        rest.skipped, rest.accelerator = num_batches, self.accelerator
        return rest

    def __iter__(self) -> Iterator[Batch]:
        if self.accelerator is None:
            raise RuntimeError("This DataLoader must be passed to Accelerator.prepare() before it is read.")
        if self.dataset.split == "train":
            return islice(self._train(self.accelerator), self.skipped, None)
        return islice(self._validation(self.accelerator), self.skipped, None)

    def _train(self, accelerator: Accelerator) -> Iterator[Batch]:
        run, steps = accelerator.run, accelerator.run.config.train.steps_per_epoch
        first = accelerator.completed_steps // steps * steps
        for step in range(first, first + steps):
            accumulation = run.accumulation(step)
            if run.batches.begins(step):
                accelerator.session.report(BatchRecord(step + 1, run.batches.batch(step), accumulation))
            for number in range(accumulation):
                ids = TokenIds(step, number)
                yield Batch(input_ids=ids, labels=ids)

    def _validation(self, accelerator: Accelerator) -> Iterator[Batch]:
        begin_s = accelerator.clock.now_s
        accelerator.begin_phase("validation")
        for number in range(accelerator.run.config.eval.batches):
            # The time of a batch passes before it is handed over, so that a bar counts it when it is done.
            accelerator.clock.advance_to(begin_s + (number + 1) * accelerator.run.evaluation_batch_s)
            ids = TokenIds(accelerator.completed_steps, number)
            yield Batch(input_ids=ids, labels=ids)
