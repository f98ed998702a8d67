"""Questions of a rank about itself, and code for some ranks alone: decorators, contexts, printing, splitting.

Without a launcher one process plays all ranks. It is then the main process and the last one, on each machine: code for
any of them runs here, once. ``process_index`` is 0 there, and Python objects are the same on every rank.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelerate_sim.own_script.device import Device

Function = Callable[..., Any]


class ProcessControl:
    """Accelerate's process methods, for a class that has its index and the number of processes."""

    if TYPE_CHECKING:

        @property
        def num_processes(self) -> int: ...
        @property
        def process_index(self) -> int: ...
        @property
        def local_process_index(self) -> int: ...
        @property
        def plays_all_ranks(self) -> bool: ...
        @property
        def device(self) -> Device: ...
        def wait_for_everyone(self) -> None: ...
        def note_split(self, length: int | None) -> None: ...

    # --- Who am I -------------------------------------------------------------------------------

    @property
    def use_distributed(self) -> bool:
        """True if there is more than one rank."""
        return self.num_processes > 1

    @property
    def is_main_process(self) -> bool:
        """True where rank 0 is."""
        return self.process_index == 0

    @property
    def is_local_main_process(self) -> bool:
        """True where the first rank of a machine is."""
        return self.local_process_index == 0

    @property
    def is_last_process(self) -> bool:
        """True where the last rank is."""
        return self.plays_all_ranks or self.process_index == self.num_processes - 1

    # --- Code for some ranks --------------------------------------------------------------------

    def on_main_process(self, function: Function | None = None) -> Function:
        """Decorator: the function runs on rank 0 and returns None elsewhere."""
        return self._only(lambda: self.is_main_process, function)

    def on_local_main_process(self, function: Function | None = None) -> Function:
        """Decorator: the function runs on the first rank of each machine and returns None elsewhere."""
        return self._only(lambda: self.is_local_main_process, function)

    def on_last_process(self, function: Function | None = None) -> Function:
        """Decorator: the function runs on the last rank and returns None elsewhere."""
        return self._only(lambda: self.is_last_process, function)

    def on_process(self, function: Function | None = None, process_index: int | None = None) -> Function:
        """Decorator: the function runs on rank ``process_index`` and returns None elsewhere."""
        if function is None:
            return partial(self.on_process, process_index=process_index)
        return self._only(lambda: self.plays_all_ranks or self.process_index == process_index, function)

    def on_local_process(self, function: Function | None = None, local_process_index: int | None = None) -> Function:
        """Decorator: the function runs on this rank of each machine and returns None elsewhere."""
        if function is None:
            return partial(self.on_local_process, local_process_index=local_process_index)
        return self._only(lambda: self.plays_all_ranks or self.local_process_index == local_process_index, function)

    def _only(self, here: Callable[[], bool], function: Function | None) -> Function:
        """``function`` where ``here()`` is true at the time of the call, or if there is one rank."""
        if function is None:
            return partial(self._only, here)

        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs) if not self.use_distributed or here() else None

        return called

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Context that rank 0 leaves before the others enter it."""
        yield from self._goes_first(self.is_main_process)

    @contextmanager
    def local_main_process_first(self) -> Iterator[None]:
        """Context that the first rank of each machine leaves before the others enter it."""
        yield from self._goes_first(self.is_local_main_process)

    def _goes_first(self, first: bool) -> Iterator[None]:
        if not first:
            self.wait_for_everyone()
        yield
        if first:
            self.wait_for_everyone()

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print once on each machine."""
        if self.is_local_main_process:
            builtins.print(*args, **kwargs)

    # --- Shares of the work ---------------------------------------------------------------------

    @contextmanager
    def split_between_processes(self, inputs: Any, apply_padding: bool = False) -> Iterator[Any]:
        """Context with this rank's share of a list, tuple, array, dict of such, or dataset with ``select``.

        The first ranks get one more where the length does not divide; ``apply_padding`` repeats the last entry. A
        process that plays all ranks does the work of all, and gets everything, in order of the ranks. Its arrays are
        LocalTensors, one share per rank, which need shares of one length. Raises ValueError otherwise.
        """
        if not self.use_distributed:
            yield inputs
            return
        from accelerate_sim.own_script.shares import all_shares, entries_of, share

        if isinstance(inputs, Mapping) and len({len(value) for value in inputs.values()}) > 1:
            raise ValueError("All values in the dictionary must have the same length")
        if self.plays_all_ranks:
            shares = all_shares(inputs, self.num_processes, padded=apply_padding)
            self.note_split(entries_of(shares))
            yield shares
        else:
            yield share(inputs, self.process_index, self.num_processes, padded=apply_padding)
