"""Each line that faults.jsonl says a detector can look for is where it says, as often as it says, and nowhere else.

One story with every kind of fault of processes is played in one process and as a job of 4, once for all tests.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.made_once import made_once
from tests.support.played_faults import FaultyRun, arguments, play_alone, play_launched
from tests.support.reading import Train

STORY = {
    "raise": "raise rank=2 at=step:2 error=ValueError text='a bad batch' transport=socket",
    "kill": "kill rank=1 at=step:3",
    "segv": "kill rank=3 at=step:4 signal=SEGV",
    "abrt": "kill rank=2 at=step:5 signal=ABRT",
    "exit": "exit rank=1 at=step:6 code=7 transport=socket",
    "oom": "oom rank=2-3 at=step:7",
    "hostoom": "hostoom node=1 at=step:8",
    "hang": "hang rank=1 at=step:9 timeout=20m",
    "stop": "hang rank=2 how=stop at=step:10",
    "io": "hang rank=3 how=io at=step:11",
    "everyone": "hang rank=0-3 at=step:12",
    "nodefail": "nodefail node=1 at=step:13",
    "quiet": "raise rank=1 at=step:14 silent=yes",
}
WORDS = tuple(f"{words} id={name}" for name, words in STORY.items())


@pytest.fixture(scope="module")
def one(train: Train, tmp_path_factory: pytest.TempPathFactory) -> FaultyRun:
    def play(directory: Path) -> FaultyRun:
        return play_alone(train, directory / "one", *WORDS, restarts=len(WORDS))

    return made_once(tmp_path_factory, "all_faults_of_processes", play)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> FaultyRun:
    def play(directory: Path) -> FaultyRun:
        return play_launched(directory / "many", *WORDS, restarts=len(WORDS))

    return made_once(tmp_path_factory, "all_faults_of_a_jobs_processes", play)


def claims(run: FaultyRun) -> Iterator[tuple[int, dict[str, Any]]]:
    """(attempt, claim) of all lines of ranks."""
    for event in run.begun:
        for claim in event["expect"]["logs"]:
            yield event["attempt"], claim


def outputs(run: FaultyRun) -> dict[tuple[int, int, str], str]:
    """Output by attempt, rank and stream, of a job."""
    assert run.logs
    found = {}
    for path in run.logs.glob("node*/*/attempt_*/*/std*.log"):
        node, attempt, local, stream = path.parts[-5], path.parts[-3], path.parts[-2], path.stem
        rank = 2 * int(node.removeprefix("node")) + int(local)
        found[int(attempt.removeprefix("attempt_")), rank, stream] = path.read_text()
    return found


def count(regex: str, text: str) -> int:
    return len(re.findall(regex, text, re.MULTILINE))


def test_both_have_the_same_ground_truth(one: FaultyRun, many: FaultyRun) -> None:
    assert (one.returncode, many.returncode) == (0, 0), one.stderr[-2000:] + many.stderr[-2000:]
    assert [event["id"] for event in one.begun] == list(STORY)
    assert one.events == many.events
    assert one.metrics == many.metrics


def test_a_job_has_each_line_in_the_log_of_its_rank_and_in_no_other(many: FaultyRun) -> None:
    logs = outputs(many)
    claimed = Counter[tuple[str, tuple[int, int, str]]]()
    for attempt, claim in claims(many):
        claimed[claim["regex"], (attempt, claim["rank"], claim["stream"])] += claim["count"]
    for regex in {regex for regex, _ in claimed}:
        found = {place: number for place, text in logs.items() if (number := count(regex, text))}
        assert found == {place: number for (each, place), number in claimed.items() if each == regex}, regex


def test_one_process_prints_each_line_as_often(one: FaultyRun) -> None:
    claimed = Counter[tuple[str, str]]()
    for _, claim in claims(one):
        claimed[claim["stream"], claim["regex"]] += claim["count"]
    assert len(claimed) > 15
    for (stream, regex), number in claimed.items():
        assert count(regex, one.said(0, 0, stream)) == number, regex


def test_ranks_say_the_same_in_the_same_order_in_one_process(one: FaultyRun, many: FaultyRun) -> None:
    def said(text: str, rank: int) -> list[str]:
        """The lines of torch's C++ log, whose times are simulated, but for one that a real exception leaves behind."""
        lines = [line for line in text.splitlines() if line.startswith(f"[rank{rank}]:[")]
        return [line for line in lines if "destroy_process_group() was not called" not in line]

    logs = outputs(many)
    for rank in range(4):
        texts = [logs[place] for place in sorted(logs) if place[1:] == (rank, "stderr")]
        assert said("\n".join(texts), rank) == said(one.stderr, rank) != []


