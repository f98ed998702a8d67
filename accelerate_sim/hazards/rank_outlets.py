"""``RankOutlets``: the outlets of a process that plays several ranks, whose lines and hazards are their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from accelerate_sim.hazards.hazard import Piece
from accelerate_sim.hazards.outlet import Outlet


class WholeLines:
    """Gives the writes of one rank to ``deliver``, each stream up to its last whole line, so that no other rank that
    the process plays can come into the middle of one."""

    def __init__(self, deliver: Callable[[str, bytes], None]) -> None:
        self._deliver = deliver
        self._begun: dict[str, bytes] = {}

    def __call__(self, stream: str, data: bytes) -> None:
        """Deliver the whole lines that ``data`` ends."""
        whole, newline, rest = (self._begun.pop(stream, b"") + data).rpartition(b"\n")
        if rest:
            self._begun[stream] = rest
        if newline:
            self._deliver(stream, whole + newline)

    def close(self) -> None:
        """Deliver lines without an end."""
        rest: list[Piece] = [*self._begun.items()]
        self._begun.clear()
        for stream, data in rest:
            self._deliver(stream, data)


class RankOutlets:
    """Takes lines as an ``Outlet`` does and passes each to the outlet of the rank that prints it."""

    def __init__(self, outlets: Mapping[int, Outlet], finish: Callable[[], None]) -> None:
        """``outlets`` by rank, that of the process first; ``finish`` is called after the last write of all."""
        self._outlets = outlets
        self._of_process = next(iter(outlets.values()))
        self._finish = finish
        self._rank: int | None = None
        """The rank that the truth of the next line names."""
        self._printed_by: int | None = None
        self._step: int | None = None

    def write_as(self, rank: int | None, *, printed_by: int | None = None) -> None:
        """Take the next lines as those of ``rank``, which ``printed_by`` prints.

        None for the second: ``rank`` prints them if it is played here, else the first rank of the process.
        """
        self._rank, self._printed_by = rank, printed_by

    def reach(self, step: int | None) -> None:
        """Take the next lines as those after ``step``; None: the step before goes on."""
        self._step = self._step if step is None else step

    def lines(self, stream: str, lines: Sequence[str]) -> None:
        """Pass whole lines on."""
        who = self._rank if self._printed_by is None else self._printed_by
        outlet = self._of_process if who is None else self._outlets.get(who, self._of_process)
        outlet.write_as(self._rank)
        outlet.reach(self._step)
        outlet.lines(stream, lines)

    def put(self, stream: str, text: str) -> None:
        """Pass on bytes of a bar, which is the process's first rank's."""
        self._of_process.put(stream, text)

    def close(self) -> None:
        """Write what hazards hold; a second call does nothing."""
        for outlet in self._outlets.values():
            outlet.close()
        self._finish()
