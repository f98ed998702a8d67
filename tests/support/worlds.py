"""One test body in three worlds: virtual, processes, and torch with gloo.

A body gets ``dist`` and ``tensor``; ``tensor(f)`` makes the array ``f(rank)`` on each rank. It returns a list of
tensors, which comes back as lists, one per rank. Ranks are children of the test process (processes.py).
"""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from itertools import count
from typing import Any

import numpy as np

import fake_torch_dist as dist
from fake_torch_dist.stores import TCPStore
from tests.support.processes import AT_SESSION_END, Children

Body = Callable[..., Any]
DEADLINE_S = 30.0
TIMEOUT = timedelta(seconds=20)

_numbers = count()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a rank: its value, its exception (class, text, traceback), or the signal that killed it."""

    value: Any = None
    error: tuple[str, str, str] | None = None
    signal: int = 0


@cache
def _port() -> int:
    """Port of a store for all worlds of this session; each has key names of its own."""
    server = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    AT_SESSION_END.callback(server.close)
    return server.port


def outcomes(body: Callable[[int], Any], size: int, *, dead: Collection[int] = ()) -> list[Outcome]:
    """Run ``body(rank)`` in ``size`` forked processes; ``dead`` are ranks that are meant to be killed."""
    with Children(DEADLINE_S) as children:
        ranks = [children.fork(partial(_play, body, rank), pipes=1) for rank in range(size)]
        children.wait()
    found = []
    for rank, child in enumerate(ranks):
        (text,) = child.outputs
        code = child.exit_code or 0
        assert text or rank in dead, f"rank {rank} ended with {code}"
        found.append(pickle.loads(text) if text else Outcome(signal=max(0, -code)))
    return found


def _play(body: Callable[[int], Any], rank: int, writer: int) -> None:
    """Run the body in the child, and write its outcome."""
    try:
        outcome = Outcome(body(rank))
    except BaseException as failure:
        outcome = Outcome(error=(type(failure).__name__, str(failure), traceback.format_exc()))
    if dist.is_initialized():
        dist.destroy_process_group()
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(pickle.dumps(outcome))


def values(found: list[Outcome]) -> list[Any]:
    """Values of all ranks; AssertionError with the traceback of a rank that has none."""
    for rank, outcome in enumerate(found):
        assert outcome.error is None, f"rank {rank}: {outcome.error and outcome.error[2]}"
    return [outcome.value for outcome in found]


def ranks(
    body: Callable[[int], Any],
    size: int,
    *,
    backend: str = "gloo",
    timeout: timedelta = TIMEOUT,
    dead: Collection[int] = (),
    ranks_per_node: int | None = None,
) -> list[Outcome]:
    """``outcomes`` with a world of processes around the body."""
    start = initializer(size, backend=backend, timeout=timeout, ranks_per_node=ranks_per_node)

    def play(rank: int) -> Any:
        start(rank)
        return body(rank)

    return outcomes(play, size, dead=dead)


def initializer(
    size: int, *, backend: str = "gloo", timeout: timedelta = TIMEOUT, ranks_per_node: int | None = None
) -> Callable[[int], None]:
    """A function that makes the world in a process; for bodies that do it themselves."""
    port, name = _port(), f"world{next(_numbers)}"

    def start(rank: int) -> None:
        os.environ.pop("LOCAL_WORLD_SIZE", None)
        if ranks_per_node:
            os.environ["LOCAL_WORLD_SIZE"] = str(ranks_per_node)
        store = dist.PrefixStore(name, TCPStore("127.0.0.1", port, is_master=False))
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)

    return start


# -- one body, three worlds -------------------------------------------------------------------------------------------


def virtual(body: Body, size: int) -> list[Any]:
    """This process plays all ranks."""
    dist.init_process_group("virtual", world_size=size)
    try:
        made = body(dist, lambda f: dist.LocalTensor.from_ranks(np.array([f(rank) for rank in range(size)])))
        return [[each.rank(rank).copy() for each in made] for rank in range(size)]
    finally:
        dist.destroy_process_group()


def processes(body: Body, size: int) -> list[Any]:
    """Each rank is a process."""
    return values(ranks(lambda rank: body(dist, lambda f: np.array(f(rank))), size))


def torch_gloo(body: Body, size: int) -> list[Any]:
    """Each rank is a process with the real library."""
    import torch
    import torch.distributed as real

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]

    def play(rank: int) -> Any:
        torch.set_num_threads(1)
        real.init_process_group(
            "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size, timeout=TIMEOUT
        )
        made = body(real, lambda f: torch.from_numpy(np.array(f(rank))))
        found = [each.numpy().copy() for each in made]
        real.destroy_process_group()
        return found

    return values(outcomes(play, size))


WORLDS = {"virtual": virtual, "processes": processes, "torch_gloo": torch_gloo}
