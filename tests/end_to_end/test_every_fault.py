"""Each kind of fault with each of its actions, in one process and as a job: faults.jsonl is true of both.

Faults that end an attempt are one story, each in an attempt of its own, and those with which the job goes on are
another; both stories are played once for all tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.language import parse
from tests.support.fault_claims import hold_everything
from tests.support.played_faults import FaultyRun, play_alone, play_launched
from tests.support.reading import Train

GOES_ON = (
    "nan at=step:1", "nan what=grad rank=2 at=step:2", "spike at=step:3 for=4steps", "spike diverge=yes at=step:17",
    "overflow count=2 at=step:4", "sdc gpu=0:1 at=step:5", "ecc gpu=0:1 type=sbe count=7 at=step:2",
    "xid gpu=0:0 code=63 at=step:3", "xid gpu=1:1 code=94 effect=none at=step:4",
    "slow gpu=1:0 why=thermal at=step:1 for=3s", "slow gpu=1:1 why=power at=step:1 for=3s",
    "slow gpu=0:1 why=brake at=step:8 for=2steps", "slow gpu=0:0 why=unknown at=step:9 for=1steps ramp=1steps",
    "slow rank=3 why=cpu at=step:10 for=1steps",
    "link link=1:0 action=flap for=8s at=step:6", "link link=1:1 action=loss at=step:7 for=2steps",
    "link node=0 action=bandwidth gbps=50 at=step:7 for=2steps", "link link=0:0 action=delay ms=5 at=step:9 for=2steps",
    "store action=slow at=step:11", "store action=reset at=step:12", "disk action=slow factor=3 at=step:9",
    "data rank=1 action=slow factor=2 at=step:3 for=2steps", "clock node=1 skew=-30 drift=50 at=step:2",
    "corrupt how=flip at=step:13",
)  # fmt: skip
ENDS = (
    "kill rank=1", "kill rank=3 signal=SEGV", "kill rank=2 signal=ABRT", "kill rank=1 signal=BUS",
    "kill rank=2 signal=TERM", "raise rank=2 error=ValueError transport=socket", "exit rank=1 code=7", "oom rank=2",
    "hostoom node=1", "hang rank=1", "hang rank=2 how=stop", "hang rank=3 how=io", "nodefail node=1",
    "xid gpu=1:0 code=79", "xid gpu=0:1 code=119 timeout=2m", "xid gpu=1:1 code=31", "ecc gpu=0:1 type=dbe",
    "ecc gpu=1:0 type=contained", "ecc gpu=1:1 type=uncontained", "lost gpu=0:1 xid=no", "lost gpu=1:1",
    "link link=0:1 action=down", "partition node=1", "store action=gone", "data rank=2 action=killed",
    "data rank=1 action=bus", "data rank=3 action=exception", "data rank=2 action=fds",
    "mismatch node=1 what=nccl", "mismatch node=1 what=driver", "mismatch node=0 what=library",
    "mismatch node=1 what=python", "mismatch node=1 what=mount", "disk action=full", "disk action=quota",
    "disk action=io", "disk action=readonly", "disk action=stale", "disk action=permission",
)  # fmt: skip
STARTS = ("mismatch", "disk")
"""Kinds that have a phase of their own."""


def in_its_attempt(number: int, words: str) -> str:
    """The fault in an attempt of its own; steps 2 to 4 have no checkpoint behind them."""
    at = "" if words.startswith(STARTS) else f" at=step:{2 + number % 3}"
    return f"{words}{at} attempt={number} id=f{number}"


STORIES = {
    "goes on": tuple(f"{words} id=g{number}" for number, words in enumerate(GOES_ON)),
    "ends": tuple(in_its_attempt(number, words) for number, words in enumerate(ENDS)),
}


@pytest.fixture(scope="module", params=STORIES)
def story(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return STORIES[request.param]


@pytest.fixture(scope="module")
def one(story: tuple[str, ...], train: Train, tmp_path_factory: pytest.TempPathFactory) -> FaultyRun:
    return play_alone(train, tmp_path_factory.mktemp("every") / "one", *story, restarts=len(story))


def test_every_kind_and_each_of_its_words_is_played() -> None:
    faults = [parse(words) for story in STORIES.values() for words in story]
    assert {fault.kind for fault in faults} == set(KINDS) - {"preempt"}
    for name, key in (("link", "action"), ("store", "action"), ("data", "action"), ("disk", "action"),
                      ("mismatch", "what"), ("slow", "why"), ("nan", "what"), ("hang", "how")):  # fmt: skip
        played = {fault[key] for fault in faults if fault.kind == name}
        assert played == set(KINDS[name].keys[key].choices), name


def test_in_one_process_all_that_is_expected_comes(one: FaultyRun, story: tuple[str, ...]) -> None:
    assert one.returncode == 0, one.stderr[-3000:]
    assert [event["id"] for event in one.begun if event["id"].startswith("f")] == [
        parse(words).id for words in story if " id=f" in words
    ]  # fmt: skip
    assert {event["id"] for event in one.begun} == {parse(words).id for words in story}
    hold_everything(one, *story)


@pytest.mark.slow
def test_in_a_job_all_that_is_expected_comes(one: FaultyRun, story: tuple[str, ...], tmp_path: Path) -> None:
    many = play_launched(tmp_path / "many", *story, restarts=len(story))
    assert many.returncode == 0, many.stderr[-3000:]
    assert many.events == one.events
    assert many.metrics == one.metrics
    hold_everything(many, *story)


@pytest.mark.parametrize("by", KINDS["preempt"].keys["by"].choices)
def test_a_scheduler_that_ends_the_job_is_known_by_its_lines(train: Train, tmp_path: Path, by: str) -> None:
    words = f"preempt by={by} at=step:12"
    one = play_alone(train, tmp_path / "one", words)
    assert one.returncode == 1
    hold_everything(one, words)
    (event,) = one.begun
    assert event["expect"]["job"] == {"exit": 1, "restarts": 0, "resume_step": None, "lost_steps": None}
    logs = {path.name for path in (one.directory / "nodes").glob("*/*")} if by in ("k8s", "spot") else set()
    assert logs == {"k8s": {"kubernetes.log"}, "spot": {"instance.log"}}.get(by, set())


@pytest.mark.slow
@pytest.mark.parametrize("by", KINDS["preempt"].keys["by"].choices)
def test_a_scheduler_really_ends_a_job(train: Train, tmp_path: Path, by: str) -> None:
    words = f"preempt by={by} at=step:12"
    one, many = play_alone(train, tmp_path / "one", words), play_launched(tmp_path / "many", words)
    assert many.returncode == 1
    assert many.events == one.events
    assert many.metrics == one.metrics
    hold_everything(many, words)
