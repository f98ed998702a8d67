"""Triggers of all forms: a process that starts with an attempt derives the strikes of the one that played them all.

One process walks through the life of a job; under a launcher the ranks of each attempt are new processes, which know
its number alone.
"""

from __future__ import annotations

from functools import cache

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.faults.mistake import FaultMistake
from accelerate_sim.faults.occurrence import Attempt
from accelerate_sim.faults.planned import PlannedMistake, planned_faults, schedule_of
from accelerate_sim.faults.schedule import FaultSchedule
from accelerate_sim.sim.run import Run
from tests.support.repository import ROOT

LAST = 20
PHASES = (Phase.explicit, Phase.generate)
"""Failures are told as they are found: each example walks through a job."""
STEP, SECOND = st.integers(1, LAST), st.integers(0, 12)
ENDS = st.sampled_from(["kill rank=1", "hang rank=any", "raise rank=2"])
GOES_ON = st.sampled_from(
    [
        "nan",
        "disk action=slow factor=20",
        "overflow count=2",
        "slow gpu=0:1 for=3steps",
        "slow gpu=0:2 for=2s",
        "data rank=any action=slow for=1s",
    ]
)
MOMENT = st.one_of(
    STEP.map("at=step:{}".format), SECOND.map("at=time:{}s".format),
    st.builds("at=step:{}+time:{}s".format, STEP, SECOND),
    st.integers(1, 9).map("at=every:{}steps".format), st.integers(1, 9).map("at=every:{}s".format),
    st.sampled_from(["at=mtti:4s", "at=p:0.2/step", "", "at=phase:forward:3", "at=phase:launch", "at=phase:checkpoint",
                     "at=time:3s+phase:optimizer", "at=time:700s+phase:eval", "at=phase:exit:2", "at=mtti:1s",
                     "at=step:4+every:3steps", "after=first", "after=first+2s"]),
)  # fmt: skip
TIMES = st.sampled_from(["", "times=1", "times=2", "times=3", "times=always"])
ATTEMPT = st.sampled_from(["", "", "attempt=0", "attempt=1", "attempt=1-", "attempt=0-1"])
FAULT = st.builds("{} {} {} {}".format, st.one_of(ENDS, GOES_ON), MOMENT, TIMES, ATTEMPT)


@cache
def without_faults() -> RunConfig:
    changes = ("checkpoint.every=5", "checkpoint.keep_last=2", "faults.restarts=3")
    return ConfigSource.read(ROOT / "configs/debug.yaml", changes).resolve()


@cache
def run_with(*faults: str) -> Run:
    config = without_faults()
    return Run(config.model_copy(update={"faults": config.faults.model_copy(update={"play": faults})}))


def strikes(attempts: list[Attempt]) -> list[tuple[int, str, int, int, str, float]]:
    return [
        (attempt.number, strike.fault.id, strike.number, strike.step, strike.phase, strike.second)
        for attempt in attempts for strike in attempt.occurrences
    ]  # fmt: skip


def alone(run: Run, number: int) -> FaultSchedule:
    """The schedule of a process that is started with an attempt."""
    return schedule_of(run, 3, number)


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(first=st.builds("{} at=step:{} {} id=first".format, ENDS, STEP, TIMES), others=st.lists(FAULT, max_size=3))
def test_strikes_are_the_same_in_one_process_and_in_new_ones(first: str, others: list[str]) -> None:
    run = run_with(first, *others)
    try:
        planned_faults(run)
        whole = list(schedule_of(run, 3).attempts())
    except (PlannedMistake, FaultMistake):
        return
    for attempt in whole:
        assert alone(run, attempt.number).attempt(attempt.number) == attempt
        seconds = [strike.second for strike in attempt.occurrences]
        assert seconds == sorted(seconds)
    assert alone(run, len(whole) - 1).attempt(len(whole)) is None
    counts: dict[str, list[int]] = {}
    for _, name, number, *_ in strikes(whole):
        counts.setdefault(name, []).append(number)
    faults = {fault.id: fault for fault in schedule_of(run, 3).faults}
    for name, numbers in counts.items():
        assert numbers == list(range(len(numbers)))
        assert len(numbers) <= (faults[name].times or len(numbers))
    assert all(attempt in faults[name].attempts for attempt, name, *_ in strikes(whole))


@settings(max_examples=15, deadline=None, phases=PHASES)
@given(step=STEP, second=SECOND, times=st.integers(1, 5), restarts=st.integers(0, 4), every=st.integers(1, 9))
def test_the_number_of_strikes_is_that_of_the_definition(
    step: int, second: int, times: int, restarts: int, every: int
) -> None:
    def count(*words: str) -> int:
        return len(strikes(list(schedule_of(run_with(*words), restarts).attempts())))

    attempts = restarts + 1
    assert count(f"kill rank=1 at=step:{step} times={times}") == min(times, attempts)
    assert count(f"kill rank=1 at=step:{step} times=always") == attempts
    assert count(f"kill rank=1 at=time:{second}s times={times}") in (0, min(times, attempts))  # 0: no step is left
    assert count(f"kill rank=1 times={times}") == min(times, attempts)
    assert count(f"nan at=step:{step} times={times}") == 1
    assert count(f"nan at=every:{every}steps times={times}") == min(times, LAST // every)
    assert count(f"nan at=every:{every}steps") == LAST // every
    assert count(f"nan at=phase:forward:{step} times={times}") == min(times, LAST - step + 1)
    assert count(f"nan at=phase:checkpoint times={times}") == min(times, LAST // 5)
    assert count(f"nan at=phase:launch times={times}") == 1
    assert count(f"kill rank=1 at=phase:launch times={times} attempt=0") == 1
    assert count("nan at=p:1/step") == LAST
    assert count(f"nan at=p:1/step times={times}") == min(times, LAST)
    followed = f"nan at=every:{every}steps id=first", f"slow gpu=0:1 for=1steps after=first times={times}"
    assert count(*followed) == LAST // every + min(times, LAST // every)
