"""Kinds of fault between ranks: partition of the nodes, and the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from accelerate_sim.faults.consequences import Death, Ending, FaultLine, RaiseEnd, SignalEnd, Truth
from accelerate_sim.faults.fault import Value
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import (
    MOST_LOGGING_RANKS,
    NOTICED_S,
    SIGABRT,
    collective_of,
    draw_of,
    of_rank,
    timeout_sign,
    torch_of,
    waiter_of,
)
from accelerate_sim.faults.spans import NOTHING, FaultSpan
from accelerate_sim.faults.words import store, watchdog
from accelerate_sim.faults.words.line import later
from accelerate_sim.faults.words.torch_release import watchdog_lines
from fake_torch_dist.torch_names import MASTER_PORT

CONNECT_MS = 60_000
"""Milliseconds after which a client that connects to the store tries again."""


# --- partition ----------------------------------------------------------------------------------


def _timeout_s(strike: Occurrence) -> float:
    timeout = strike.fault["timeout"]
    assert isinstance(timeout, FaultSpan)
    return timeout.seconds or 0.0


def _is_split(strike: Occurrence) -> bool:
    return len(strike.hit.nodes) < strike.run.layout.nodes


def _partition_ending(strike: Occurrence) -> Ending | None:
    """Each rank waits for the other half until its watchdog ends it."""
    if not _is_split(strike):
        return None
    ended_s = _timeout_s(strike) + watchdog_lines(torch_of(strike)).wait_s
    ranks = range(strike.run.layout.world_size)
    deaths = [Death(rank, SignalEnd(SIGABRT), ended_s + waiter_of(strike, rank).noticed_s) for rank in ranks]
    return Ending(tuple(sorted(deaths, key=lambda death: death.after_s)), ended_s + NOTICED_S)


def _partition_lines(strike: Occurrence) -> Iterator[FaultLine]:
    if _is_split(strike):
        timeout_s = _timeout_s(strike)
        for rank in range(strike.run.layout.world_size)[:MOST_LOGGING_RANKS]:
            said = watchdog.waiting_rank(waiter_of(strike, rank, timeout_s), collective_of(strike, timeout_s))
            yield from of_rank(rank, later(said, timeout_s), timeout_sign(rank))


# --- store --------------------------------------------------------------------------------------


def _clients(strike: Occurrence) -> list[int]:
    """The ranks that ask the store of rank 0."""
    return list(range(1, strike.run.layout.world_size))[:MOST_LOGGING_RANKS]


def _store_ending(strike: Occurrence) -> Ending | None:
    """A store that is gone ends the ranks that need it; the first one to ask is seen first."""
    clients = _clients(strike)
    if strike.fault["action"] != "gone" or not clients:
        return None
    error = RaiseEnd("torch.distributed.DistNetworkError", store.CLOSED)
    return Ending((Death(clients[0], error, 3.0),), 3.0 + NOTICED_S)


def _store_lines(strike: Occurrence) -> Iterator[FaultLine]:
    for rank in _clients(strike):
        client = store.Client(
            rank=rank, host=strike.host(0), port=MASTER_PORT, start=strike.moment, draw=draw_of(strike, rank),
            torch=torch_of(strike),
        )  # fmt: skip
        received = rf"\[rank{rank}\].* \[c10d\] recvValue failed on SocketImpl\("
        match strike.fault["action"]:
            case "gone":
                yield from of_rank(rank, store.gone(client), received)
            case "reset":
                yield from of_rank(rank, store.gone(client, store.RESET, seconds=1), received)
            case _ if _fails_s(strike) >= CONNECT_MS / 1000:
                tried = rf"\[rank{rank}\].* TCP client failed to connect/validate to host .* retrying \(try=0"
                yield from of_rank(rank, store.unreachable(client, CONNECT_MS)[:2], tried)


def _store_lasts(keys: Mapping[str, Value]) -> FaultSpan | None:
    return FaultSpan(CONNECT_MS / 1000) if keys["action"] == "slow" else None


def _fails_s(strike: Occurrence) -> float:
    """Seconds for which a slow store answers nobody."""
    return strike.fault.lasts.length_s(strike.run.mean_step_s)


def _on_store(strike: Occurrence) -> tuple[str, float]:
    return str(strike.fault["action"]), _fails_s(strike)


def _store_truth(strike: Occurrence) -> Truth:
    return Truth("network", action="restart" if strike.fault["action"] == "gone" else "none")


KINDS = (
    FaultKind(
        name="partition", help="nodes are cut off from the others; each half waits for the other until it times out",
        targets=("node",),
        target="node=any",
        keys={"timeout": Key("span", FaultSpan(600.0), "Time of the watchdog.")},
        ends=_partition_ending, lines=_partition_lines, truth=Truth("network"),
    ),
    FaultKind(
        name="store", help="the store of rank 0, which the ranks meet at, resets connections, is gone, or is slow",
        targets=("store",),
        target="store",
        keys={"action": Key("word", "reset", "What it does; gone ends the job.", ("reset", "gone", "slow"))},
        lasts=NOTHING, ends=_store_ending, lines=_store_lines, truth=Truth("network"), truth_by=_store_truth,
        lasts_by=_store_lasts, on_store=_on_store,
    ),
)  # fmt: skip
