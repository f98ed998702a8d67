"""``ProcessGroup``: torch's methods of a group, ``group.allreduce([tensor])`` and others. Each begins a collective.

All return a ``Work``; ``wait()`` waits for the ranks. Roots, sources and destinations are group ranks. The forms are
torch's: a list of one tensor (or one list of tensors per rank) with an option struct, or the tensor itself with plain
arguments; several tensors in one list belonged to several devices, which are not here. Errors as in
``api.collectives``.
"""

from __future__ import annotations

import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NoReturn

from fake_torch_dist import errors
from fake_torch_dist.core.checks import as_duration, check_timeout
from fake_torch_dist.core.collective_methods import CollectiveMethods, Tensors
from fake_torch_dist.core.collective_options import (
    BarrierOptions,
)
from fake_torch_dist.core.method_arguments import begin_call, only
from fake_torch_dist.core.sending import begin_receive, begin_send, peer_of
from fake_torch_dist.core.transport import ANY_SOURCE
from fake_torch_dist.core.work import Work, finish
from fake_torch_dist.torch_names import no_such_attribute

if TYPE_CHECKING:
    from fake_torch_dist.stores.base import Store


class ProcessGroup(CollectiveMethods):
    """An ordered set of ranks that communicate. Made by ``init_process_group`` and ``new_group``."""

    __slots__ = ()

    bound_device_id: Final = None
    """torch's: the device of an NCCL group. There are no devices."""

    def __getattr__(self, name: str) -> NoReturn:
        raise no_such_attribute("ProcessGroup", name)

    def name(self) -> str:
        """Name of the backend, as torch's method of this name."""
        return self.backend

    _get_backend_name = name

    def barrier(
        self,
        opts: BarrierOptions | timedelta | float | None = None,
        timeout: timedelta | float | None = None,
    ) -> Work:
        """Begin a barrier; its ``wait()`` waits for every member."""
        limit = opts.timeout if isinstance(opts, BarrierOptions) else timeout if opts is None else opts
        return begin_call(self, self.barrier_round(), [], limit)

    def monitored_barrier(self, timeout: timedelta | float | None = None, wait_all_ranks: bool = False) -> None:
        """Wait for every member. Group rank 0 names the first absent rank, or with ``wait_all_ranks`` all of them.

        A ``timeout`` that is a float is seconds, with torch's warning. Errors: RuntimeError, torch's text, on rank 0
        and on the others that came; ValueError for backends nccl and fake.
        """
        if isinstance(timeout, float):
            warnings.warn(errors.FLOAT_TIMEOUT.format(timeout=timeout), stacklevel=2)
            timeout = as_duration(timeout)
        check_timeout(timeout)
        self._check_open()
        if self.backend in ("nccl", "fake"):
            raise ValueError(errors.ONLY_GLOO_MONITORS)
        limit = self.timeout if timeout is None else timeout
        try:
            finish(self, self.barrier_round("MONITORED_BARRIER"), limit)
        except (errors.TimedOutError, errors.PeerGoneError) as failure:
            raise errors.DistBackendError(self._text_of_absent(failure, limit, wait_all_ranks)) from None

    def _text_of_absent(
        self, failure: errors.TimedOutError | errors.PeerGoneError, limit: timedelta, wait_all_ranks: bool
    ) -> str:
        """torch's text for members that did not come to a monitored barrier."""
        if self.rank():
            return f"{errors.BARRIER_PASSED.format(rank=self.global_rank(), leader=self.ranks[0])} ({failure})"
        limit_ms = round(limit.total_seconds() * 1e3)
        if limit_ms <= 0:
            return errors.BARRIER_OUT_OF_TIME.format(timeout_ms=limit_ms)
        named = ", ".join(map(str, failure.ranks if wait_all_ranks else failure.ranks[:1]))
        absent = f"{'Ranks' if wait_all_ranks else 'Rank'} {named}"
        return errors.BARRIER_FAILED.format(absent=absent, timeout_ms=limit_ms)

    def send(self, tensors: Tensors, dstRank: int, tag: int) -> Work:
        """Begin to send the tensor to a group rank."""
        self._check_open()
        return begin_send(self, only(tensors), peer_of(self, "destination", dstRank), tag)

    def recv(self, tensors: Tensors, srcRank: int, tag: int) -> Work:
        """Begin to receive a tensor from a group rank."""
        self._check_open()
        return begin_receive(self, only(tensors), peer_of(self, "source", srcRank), tag)

    def recv_anysource(self, tensors: Tensors, tag: int) -> Work:
        """Begin to receive a tensor from whichever member sends first."""
        self._check_open()
        return begin_receive(self, only(tensors), ANY_SOURCE, tag)

    def set_timeout(self, timeout: timedelta | float) -> None:
        """Change how long the group's later collectives wait for their members."""
        self.timeout = as_duration(timeout)

    def get_group_store(self) -> Store:
        """The store in which the ranks met. RuntimeError where they met in none, as in the virtual world."""
        if self.store is None:
            raise RuntimeError(f"{self} has no store: its ranks did not meet in one")
        return self.store
