"""Datasets and loaders: of the run's dataset, and of a user's own data.

Of the run's dataset no data is read: a batch holds its step and micro-batch, from which the loss is computed. Of any
other dataset batches are made of its samples, when they are asked for. There are no worker processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from accelerate_sim.records import BatchRecord
from accelerate_sim.reporting.build import data_record
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    import numpy as np

    from accelerate_sim.catalog import DatasetSpec
    from accelerate_sim.training_progress import TrainingProgress


WITHOUT_EFFECT = {
    "num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "prefetch_factor",
    "persistent_workers", "pin_memory_device", "in_order",
}  # fmt: skip
"""Arguments of torch's loader that change when a batch is made and not which: they are taken and change nothing."""


class TokenIds(NamedTuple):
    """Stands for the token ids of one micro-batch on every rank: its position in the run, not the ids themselves."""

    step: int
    """Optimizer step; in a validation the number of completed steps."""
    number: int
    """Micro-batch of the step, or batch of the validation."""

    def to(self, device: Any, **options: Any) -> TokenIds:
        """The same ids, which are on their ranks' devices."""
        return self


class Batch(dict[str, Any]):
    """A batch with names, which has ``to()`` as transformers' batches have."""

    def to(self, device: Any, **options: Any) -> Batch:
        """The same batch, whose tensors are on their ranks' devices."""
        return self


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
    """Micro-batches of a split. Its length is the number of them in one epoch, or in one validation.

    Over any dataset but the run's it is a ``MapDataLoader``.
    """

    def __new__(cls, dataset: Any, *args: Any, **kwargs: Any) -> DataLoader:
        return object.__new__(cls if cls is not DataLoader or isinstance(dataset, Dataset) else MapDataLoader)

    def __init__(self, dataset: Dataset, batch_size: int, shuffle: bool = True, **without_effect: Any) -> None:
        if unknown := set(without_effect) - WITHOUT_EFFECT - {"collate_fn", "drop_last"}:
            raise TypeError(f"DataLoader has no argument {sorted(unknown)[0]!r}")
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

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._progress is None:
            raise RuntimeError("This DataLoader must be passed to Accelerator.prepare() before it is read.")
        batches = _training_batches if self.dataset.split == "train" else _validation_batches
        found = islice(batches(self._progress), self.skipped, None)
        # Only a user's own script moves batches to a device; a planned run has many micro-batches a second.
        return map(Batch, found) if PartialState().own_script else found


def _training_batches(progress: TrainingProgress) -> Iterator[dict[str, Any]]:
    """The micro-batches of the present epoch; reports where the batch size changes."""
    run, steps = progress.run, progress.run.config.train.steps_per_epoch
    report, new_tuple = PartialState().session.report, tuple.__new__
    first = progress.completed_steps // steps * steps
    for step in range(first, first + steps):
        accumulation = run.accumulation(step)
        if run.batches.begins(step):
            report(BatchRecord(step + 1, run.batches.batch(step), accumulation))
        for number in range(accumulation):
            ids = new_tuple(TokenIds, (step, number))  # TokenIds() is a call of Python more, for every micro-batch
            yield {"input_ids": ids, "labels": ids}


def _validation_batches(progress: TrainingProgress) -> Iterator[dict[str, Any]]:
    """The batches of a validation, each after its simulated time."""
    clock, run = progress.clock, progress.run
    begin_s = clock.now_s
    progress.begin_phase("validation")
    for number in range(run.config.eval.batches):
        # The time of a batch passes before it is handed over, so that a bar counts it when it is done.
        clock.advance_to(begin_s + (number + 1) * run.evaluation_batch_s)
        ids = TokenIds(progress.completed_steps, number)
        yield {"input_ids": ids, "labels": ids}


class MapDataLoader(DataLoader):
    """torch's loader over any object with a length and items: the part of it that decides what is in a batch."""

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        *,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        generator: np.random.Generator | None = None,
        **without_effect: Any,
    ) -> None:
        if unknown := set(without_effect) - WITHOUT_EFFECT:
            raise TypeError(f"DataLoader has no argument {sorted(unknown)[0]!r}")
        if batch_size is None and batch_sampler is None:
            raise ValueError("batch_size=None, which hands out single samples, is not supported: use batch_size=1")
        if batch_size is not None and (not hasattr(batch_size, "__index__") or batch_size <= 0):
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        self.dataset: Any = dataset
        self.batch_size = batch_size  # type: ignore[assignment]  # None beside a batch_sampler
        self.shuffle = shuffle
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or default_collate
        self.drop_last = drop_last
        self.generator = generator
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Make the order of shuffled samples that of ``epoch``."""
        self.epoch = epoch

    def __len__(self) -> int:
        if self.batch_sampler is not None:
            return len(self.batch_sampler)  # type: ignore[arg-type]  # TypeError where it has no length
        count = len(self.sampler) if self.sampler is not None else len(self.dataset)  # type: ignore[arg-type]  # also
        assert self.batch_size
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def index_batches(self) -> Iterator[list[int]]:
        """Positions of the samples of each batch. The order of one epoch is the same on every rank."""
        if self.batch_sampler is not None:
            yield from map(list, self.batch_sampler)
            return
        order = iter(self._order())
        assert self.batch_size
        while batch := list(islice(order, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _order(self) -> Iterable[int]:
        if self.sampler is not None:
            return self.sampler
        if not self.shuffle:
            return range(len(self.dataset))
        if self.generator is None:
            import numpy as np

            # Ranks that draw from generators of their own would shuffle apart.
            self.generator = np.random.default_rng(common_seed())
        order: list[int] = self.generator.permutation(len(self.dataset)).tolist()
        return order

    def batch(self, positions: Sequence[int]) -> Any:
        """The batch of these samples."""
        made = self.collate_fn([self.dataset[position] for position in positions])
        return Batch(made) if type(made) is dict else made

    def __iter__(self) -> Iterator[Any]:
        return map(self.batch, self.index_batches())


def common_seed() -> int:
    """A seed from Python's generator of rank 0, the same on every rank."""
    from random import getrandbits

    seed = [getrandbits(63)]
    if PartialState().initialized:
        from accelerate_sim.own_script.gathering import broadcast_object_list

        broadcast_object_list(seed)
    return seed[0]


def default_collate(samples: Sequence[Any]) -> Any:
    """Samples of a dataset as a batch: numbers and arrays are stacked, mappings and sequences collated by entry."""
    import numpy as np

    first = samples[0]
    if isinstance(first, Mapping):
        return Batch({key: default_collate([sample[key] for sample in samples]) for key in first})
    if isinstance(first, str | bytes):
        return list(samples)
    if isinstance(first, tuple | list):
        from accelerate_sim.own_script.nested_tensors import honor_type

        return honor_type(first, map(default_collate, zip(*samples, strict=True)))
    return np.stack([np.asarray(sample) for sample in samples])
