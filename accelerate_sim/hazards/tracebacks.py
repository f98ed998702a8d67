"""Tracebacks between the lines of a run that goes on, as ``logger.exception`` and warnings of libraries print them.

Five forms: carets below the code (Python 3.11 and later), chained exceptions, an ExceptionGroup, a prefix that a
launcher puts before each line, and two ranks whose lines alternate.
"""

from __future__ import annotations

from itertools import chain, zip_longest

from accelerate_sim.hazards.hazard import Hazard, Passage

HEAD = "Traceback (most recent call last):"
CARETS = (
    HEAD,
    '  File "/opt/train/loop.py", line 212, in train_step',
    "    loss = self.reduce(out.loss / self.world_size)",
    "           ~~~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    '  File "/opt/train/reduce.py", line 48, in reduce',
    "    return float(value[self.index])",
    "                 ~~~~~^^^^^^^^^^^^",
    "IndexError: index 8 is out of bounds for dimension 0 with size 8",
)
CHAINED = (
    HEAD,
    '  File "/opt/train/data/shards.py", line 91, in open',
    "    return self._files[name]",
    "           ~~~~~~~~~~~^^^^^^",
    "KeyError: 'shard-00417.bin'",
    "",
    "The above exception was the direct cause of the following exception:",
    "",
    HEAD,
    '  File "/opt/train/data/loader.py", line 130, in fetch',
    "    raise DataError(f'no shard: {name}') from error",
    "DataError: no shard: shard-00417.bin",
)
GROUP = (
    "  + Exception Group Traceback (most recent call last):",
    '  |   File "/opt/train/upload.py", line 66, in upload',
    "  |     raise ExceptionGroup('uploads failed', errors)",
    "  | ExceptionGroup: uploads failed (2 sub-exceptions)",
    "  +-+---------------- 1 ----------------",
    "    | TimeoutError: PUT checkpoint/shard-0 timed out",
    "    +---------------- 2 ----------------",
    "    | ConnectionResetError: [Errno 104] Connection reset by peer",
    "    +------------------------------------",
)
FORMS = ("carets", "chained", "ExceptionGroup", "prefixed", "interleaved")


class Tracebacks(Hazard):
    """Prints a traceback on standard error after a line."""

    def alter(self, passage: Passage) -> None:
        number = passage.line.number
        if not self.strikes(number):
            return
        form = FORMS[int(self.draw(number, "form") * len(FORMS))]
        rank = int(self.draw(number, "rank") * self.process.world_size)
        lines = _lines(form, rank, (rank + 1) % self.process.world_size)
        passage.after += [("stderr", line) for line in lines]
        self.note(passage, f"a traceback of {len(lines)} lines follows ({form})")


def _lines(form: str, rank: int, other: int) -> list[str]:
    if form == "prefixed":
        return [f"[rank{rank}]: {line}" for line in CARETS]
    if form == "interleaved":
        pairs = zip_longest(CARETS, CHAINED)
        return [line for line in chain.from_iterable(pairs) if line is not None]
    return list({"carets": CARETS, "chained": CHAINED, "ExceptionGroup": GROUP}[form])
