"""The form of torch's C++ log lines and of the frames in its C++ exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import STDERR, TimedLine, block
from accelerate_sim.faults.words.python_traceback import SITE_PACKAGES
from accelerate_sim.faults.words.torch_release import release

NEW_ABI: Final = "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"
LIBRARIES: Final = {
    "c10": f"{SITE_PACKAGES}/torch/lib/libc10.so",
    "c10_cuda": f"{SITE_PACKAGES}/torch/lib/libc10_cuda.so",
    "cuda": f"{SITE_PACKAGES}/torch/lib/libtorch_cuda.so",
    "cpu": f"{SITE_PACKAGES}/torch/lib/libtorch_cpu.so",
    "c++": "/lib/x86_64-linux-gnu/libstdc++.so.6",
    "c": "/lib/x86_64-linux-gnu/libc.so.6",
}


class CppFrame(NamedTuple):
    """A frame of a C++ exception: a function and the offset in it, or an unknown one and the offset in its library."""

    library: str
    offset: int
    symbol: str = ""


THREAD: Final = (CppFrame("c++", 0xDC253), CppFrame("c", 0x94AC3), CppFrame("c", 0x126850))
"""The frames below a thread of the C++ library, on Ubuntu 22.04."""


def string_type(torch: str) -> str:
    """The string type in the symbols of a release; wheels since 2.7 have the new ABI."""
    return NEW_ABI if release(torch) >= (2, 7) else "std::string"


def raised(torch: str, *calls: CppFrame) -> tuple[CppFrame, ...]:
    """The frames of an exception: its constructor, then these calls."""
    return (CppFrame("c10", 0x9D, f"c10::Error::Error(c10::SourceLocation, {string_type(torch)})"), *calls)


def frames_text(calls: Sequence[CppFrame], draw: Draw) -> str:
    """The frames as lines. Each process has its own load addresses; offsets are those of the library."""
    text = ""
    for number, call in enumerate(calls):
        base = 0x7F0000000000 | draw.bits(("base", call.library), 28) << 12
        # A symbol's own address is the same in every process, so it is drawn without the process's draw.
        start = Draw("symbol", call.symbol).bits("start", 26) & ~0xF if call.symbol else 0
        address = base + start + call.offset
        name = call.symbol or "<unknown function>"
        text += f"frame #{number}: {name} + 0x{call.offset:x} (0x{address:x} in {LIBRARIES[call.library]})\n"
    return text


def cpp_prefix(rank: int, level: str, time: datetime, nanoseconds: int, file: str, line: int) -> str:
    """The head of a C++ log line of a rank. The month has no leading zero; the level is I, W, E or F."""
    stamp = f"{time.month}{time:%d %H:%M:%S}.{nanoseconds:09d}"
    return f"[rank{rank}]:[{level}{stamp} {file}:{line}] "


class CppLog:
    """Makes the C++ log lines of one rank, with times to the nanosecond."""

    def __init__(self, rank: int, start: datetime, draw: Draw) -> None:
        """``start`` is the simulated time at which ``after_s`` is 0."""
        self.rank = rank
        self._start = start
        self._draw = draw

    def lines(self, after_s: float, level: str, file: str, line: int, text: str) -> list[TimedLine]:
        """A message, which may have several lines; the first one gets the head."""
        whole, part = divmod(round(after_s * 1e9) + self._start.microsecond * 1000, 1_000_000_000)
        # Python's clock of the simulation has microseconds; the last three digits are drawn.
        nanoseconds = part // 1000 * 1000 + self._draw.below(("ns", after_s, line), 1000)
        time = self._start.replace(microsecond=0) + timedelta(seconds=whole)
        return block(after_s, STDERR, cpp_prefix(self.rank, level, time, nanoseconds, file, line) + text)
