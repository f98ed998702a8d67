"""Faults of a fleet's rate (``faults.drawn: play``) as faults of the language, each with its time and place.

Times and causes are those of ``sim.disturbances.faults``. Around them is what fleets report:

- Few machines have most faults: 3 of 63 had more than half of the exclusions (Lablup 2026, arXiv 2605.09370).
- A third of restarts fails again, about ten minutes later (the same; 33 % of its automatic retries succeeded at last).
- One in ten is implicit: of 11.3 such incidents 10 are hangs, 1 is a slow GPU, 0.3 are NaN (ByteRobust 2025, arXiv
  2509.16293).
- A fifth of the faults of GPUs has signs before, which are corrected memory errors (2 of 10 in Lablup 2026).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from accelerate_sim.faults.fault import Fault
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.language import parse
from accelerate_sim.sim import noise
from accelerate_sim.sim.disturbances.faults import FleetFaults

if TYPE_CHECKING:
    from accelerate_sim.sim.disturbances.faults import FleetFault
    from accelerate_sim.sim.run import Run

WINDOW_S: Final = 1000 * 3600.0
LEMON_EXPONENT: Final = 20.0
"""Machines have the weight u ** 20, u uniform: of 63, three then have about half of the faults."""
REPEATS: Final = 1 / 3
REPEATS_AFTER_S: Final = 630.0
"""Mean time from a restart until the same fault strikes again."""
IMPLICIT: Final = 0.1
IMPLICIT_WORDS: Final = (
    (10.0 / 11.3, "hang rank={rank} how=io"),
    (11.0 / 11.3, "slow rank={rank} why=thermal factor=1.3 for=40m ramp=10steps"),
    (1.0, "nan for=2steps"),
)
"""Words of implicit faults, each with the sum of the shares up to it."""
SIGNS: Final = 0.2
EARLIEST_SIGN_S: Final = 1800.0
GPU_CAUSES: Final = frozenset({"faulty GPU", "GPU HBM3 memory", "GPU SRAM memory"})
SOFTWARE: Final = frozenset({"software bug", "dependency", "NCCL watchdog timeout"})
"""Causes that no machine has more than others."""
WORDS: Final = {
    "software bug": "raise rank={rank} error=RuntimeError text='unspecified launch failure'",
    "dependency": "raise rank={rank} error=ImportError text='a dependency has changed'",
    "NCCL watchdog timeout": "hang rank={rank} how=io",
    "silent data corruption": "raise rank={rank} error=RuntimeError text='gradients of two replicas differ'",
}
"""The words of causes whose end is their own; a machine's fault takes the machine, every other one a process."""
QUIET_XIDS: Final = frozenset({63, 64})
"""Xids that end no process by themselves; those that are drawn have ended one."""


def drawn_faults(run: Run) -> Iterator[Fault]:
    """The faults of the config's rate in order, without end if the rate is not 0."""
    fleet = FleetFaults(run.noise_seed, run.layout.world_size, run.config.faults.rate)
    if not fleet.rate:
        return
    waiting: list[tuple[float, int, str]] = []
    order, drawer = itertools.count(), _Drawer(run)
    for number, drawn in enumerate(_all(fleet), 1):
        for second, words in drawer.story(drawn, number):
            heapq.heappush(waiting, (second, next(order), words))
        while waiting and waiting[0][0] < drawn.second - EARLIEST_SIGN_S:
            yield parse(heapq.heappop(waiting)[2])


def _all(fleet: FleetFaults) -> Iterator[FleetFault]:
    for window in itertools.count():
        yield from fleet.between(window * WINDOW_S, (window + 1) * WINDOW_S)


class _Drawer:
    """Draws what is around each fault of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        nodes = np.arange(run.layout.nodes)
        weights = noise.uniform(run.noise_seed, "lemon", nodes) ** LEMON_EXPONENT
        self._weights = np.cumsum(weights) / weights.sum()

    def story(self, drawn: FleetFault, number: int) -> Iterator[tuple[float, str]]:
        """(second, words) of a fault, of its sign before, and of its repeats."""
        place, kind, sign, early = noise.uniform(self._run.noise_seed, "drawn", number, np.arange(4)).tolist()
        rank, per_node = drawn.rank, self._run.layout.gpus_per_node
        if drawn.cause.name not in SOFTWARE:
            node = min(int(np.searchsorted(self._weights, place)), len(self._weights) - 1)
            rank = node * per_node + rank % per_node
        words = _words(drawn, rank, per_node)
        if kind < IMPLICIT:
            words = next(each for share, each in IMPLICIT_WORDS if kind / IMPLICIT <= share).format(rank=rank)
        note = drawn.cause.name + ("" if drawn.xid is None else f", Xid {drawn.xid}")
        yield self._entry(drawn.second, words, f"drawn-{number}", note)
        if sign < SIGNS and "ecc" in KINDS and drawn.cause.name in GPU_CAUSES:
            count = 3 + int(60 * early)
            before = f"ecc gpu={rank // per_node}:{rank % per_node} type=sbe count={count}"
            yield self._entry(max(0.0, drawn.second - early * EARLIEST_SIGN_S), before, f"drawn-{number}-sign", note)
        if words.split()[0] not in ("slow", "nan"):
            yield from self._repeats(drawn, number, words, note)

    def _repeats(self, drawn: FleetFault, number: int, words: str, note: str) -> Iterator[tuple[float, str]]:
        second = drawn.second
        for again in itertools.count(1):
            happens, when = noise.uniform(self._run.noise_seed, "again", number, again, np.arange(2)).tolist()
            if happens >= REPEATS:
                return
            second += 60.0 * self._run.config.faults.restart_minutes + REPEATS_AFTER_S * (0.8 + 0.4 * when)
            yield self._entry(second, words, f"drawn-{number}-again-{again}", f"{note}, again")

    def _entry(self, second: float, words: str, name: str, note: str) -> tuple[float, str]:
        return second, f"{words} at=time:{second!r}s id={name} note='{note}'"


def _words(drawn: FleetFault, rank: int, per_node: int) -> str:
    """The words of a fault by its cause, and by the Xid that the driver reports."""
    node, local = divmod(rank, per_node)
    if drawn.xid is not None and "xid" in KINDS:
        return f"xid gpu={node}:{local} code={drawn.xid}" + (" effect=die" if drawn.xid in QUIET_XIDS else "")
    if drawn.cause.whole_node:
        return f"nodefail node={node}"
    return WORDS.get(drawn.cause.name, "kill rank={rank}").format(rank=rank)
