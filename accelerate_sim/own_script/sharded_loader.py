"""The loaders that ``prepare`` returns for a user's own data: each rank reads its share of the batches.

Batches go to the ranks in turn, as in Accelerate: of a dataset of 5 rows in batches of 2, two ranks read rows 0-1 and
2-3, then 4 with 0, and 1-2; with ``even_batches`` the last batches are filled up from the beginning.

Loaders that are no ``DataLoader`` of this package are dealt out batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from accelerate_sim.data_loader import Batch, MapDataLoader
from accelerate_sim.own_script.gradient_state import GradientState
from accelerate_sim.own_script.nested_tensors import honor_type
from accelerate_sim.state import PartialState
from fake_torch_dist import LocalTensor


class DataLoaderShard:
    """A loader as one rank reads it, or as a process that plays all ranks reads it, with a tensor's shard for each.

    Other attributes are those of the loader that was prepared.
    """

    def __init__(self, loader: Any, *, split_batches: bool = False, even_batches: bool = True, skip: int = 0) -> None:
        self.base_dataloader = loader
        self.split_batches = split_batches
        self.even_batches = even_batches
        self.skip = skip
        """Batches of each rank that are left out at the beginning."""
        self.gradient_state = GradientState()
        self.end_of_dataloader = False
        self.remainder = -1
        self.iteration = 0
        """Times that the loader has been read."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "base_dataloader":
            raise AttributeError(name)
        return getattr(self.base_dataloader, name)

    @property
    def total_batch_size(self) -> int:
        """Samples of one batch of all ranks."""
        size = int(self.base_dataloader.batch_size or 1)
        return size if self.split_batches else size * PartialState.entered().num_processes

    @property
    def total_dataset_length(self) -> int:
        """Samples of the dataset."""
        return len(self.base_dataloader.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch of the loader, or of its sampler."""
        self.iteration = epoch
        for thing in (self.base_dataloader, getattr(self.base_dataloader, "sampler", None)):
            if thing is not None and hasattr(thing, "set_epoch"):
                thing.set_epoch(epoch)
                return

    def __len__(self) -> int:
        """Batches that this rank reads."""
        state = PartialState.entered()
        batches, ranks = len(self.base_dataloader), state.num_processes
        if not self.split_batches:
            if getattr(self.base_dataloader, "drop_last", False):
                batches //= ranks
            elif self.even_batches:
                batches = -(-batches // ranks)
            else:
                batches = batches // ranks + (state.process_index < batches % ranks)
        return max(batches - self.skip, 0)

    def __iter__(self) -> Iterator[Any]:
        state = PartialState.entered()
        self.end_of_dataloader, self.remainder = False, self._remainder()
        self.gradient_state._add_dataloader(self)
        try:
            rounds = islice(self._rounds(state.num_processes), self.skip, None)
            # One round is read ahead, so that the last one is known before it is handed over.
            ahead = next(rounds, None)
            while ahead is not None:
                batches, ahead = ahead, next(rounds, None)
                self.end_of_dataloader = ahead is None
                yield self._handed_over(batches, state)
        finally:
            self.iteration += 1
            self.gradient_state._remove_dataloader(self)

    def _remainder(self) -> int:
        loader = self.base_dataloader
        if not (hasattr(loader, "dataset") and hasattr(loader.dataset, "__len__")):
            return -1
        return -1 if getattr(loader, "drop_last", False) else len(loader.dataset) % self.total_batch_size

    def _rounds(self, num_ranks: int) -> Iterator[list[Any]]:
        """The batches of all ranks, one list after the other; of the last one ranks may be missing."""
        loader = self.base_dataloader
        drop_last = bool(getattr(loader, "drop_last", False))
        if isinstance(loader, MapDataLoader):
            size = loader.batch_size if loader.batch_sampler is None else None
            size = size // num_ranks if size and self.split_batches else size
            positions = (
                self._split(loader.index_batches(), num_ranks, size) if self.split_batches else loader.index_batches()
            )
            yield from dealt(positions, num_ranks, size, even=self.even_batches, drop_last=drop_last)
        else:
            yield from dealt(iter(loader), num_ranks, None, even=self.even_batches, drop_last=drop_last)

    @staticmethod
    def _split(batches: Iterable[list[int]], num_ranks: int, size: int | None) -> Iterator[list[int]]:
        """Each batch in the parts of its ranks. ValueError if a batch does not divide."""
        if not size:
            raise ValueError("split_batches needs a batch size that is a multiple of the number of processes")
        for batch in batches:
            for begin in range(0, len(batch), size):
                yield batch[begin : begin + size]

    def _handed_over(self, batches: list[Any], state: PartialState) -> Any:
        loader = self.base_dataloader
        ours = isinstance(loader, MapDataLoader)
        if not state.plays_all_ranks:
            mine = batches[state.process_index]
            return tensors([loader.batch(mine)]) if ours else mine
        if len(batches) < state.num_processes:
            raise ValueError(
                f"only {len(batches)} of {state.num_processes} ranks have a batch left, and a process that plays all "
                "ranks needs one for each: use even_batches=True, drop_last=True, or fake-torchrun"
            )
        return tensors([loader.batch(each) for each in batches] if ours else batches)


def skip_first_batches(dataloader: Any, num_batches: int = 0) -> DataLoaderShard | SkippingLoader:
    """A loader like ``dataloader`` without its first batches; of a prepared one, without the first of each rank."""
    if isinstance(dataloader, DataLoaderShard):
        return DataLoaderShard(
            dataloader.base_dataloader,
            split_batches=dataloader.split_batches,
            even_batches=dataloader.even_batches,
            skip=dataloader.skip + num_batches,
        )
    return SkippingLoader(dataloader, num_batches)


class SkippingLoader:
    """A loader that has not been prepared, without its first batches."""

    def __init__(self, loader: Any, skip: int) -> None:
        self.base_dataloader = loader
        self.skip = skip

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "base_dataloader":
            raise AttributeError(name)
        return getattr(self.base_dataloader, name)

    def __len__(self) -> int:
        return max(len(self.base_dataloader) - self.skip, 0)

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.base_dataloader), self.skip, None)


def dealt(
    batches: Iterator[Any], num_ranks: int, size: int | None, *, even: bool, drop_last: bool
) -> Iterator[list[Any]]:
    """Lists of one batch for each rank; ``size`` is the length of a whole batch of positions, None if it may vary.

    A last list that is not complete is dropped, handed out as it is, or made complete from the first batches.
    """
    first: list[Any] = []
    while True:
        found = list(islice(batches, num_ranks))
        if len(found) == num_ranks and (size is None or len(found[-1]) == size):
            first = first or found
            yield found
            continue
        if found and not drop_last:
            yield _completed(found, first or found, num_ranks, size) if even else found
        return


def _completed(found: list[Any], first: list[Any], num_ranks: int, size: int | None) -> list[Any]:
    """``found`` with batches made of the ``first`` ones, so that each rank has a whole one."""
    if size is None:
        return [*found, *(first[i % len(first)] for i in range(num_ranks - len(found)))]
    pool = [position for batch in first for position in batch]
    have = [position for batch in found for position in batch]
    missing = num_ranks * size - len(have)
    have += (pool * -(-missing // len(pool)))[:missing] if missing else []
    return [have[begin : begin + size] for begin in range(0, num_ranks * size, size)]


def tensors(batches: list[Any]) -> Any:
    """One batch of the batches of this process's ranks: arrays and numbers become LocalTensors, other values a list.

    ValueError if the ranks' arrays differ in shape.
    """
    first = batches[0]
    if isinstance(first, Mapping):
        made = {key: tensors([batch[key] for batch in batches]) for key in first}
        return Batch(made) if type(first) in (dict, Batch) else honor_type(first, made)
    if isinstance(first, tuple | list) and not isinstance(first[0] if first else None, str | bytes):
        return honor_type(first, (tensors(list(each)) for each in zip(*batches, strict=True)))
    if isinstance(first, np.ndarray | np.generic | int | float):
        shapes = sorted({np.shape(batch) for batch in batches})
        if len(shapes) > 1:
            raise ValueError(
                f"the ranks' batches have shapes {shapes[0]} and {shapes[-1]}, and a process that plays all ranks "
                "needs one shape: pad them in collate_fn, or start a process for each rank with fake-torchrun"
            )
        return LocalTensor(np.stack([np.asarray(batch) for batch in batches]))
    return first if len(batches) == 1 else batches
