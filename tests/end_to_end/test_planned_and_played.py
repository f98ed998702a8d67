"""A run plays the faults that ``--plan`` lists: the same strikes, in the same attempts, steps and phases."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from accelerate_sim.faults.triggers import PHASES
from tests.support.played_faults import arguments, play_alone, play_launched
from tests.support.reading import Train

Strikes = list[tuple[int, int, str, str]]
"""Attempt, step, phase and id of each strike, in order."""

WHAT = st.sampled_from([
    "kill rank=1", "raise rank=2", "exit rank=0", "hang rank=3", "nan", "slow gpu=0:1 for=2steps",
    "slow gpu=1:0 for=5s", "sdc gpu=1:0", "overflow count=2", "clock node=1",
])  # fmt: skip
STEPS = st.integers(1, 21).map(lambda step: f"step:{step}")
TIMES = st.sampled_from([0, 1, 3, 5, 8, 100, 423, 428, 430, 850, 1300]).map(lambda second: f"time:{second}s")
PHASED = st.builds("phase:{}:{}".format, st.sampled_from(PHASES), st.integers(1, 4))
REPEATED = st.sampled_from(["every:3steps", "every:9steps", "every:4s", "every:7m", "mtti:5m", "p:0.2/step"])
AT = st.one_of(
    STEPS, TIMES, PHASED, REPEATED, st.just(""), st.builds("{}+{}".format, STEPS, TIMES),
    st.builds("{}+{}".format, st.one_of(STEPS, TIMES), PHASED), st.builds("{}+{}".format, REPEATED, STEPS),
).map(lambda at: f"at={at}" if at else "")  # fmt: skip
AFTER = st.sampled_from(["after=f1", "after=f1+1s", "after=f1+7m"])
ATTEMPT = st.sampled_from(["", "", "attempt=0", "attempt=1", "attempt=1-", "attempt=0-1", "attempt=2-"])
OFTEN = st.sampled_from(["", "", "times=1", "times=2", "times=always"])
FIRST = st.builds("{} {} {} {} id=f1".format, WHAT, AT, ATTEMPT, OFTEN)
OTHER = st.builds("{} {} {} {}".format, WHAT, st.one_of(AT, AFTER), ATTEMPT, OFTEN)


def planned(text: str) -> Strikes:
    """The strikes that a plan lists."""
    found, attempt = [], -1
    for line in text[text.index("Faults that happen") :].splitlines():
        if begun := re.match(r" +attempt (\d+) ", line):
            attempt = int(begun[1]) - 1
        if strike := re.search(r"step ([\d,]+) \((\w+), [^)]*\): ([\w.-]+),", line):
            found.append((attempt, int(strike[1].replace(",", "")), strike[2], strike[3]))
    return found


def played(directory: Path) -> tuple[Strikes, set[str]]:
    """The strikes of a run that has been played, and the ids of faults that have not come."""
    events = [json.loads(line) for line in (directory / "faults.jsonl").read_text().splitlines()]
    strikes = [tuple(event[key] for key in ("attempt", "step", "phase", "id"))
               for event in events if event["state"] == "begin"]  # fmt: skip
    return strikes, {event["id"] for event in events if event["state"] == "skipped"}


@settings(max_examples=8, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=FIRST, others=st.lists(OTHER, max_size=3), restarts=st.integers(0, 3))
def test_a_run_plays_what_its_plan_lists(train: Train, first: str, others: list[str], restarts: int) -> None:
    words = arguments(first, *others, restarts=restarts)
    plan = train(*words, "--plan")
    with tempfile.TemporaryDirectory() as folder:
        run = train(*words, "--output-dir", f"{folder}/out", cwd=Path(folder))
        note(run.stderr)
        if plan.returncode:
            assert (plan.returncode, run.returncode, run.stderr) == (2, 2, plan.stderr)
            assert re.search("never comes|does not come|no attempt", run.stderr)
            return
        strikes, skipped = played(Path(folder, "out"))
    assert strikes == planned(plan.stdout)
    if run.returncode == 0 and not re.search("mtti|p:|after", " ".join([first, *others])):
        assert not skipped  # the job has come to its end: what was not refused has struck


@pytest.mark.slow
def test_a_job_strikes_as_often_as_its_plan_lists(train: Train, tmp_path: Path) -> None:
    words = (
        "store action=reset at=step:3", "mismatch node=1 what=driver attempt=1", "kill rank=any at=time:5s times=2",
        "nan at=every:4steps times=3", "slow gpu=1:1 at=step:2 for=2s", "raise rank=2 at=phase:checkpoint attempt=2-",
        "exit rank=3 at=p:0.05/step times=1", "slow gpu=0:1 after=nan-4+1s times=2 for=1s",
    )  # fmt: skip
    plan = train(*arguments(*words, restarts=6), "--plan")
    one = play_alone(train, tmp_path / "one", *words, restarts=6)
    many = play_launched(tmp_path / "many", *words, restarts=6)
    assert (one.returncode, many.returncode) == (0, 0), one.stderr + many.stderr
    assert one.events == many.events
    assert one.metrics == many.metrics
    strikes, _ = played(many.directory)
    assert strikes == planned(plan.stdout)
    counts = {name: [each[3] for each in strikes].count(name) for name in {each[3] for each in strikes}}
    assert counts["kill-3"] == counts["slow-8"] == 2
    assert counts["nan-4"] == 3
