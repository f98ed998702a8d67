"""Lines of ranks that one process plays: each passes the hazards of its rank, and none comes into another's middle."""

from __future__ import annotations

from datetime import datetime

from accelerate_sim.config.hazards import in_order
from accelerate_sim.hazards.hazard import LoggingProcess
from accelerate_sim.hazards.outlet import Outlet
from accelerate_sim.hazards.rank_outlets import RankOutlets, WholeLines

NOW = datetime(2026, 1, 1)


class Written:
    """The bytes that a process writes to each stream."""

    def __init__(self) -> None:
        self.streams = {"stdout": b"", "stderr": b""}

    def __call__(self, stream: str, data: bytes) -> None:
        self.streams[stream] += data


def outlet_of(rank: int, deliver, finish=lambda: None) -> Outlet:
    job = LoggingProcess(7, rank, 4, 2, None, f".rank{rank}" if rank else "")
    return Outlet(in_order(["torn-lines:0.5", "nan:0.5"]), job, lambda: NOW, deliver, finish=finish)


def lines_of(rank: int) -> list[str]:
    return [f"rank {rank} step {step} | loss {step}.25" for step in range(20)]


def test_ranks_of_one_process_write_what_processes_of_their_own_write():
    alone = b""
    for rank in (2, 3):
        written = Written()
        outlet = outlet_of(rank, written)
        for line in lines_of(rank):
            outlet.lines("stdout", [line])
        outlet.close()
        alone += written.streams["stdout"]
    together, ended = Written(), []
    whole = {rank: WholeLines(together) for rank in (2, 3)}
    outlets = RankOutlets(
        {rank: outlet_of(rank, whole[rank], whole[rank].close) for rank in whole}, lambda: ended.append(1)
    )
    for pair in zip(lines_of(2), lines_of(3), strict=True):
        for rank, line in zip((2, 3), pair, strict=True):
            outlets.write_as(rank)
            outlets.lines("stdout", [line])
    outlets.close()
    assert sorted(together.streams["stdout"].splitlines()) == sorted(alone.splitlines())
    assert b"nan" in alone and alone.count(b"\n") == 40 and ended == [1]


def test_the_rank_that_prints_a_line_may_differ_from_the_one_that_it_names():
    written = {rank: Written() for rank in (2, 3)}
    outlets = RankOutlets(
        {rank: Outlet([], LoggingProcess(7, rank, 4, 2, None, ""), lambda: NOW, written[rank]) for rank in written},
        print,
    )
    outlets.write_as(0, printed_by=3)
    outlets.lines("stdout", ["of rank 0, printed by rank 3"])
    outlets.write_as(None)
    outlets.lines("stderr", ["of the process"])
    assert written[3].streams["stdout"] == b"of rank 0, printed by rank 3\n"
    assert written[2].streams == {"stdout": b"", "stderr": b"of the process\n"}


def test_what_is_begun_waits_for_its_end():
    written = Written()
    lines = WholeLines(written)
    for piece in (b"a", b"b\nc", b"", b"d\ne"):
        lines("stdout", piece)
    assert written.streams["stdout"] == b"ab\ncd\n"
    lines.close()
    lines.close()
    assert written.streams["stdout"] == b"ab\ncd\ne"
