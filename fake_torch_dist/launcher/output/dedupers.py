"""Applies ``--dedupe`` to the launcher's outputs: one ``Deduper`` each, and the timer that releases waiting lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fake_torch_dist.launcher.loop import EventLoop, Timer
from fake_torch_dist.launcher.output.dedupe import Deduper
from fake_torch_dist.launcher.output.reader import Reader
from fake_torch_dist.launcher.output.writer import Output


class Dedupers:
    """Without ``--dedupe`` there are none, and lines pass unchanged."""

    def __init__(self, loop: EventLoop, write: Callable[[Output, bytes], None]) -> None:
        self._loop = loop
        self._write = write
        self._by_output: dict[Output, Deduper] = {}
        self._timer: Timer | None = None

    def __bool__(self) -> bool:
        return bool(self._by_output)

    def expect(self, outputs: Iterable[Output], prefixes: Mapping[int, bytes]) -> None:
        """Begin anew: a line waits for all of these ranks."""
        self._by_output = {output: Deduper(prefixes) for output in outputs}

    def pass_on(self, reader: Reader, text: bytes, *, ended: bool) -> bytes:
        """Take whole lines of a reader; return the lines that are due."""
        deduper = self._by_output.get(reader.output)
        if deduper is None:
            return text
        text = deduper.add(reader.source.rank, text)
        return text + deduper.leave(reader.source.rank) if ended else text

    def schedule(self) -> None:
        """Set the timer for the line that has to be released first."""
        due_s = min((each.deadline_s for each in self._by_output.values() if each.deadline_s), default=None)
        if self._timer:
            self._timer.cancel()
        self._timer = None if due_s is None else self._loop.at(due_s, self._release)

    def _release(self) -> None:
        for output, deduper in self._by_output.items():
            self._write(output, deduper.release())
        self.schedule()

    def close(self) -> None:
        """Write all lines that still wait."""
        for output, deduper in self._by_output.items():
            self._write(output, deduper.close())