@pytest.mark.parametrize("mode", ["one", "many"])
def test_kernels_print_what_is_claimed_and_nothing_else(mode: str, request: pytest.FixtureRequest) -> None:
    run: FaultyRun = request.getfixturevalue(mode)
    claimed = [claim for event in run.begun for claim in event["expect"]["kernel"]]
    assert {claim["host"] for claim in claimed} == {"node1"}
    for claim in claimed:
        assert count(claim["regex"], run.kernel(claim["host"])) == claim["count"]
    assert run.kernel("node0") == ""


def test_silence_is_part_of_the_truth(one: FaultyRun, many: FaultyRun) -> None:
    expect = {event["id"]: event["expect"] for event in one.begun}
    silent = {name: expect[name]["silent_ranks"] for name in expect}
    assert silent == {
        "raise": [], "kill": [1], "segv": [3], "abrt": [], "exit": [1], "oom": [], "hostoom": [2, 3], "hang": [],
        "stop": [2], "io": [], "everyone": [], "nodefail": [2, 3], "quiet": [1],
    }  # fmt: skip
    logs, attempts = outputs(many), {event["id"]: event["attempt"] for event in many.begun}
    for name, ranks in silent.items():
        for rank in ranks:
            assert "[rank" not in logs[attempts[name], rank, "stderr"], name
    assert expect["hang"]["first_error_rank"] in (0, 2, 3)
    assert expect["raise"]["first_error_rank"] == 2
    assert (expect["quiet"]["logs"], expect["quiet"]["first_error_rank"]) == ([], None)


@pytest.mark.parametrize(
    "torch, place, waits_s", [("2.4.1", "cpp:607]", 600), ("2.8.0", "cpp:632]", 600), ("2.13.0", "cpp:757]", 660)]
)
def test_the_watchdog_speaks_as_its_release(train: Train, tmp_path: Path, torch: str, place: str, waits_s: int) -> None:
    words = [*arguments("hang rank=1 at=step:13"), "--set", f"faults.torch={torch}"]
    run = train(*words, "--output-dir", str(tmp_path / "r"), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert f"ProcessGroupNCCL.{place} [Rank 0] Watchdog caught collective operation timeout" in run.stderr
    (ended,) = [event for event in FaultyRun(tmp_path / "r", 0, "", "").events if event["state"] == "end"]
    (begun,) = FaultyRun(tmp_path / "r", 0, "", "").begun
    assert waits_s <= ended["elapsed"] - begun["elapsed"] < waits_s + 3
    wrong = train("--config", "debug", "--set", "faults.torch=3.0.1")
    assert wrong.returncode == 2
    assert "faults.torch" in wrong.stderr


def test_tracebacks_show_the_users_script_and_nothing_of_the_simulator(one: FaultyRun, many: FaultyRun) -> None:
    """Both show the same calls; only a real traceback has marks below the expressions."""

    def calls(text: str, rank: int) -> list[str]:
        return re.findall(rf'^\[rank{rank}\]:   File "(.*)$', text, re.MULTILINE)

    logs = outputs(many)
    for rank in range(4):
        said = "\n".join(logs[place] for place in sorted(logs) if place[1:] == (rank, "stderr"))
        assert calls(said, rank) == calls(one.stderr, rank)
    found = calls(one.stderr, 2)
    assert any(call.endswith(", in main") for call in found)
    assert all("/train.py" in call for call in found)
