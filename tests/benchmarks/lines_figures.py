"""Lines through the launcher: merged ones against bare pipes, other kinds of them against plain ones; real time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fake_torch_dist.launcher.output.dedupe import Deduper
from fake_torch_dist.launcher.output.merge import LineMerger
from tests.benchmarks.figure import Figure
from tests.benchmarks.merge_bench import (
    BLOCK,
    LINE,
    SINKS,
    Setting,
    bare,
    memory_lines_s,
    merged,
    pipeline_lines_s,
    prefix,
)
from tests.support.repository import ROOT

OURS = (sys.executable, "-m", "fake_torch_dist.run", "--nproc-per-node", "1")
Feed = Callable[[bytes], bytes]
LINES = 2_000_000
WRITER = f"import os\nblock = {LINE!r} * 500\nfor _ in range({LINES // 500}): os.write(1, block)\n"
SHARED_LINES = 20_000
"""Lines that each rank says in the measurement of ``--dedupe``."""
COLORED = b"\x1b[2m[2026-01-01 00:00:00]\x1b[0m \x1b[36m[Rank 0]\x1b[0m " + LINE
LEFT_OPEN = b"\x1b[31m" + LINE
RETURNED = LINE[:-1] + b"\r"


def _ns(lines_s: float) -> float:
    return 1e9 / lines_s


def _through_pipes(
    setting: Setting, block: bytes, kind: Callable[[Setting], Sequence[Callable[[bytes], bytes]]]
) -> float:
    """Nanoseconds of a line from the writers to a reader."""
    return _ns(pipeline_lines_s(setting, block, SINKS[1], kind(setting))[0])


def _plain() -> float:
    return _ns(memory_lines_s(Setting(writers=8, seconds=0.5)))


def _of_kind(line: bytes) -> float:
    """Nanoseconds of a line of some kind in the merge alone, in blocks of 64 KiB."""
    chunk, feeds = line * (65536 // len(line)), [LineMerger(prefix(writer)).feed for writer in range(8)]
    count, begin_s = 0, time.perf_counter()
    while time.perf_counter() - begin_s < 0.5:
        for feed in feeds:
            feed(chunk)
        count += len(feeds) * (len(chunk) // len(line))
    return (time.perf_counter() - begin_s) * 1e9 / count


def _deduped() -> float:
    """Nanoseconds of a line that 8 ranks say alike, and of which one is shown."""
    deduper = Deduper({rank: prefix(rank) for rank in range(8)})
    blocks = [
        b"".join(b"%07d " % number + LINE for number in range(at, at + 500)) for at in range(0, SHARED_LINES, 500)
    ]
    begin_s = time.perf_counter()
    for block in blocks:
        for rank in range(8):
            deduper.add(rank, block)
    return (time.perf_counter() - begin_s) * 1e9 / (8 * SHARED_LINES)


def _of_one_rank(command: Sequence[str]) -> float:
    """Nanoseconds of a line of one process that writes flat out to a reader, without the start."""
    with tempfile.TemporaryDirectory() as directory:
        script, idle = Path(directory, "lines.py"), Path(directory, "idle.py")
        script.write_text(WRITER)
        idle.write_text("")
        return (_seconds([*command, str(script)]) - _seconds([*command, str(idle)])) * 1e9 / LINES


def _seconds(command: Sequence[str]) -> float:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    begin_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
        subprocess.run(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin_s


def figures() -> list[Figure]:
    """The rows of the page."""
    many, few = Setting(writers=64, seconds=1.0), Setting(writers=8, seconds=1.0)
    pipes = [
        ("a prefixed line of 64 ranks, written in blocks", many, BLOCK),
        ("a prefixed line of 8 ranks, written alone", few, LINE),
    ]
    kinds = [
        ("a coloured line in the merge", partial(_of_kind, COLORED)),
        ("a line that leaves its colour open in the merge", partial(_of_kind, LEFT_OPEN)),
        ("a line that ends in `\\r` in the merge", partial(_of_kind, RETURNED)),
        ("a line that 8 ranks say alike, `--dedupe`", _deduped),
    ]
    return [
        *(
            Figure(
                what, "ns", "bare pipes", partial(_through_pipes, setting, block, merged),
                partial(_through_pipes, setting, block, bare),
            )
            for what, setting, block in pipes
        ),
        Figure(
            "a line of one rank without a prefix, in blocks", "ns", "a bare pipe", partial(_of_one_rank, OURS),
            partial(_of_one_rank, [sys.executable]),
        ),
        *(Figure(what, "ns", "a plain line", ours, _plain) for what, ours in kinds),
    ]  # fmt: skip
