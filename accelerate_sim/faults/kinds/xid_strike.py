"""A strike of an Xid: the lines of the kernel and of CUDA, the end of the ranks, and the readings of an agent.

``xid``, ``ecc`` and ``lost`` are entries of the table that strike in this way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from accelerate_sim.config.host_names import host_name
from accelerate_sim.faults.consequences import Death, Ending, FaultLine, RaiseEnd, SignalEnd
from accelerate_sim.faults.kinds.xid_facts import Effect, facts_of
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import (
    MOST_LOGGING_RANKS,
    NOTICED_S,
    SIGABRT,
    draw_of,
    gpu_of,
    hung,
    of_rank,
    timed_out,
    timeout_sign,
    victims_of,
    waiter_of,
    waiting_ranks,
)
from accelerate_sim.faults.words import cuda, cuda_watchdog
from accelerate_sim.faults.words.line import KERNEL, TimedLine
from accelerate_sim.faults.words.xid import off_the_bus, xid
from accelerate_sim.faults.words.xid_bodies import NAMES_CAUSE

SWITCH_BUSES = (0x86, 0x87, 0x88, 0x89)
"""PCI buses of the NVSwitches of a node with eight GPUs."""
OFF_THE_BUS = 79
WITHIN_S = 1.0


class XidStrike(NamedTuple):
    """An Xid as a fault plants it."""

    strike: Occurrence
    code: int
    effect: Effect
    timeout_s: float = 600.0
    """Time of the others' watchdog, where the process hangs."""
    body: str = ""
    """The text of the kernel line after the code; empty: the driver's own lines."""

    @property
    def error(self) -> cuda.CudaError:
        """The error that the process gets from its next CUDA call."""
        return cuda.AFTER_XID.get(self.code, cuda.LAUNCH_FAILURE)

    @property
    def driver(self) -> int:
        """Branch of the driver, such as 550; the wording of its lines depends on it."""
        board = self.strike.run.gpu.board
        return board.driver.major if board else NAMES_CAUSE

    def ending(self) -> Ending | None:
        """The end of the attempt: ranks that hit the error end by the watchdog or by an exception."""
        if self.effect == "none":
            return None
        if self.effect == "hang":
            return hung(self.strike, self.timeout_s)
        deaths = [self._death(rank) for rank in self.strike.hit.ranks]
        return Ending(tuple(sorted(deaths, key=lambda death: death.after_s)), NOTICED_S)

    def _by_watchdog(self, rank: int) -> bool:
        return cuda.watchdog_is_first(draw_of(self.strike, rank))

    def _death(self, rank: int) -> Death:
        if self._by_watchdog(rank):
            return Death(rank, SignalEnd(SIGABRT), waiter_of(self.strike, rank).noticed_s)
        kind, _, text = cuda.exception(self.error).partition(": ")
        return Death(rank, RaiseEnd(kind, text), waiter_of(self.strike, rank).noticed_s)

    def lines(self) -> Iterator[FaultLine]:
        """The kernel's lines, and those of the ranks; the traceback of an exception is not among them."""
        for rank in self.strike.hit.ranks:
            yield from of_rank(rank, self._kernel(rank))
            if self.effect == "die" and self._by_watchdog(rank):
                yield from of_rank(rank, cuda_watchdog.cuda_error(waiter_of(self.strike, rank), self.error))
        if self.effect == "hang":
            yield from timed_out(self.strike, self.timeout_s)

    def _kernel(self, rank: int) -> list[TimedLine]:
        strike, gpu, draw = self.strike, gpu_of(self.strike, rank), draw_of(self.strike, rank)
        if self.body:
            return [TimedLine(0.0, KERNEL, f"NVRM: Xid (PCI:{gpu.pci}): {self.code}, {self.body}")]
        victims = victims_of(strike, rank) if self.effect != "none" or self.code != 94 else ()
        first = strike.number == 0
        if self.code == OFF_THE_BUS and first and strike.run.layout.gpus_per_node >= 8:
            return off_the_bus(gpu, draw, SWITCH_BUSES, victims=victims, driver=self.driver)
        return xid(
            self.code, gpu, draw, victims=victims, driver=self.driver, first=first,
            with_others=self.effect != "none" or facts_of(self.code).effect == "none",
        )  # fmt: skip

    # --- What a detector can check --------------------------------------------------------------

    def expect(self) -> dict[str, Any]:
        """Lines of ranks and kernels, and samples of the exporter."""
        return {"logs": self._logs(), "kernel": self._kernels(), "metrics": self._metrics()}

    def _logs(self) -> list[dict[str, Any]]:
        if self.effect == "die":
            text = f"CUDA error: {self.error.text}"
            return [_log(rank, text, WITHIN_S) for rank in self.strike.hit.ranks]
        if self.effect == "hang":
            waiting = waiting_ranks(self.strike)[:MOST_LOGGING_RANKS]
            return [_log(rank, timeout_sign(rank), WITHIN_S, self.timeout_s) | {"count": 1} for rank in waiting]
        return []

    def _kernels(self) -> list[dict[str, Any]]:
        return [
            {
                "host": self.strike.host(rank), "within_s": WITHIN_S,
                "regex": rf"NVRM: Xid \(PCI:{gpu_of(self.strike, rank).pci}\): {self.code}, ",
            }
            for rank in self.strike.hit.ranks
        ]  # fmt: skip

    def _metrics(self) -> list[dict[str, Any]]:
        """Samples that follow; ``op`` is == or absent."""
        found = []
        for rank in self.strike.hit.ranks:
            labels = gpu_labels(self.strike, rank)
            marked = labels | {"err_code": str(self.code)}
            found.append(metric("DCGM_FI_DEV_XID_ERRORS", marked, "==", self.code))
            if self.code == OFF_THE_BUS:
                found.append(metric("DCGM_FI_DEV_GPU_TEMP", labels, "absent"))
        return found


def gpu_labels(strike: Occurrence, rank: int) -> dict[str, str]:
    """The labels by which an exporter names the GPU of a rank."""
    node, local = divmod(rank, strike.run.layout.gpus_per_node)
    return {"gpu": str(local), "Hostname": host_name(strike.run.config.cluster.host, node)}


def metric(
    name: str, labels: dict[str, str], op: str, value: float | None = None, after_s: float = 0.0
) -> dict[str, Any]:
    """A sample that a scrape finds, so many seconds after the strike: ``op`` is ==, <, > or absent."""
    return {"name": name, "labels": labels, "op": op, "value": value, "after_s": after_s, "within_s": WITHIN_S}


def _log(rank: int, regex: str, within_s: float, after_s: float = 0.0) -> dict[str, Any]:
    return {"rank": rank, "stream": "stderr", "regex": regex, "after_s": after_s, "within_s": within_s}
