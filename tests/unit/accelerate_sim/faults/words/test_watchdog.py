"""The watchdog's lines are those of each release, with its order and its delays."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from accelerate_sim.faults.words.cuda import ILLEGAL_ADDRESS, message
from accelerate_sim.faults.words.cuda_watchdog import cuda_error
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.heartbeat import absent_rank, stuck_watchdog
from accelerate_sim.faults.words.line import STDERR, TimedLine
from accelerate_sim.faults.words.torch_release import BY_RELEASE, release, watchdog_lines
from accelerate_sim.faults.words.watchdog import Waiter, WatchedCollective, WatchedGroup, waiting_rank

EXPIRED = datetime(2026, 6, 6, 9, 9, 8, 123456)
COLLECTIVE = WatchedCollective(seq=57, op="_ALLGATHER_BASE", numel_in=442368, numel_out=884736)
RELEASES = ["2.4", "2.5", "2.6", "2.7", "2.8", "2.9", "2.10", "2.11", "2.12", "2.13"]
PREFIX = re.compile(
    r"\[rank(\d+)\]:\[([EWF])([1-9]\d?)(\d\d) (\d\d:\d\d:\d\d)\.(\d{9}) ProcessGroupNCCL\.cpp:(\d+)\] (.*)"
)


def waiter(torch: str, rank: int = 3, *, enqueued: int = 57, completed: int = 56) -> Waiter:
    group = WatchedGroup(rank=rank, enqueued=enqueued, completed=completed)
    return Waiter(rank=rank, group=group, default=group, expired=EXPIRED, draw=Draw("watchdog", rank), torch=torch)


def logged(lines: list[TimedLine]) -> list[tuple[float, str, str]]:
    """(delay, level, message) of each line with a C++ prefix."""
    found = [(line.after_s, PREFIX.fullmatch(line.text)) for line in lines]
    return [(after_s, match[2], match[8]) for after_s, match in found if match]


@pytest.mark.parametrize("torch", RELEASES)
def test_a_waiting_rank_says_what_it_waited_for_and_that_it_aborts(torch: str) -> None:
    lines = waiting_rank(waiter(torch), COLLECTIVE)
    messages = [message for _, _, message in logged(lines)]
    assert re.fullmatch(
        r"\[Rank 3\] Watchdog caught collective operation timeout: WorkNCCL\(SeqNum=57, OpType=_ALLGATHER_BASE, "
        r"NumelIn=442368, NumelOut=884736, Timeout\(ms\)=600000\) ran for (6000\d\d) milliseconds before timing out\.",
        messages[0],
    )
    order = [
        "Watchdog caught",
        "detected by watchdog",
        "Some NCCL operations have failed",
        "To avoid data inconsistency",
        "Process group watchdog thread terminated with exception",
    ]
    places = [next(k for k, message in enumerate(messages) if word in message) for word in order]
    assert places == sorted(places)
    assert {line.stream for line in lines} == {STDERR}
    assert [line.after_s for line in lines] == sorted(line.after_s for line in lines)


@pytest.mark.parametrize("torch", RELEASES)
def test_the_exception_comes_twice_more_from_the_runtime_without_a_prefix(torch: str) -> None:
    texts = [line.text for line in waiting_rank(waiter(torch), COLLECTIVE)]
    start = texts.index("terminate called after throwing an instance of 'c10::DistBackendError'")
    what = texts[start + 1]
    assert what.startswith("  what():  [PG ") and "terminated with exception: [Rank 3] Watchdog caught" in what
    again = "run" if release(torch) >= (2, 9) else "ncclCommWatchdog"
    assert sum(text.startswith(f"Exception raised from {again} at ") for text in texts[start:]) == 1
    assert sum(text.startswith("Exception raised from checkTimeout at ") for text in texts) == 2
    assert not any(text.startswith("[rank") for text in texts[start:])


def test_frames_have_one_address_for_a_process_and_a_release() -> None:
    def frames(rank: int, torch: str) -> list[str]:
        return [line.text for line in waiting_rank(waiter(torch, rank), COLLECTIVE) if line.text.startswith("frame #")]

    own = frames(3, "2.13")
    assert own[:7] == own[7:14] and len(own) == 19
    assert all(re.fullmatch(r"frame #\d: .+ \+ 0x[0-9a-f]+ \(0x[0-9a-f]{12} in /\S+\)", frame) for frame in own)
    assert own[1] != frames(4, "2.13")[1], "every process is loaded elsewhere"
    assert own[1].split("(0x")[1][9:12] == frames(4, "2.13")[1].split("(0x")[1][9:12], "by whole pages"
    assert "std::string" in frames(3, "2.6")[0] and "std::__cxx11" in own[0]


@pytest.mark.parametrize("torch, wait_s", [("2.4", 0.0), ("2.6", 0.0), ("2.7", 0.9), ("2.9", 60.0), ("2.13", 60.0)])
def test_newer_releases_wait_for_the_flight_recorder_before_the_abort(torch: str, wait_s: float) -> None:
    times = {message[:30]: after_s for after_s, _, message in logged(waiting_rank(waiter(torch), COLLECTIVE))}
    first = min(times.values())
    down = next(after_s for text, after_s in times.items() if text.startswith("[Rank 3] To avoid"))
    assert 0.0 <= first < 0.1
    assert down - first == pytest.approx(wait_s, abs=0.052)
    dumps = any("Received a dump signal" in line.text for line in waiting_rank(waiter(torch), COLLECTIVE))
    assert dumps == (release(torch) >= (2, 7))


def test_old_releases_say_exception_and_later_ones_failure() -> None:
    def second(torch: str) -> str:
        return logged(waiting_rank(waiter(torch), COLLECTIVE))[1][2]

    state = "last enqueued NCCL work: 57, last completed NCCL work: 56."
    assert (
        second("2.4")
        == "[PG 0 (default_pg) Rank 3] Exception (either an error or timeout) detected by watchdog at work: 57, "
        + state
    )
    assert second("2.5").startswith("[PG ID 0 PG GUID 0(default_pg) Rank 3] Exception (either")
    assert second("2.13") == (
        "[PG ID 0 PG GUID 0(default_pg) Rank 3]  failure detected by watchdog at work sequence id: 57 PG status: "
        "last enqueued work: 57, last completed work: 56"
    )


def test_a_group_without_a_description_has_no_brackets() -> None:
    group = WatchedGroup(rank=1, id=5, uid="37", desc="", enqueued=2, completed=1)
    assert group.prefix(watchdog_lines("2.13")) == "[PG ID 5 PG GUID 37 Rank 1]"
    assert group.prefix(watchdog_lines("2.4")) == "[PG 5 Rank 1]"


def test_a_month_has_no_leading_zero_and_a_day_has_two_digits() -> None:
    (first, *_) = waiting_rank(waiter("2.13"), COLLECTIVE)
    assert first.text.startswith("[rank3]:[E606 09:09:08.")
    stamp = PREFIX.fullmatch(first.text)
    assert stamp and 123456000 <= int(stamp[6]) < 123456000 + 100_000_000 + 1000


def test_the_absent_rank_hears_of_the_timeout_and_is_ended_by_its_monitor() -> None:
    lines = absent_rank(waiter("2.13", 5, enqueued=56, completed=56), first_rank=3, holds_gil=True)
    said = logged(lines)
    assert said[0][2].endswith("Observed flight recorder dump signal from another rank via TCPStore.")
    assert "due to a collective timeout from  rank 3 and we will" in said[1][2]
    assert "Last enqueued NCCL work: 56, last completed NCCL work: 56.This is most likely" in said[1][2]
    assert said[1][2].endswith("(e.g. NCCL), etc. ")
    assert said[3][2].endswith("Could not acquire GIL within 300 ms on exit, possible GIL induced hang")
    after_s, level, text = said[-1]
    assert level == "F" and text.count("[PG ID 0 PG GUID 0(default_pg) Rank 5]") == 2
    assert after_s - said[0][0] == pytest.approx(480.0)
    assert absent_rank(waiter("2.6"), first_rank=3) == []


def test_a_stuck_watchdog_is_ended_without_a_timeout() -> None:
    said = logged(stuck_watchdog(waiter("2.13")))
    assert "ProcessGroupNCCL's watchdog got stuck for 480 seconds" in said[0][2]
    assert said[-1][2].endswith("due to ProcessGroupNCCL watchdog hang.")


def test_the_stack_of_the_late_collective_is_printed_where_the_recorder_is_on() -> None:
    texts = [line.text for line in waiting_rank(waiter("2.13"), COLLECTIVE)]
    stack = [text for text in texts if re.match(r"#\d+ ", text)]
    assert stack[0].startswith("#0 all_reduce from ") and stack[-1].startswith("#3 <module> from ")
    off = [line.text for line in waiting_rank(waiter("2.9"), COLLECTIVE)]
    assert any("potentially because FlightRecorder is disabled" in text for text in off)
    assert not any(re.match(r"#\d+ ", text) for text in off)


def test_each_release_has_the_lines_of_the_latest_known_one() -> None:
    assert watchdog_lines("2.13.0+cu130") is BY_RELEASE[2, 12]
    assert watchdog_lines("2.8") is BY_RELEASE[2, 7]
    assert watchdog_lines("2.3") is BY_RELEASE[2, 4]


@pytest.mark.parametrize("torch", ["2.4", "2.7", "2.13"])
def test_a_watchdog_that_meets_a_cuda_error_ends_the_process_at_once(torch: str) -> None:
    lines = cuda_error(waiter(torch), ILLEGAL_ADDRESS)
    text = "\n".join(line.text for line in lines)
    own = message(ILLEGAL_ADDRESS, torch)
    assert lines[0].text.endswith(
        "Process group watchdog thread terminated with exception: CUDA error: an illegal memory access was encountered"
    )
    assert text.count(own) == 2, "in the log and from the runtime"
    assert text.count("Exception raised from c10_cuda_check_implementation at ") == 2
    assert "terminate called after throwing an instance of 'c10::DistBackendError'" in text
    assert lines[-1].after_s < 0.11
