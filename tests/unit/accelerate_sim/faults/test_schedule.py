"""The schedule of faults: attempts, the steps that they lose, what strikes again, and how long deriving it takes."""

from __future__ import annotations

import random
import time
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.faults.attempt_run import AttemptRun
from accelerate_sim.faults.language import parse
from accelerate_sim.faults.mistake import FaultMistake
from accelerate_sim.faults.occurrence import Attempt
from accelerate_sim.faults.schedule import FaultSchedule
from accelerate_sim.faults.targets import check_target, hit_by, parse_target
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import Timeline
from tests.support.repository import ROOT


@cache
def run_of(name: str, *changes: str) -> Run:
    return Run(ConfigSource.read(ROOT / f"configs/{name}.yaml", changes).resolve())


def schedule(*words: str, run: Run | None = None, restarts: int = 3) -> FaultSchedule:
    faults = tuple(parse(text, number) for number, text in enumerate(words, 1))
    return FaultSchedule(run or run_of("debug"), faults, restarts)


def walk(*words: str, restarts: int = 3) -> list[Attempt]:
    return list(schedule(*words, restarts=restarts).attempts())


def during(step: int) -> str:
    """A moment in the middle of a step of the undisturbed run, as faults state it."""
    pace = AttemptRun.of_attempt(run_of("debug"), walk()[0], []).pace
    return f"{(pace.begin_s(step) + pace.end_s(step)) / 2:.4f}s"


def test_a_strike_loses_the_steps_since_the_checkpoint() -> None:
    first, second = walk("kill rank=3 at=step:15")
    assert (first.completed, first.saved, first.goes_on) == (14, (10,), True)
    assert (second.first_step, second.occurrences, second.ended_by) == (10, (), None)
    assert second.begin_s == pytest.approx(first.end_s + 7 * 60)


@pytest.mark.parametrize("words", [(), ("kill rank=3 at=step:15",), ("nan at=step:15",)])
def test_an_attempt_begins_without_the_times_of_all_steps(monkeypatch: pytest.MonkeyPatch, words: tuple[str]) -> None:
    blocks, block = set(), Timeline.block
    monkeypatch.setattr(Timeline, "block", lambda self, index: blocks.add(index) or block(self, index))
    run = run_of("debug", "train.steps_per_epoch=10000", "train.warmup_steps=10")
    attempt = schedule(*words, run=run).attempt(0)
    assert blocks <= {0}
    assert attempt is not None
    assert attempt.ended_by or attempt.end_s > 20_000 * 0.04


def test_without_a_checkpoint_the_job_begins_anew() -> None:
    assert [attempt.first_step for attempt in walk("kill rank=3 at=step:9")] == [0, 0]
    assert [attempt.first_step for attempt in walk("kill rank=3 at=phase:checkpoint")] == [0, 0]


def test_a_fault_strikes_once_in_the_life_of_the_job_unless_it_says_more() -> None:
    assert len(walk("kill rank=3 at=step:15")) == 2
    assert len(walk("kill rank=3 at=step:15 times=2")) == 3
    endless = walk("kill rank=3 at=step:15 times=always", restarts=5)
    assert len(endless) == 6
    assert not endless[-1].goes_on


def test_phases_before_the_first_step_have_their_own_seconds() -> None:
    startup = run_of("debug").startup
    phases = ("warmup", "nccl", "load", "launch")
    strikes = walk(*(f"slow gpu=0:1 at=phase:{phase}" for phase in phases))[0].occurrences
    assert [strike.phase for strike in strikes] == list(reversed(phases))
    assert [strike.second for strike in strikes] == pytest.approx([
        -startup.total, startup.weights - startup.total, -startup.all_reduce_test - startup.detect, -startup.detect,
    ])  # fmt: skip
    first, second = walk("kill rank=3 at=step:15", "kill rank=1 at=phase:launch attempt=1")[:2]
    assert second.occurrences[0].second > first.end_s
    assert second.begin_s - second.occurrences[0].second > startup.total  # a checkpoint is loaded, too


def test_a_phase_strikes_again_in_the_next_attempts_as_often_as_it_may() -> None:
    for phase in ("launch", "load", "checkpoint", "eval"):
        ended_by = [attempt.ended_by for attempt in walk(f"kill rank=1 at=phase:{phase} times=2")]
        assert [strike and strike.phase for strike in ended_by] == [phase, phase, None]
    ended_by = [attempt.ended_by for attempt in walk("kill rank=1 at=step:3", "kill rank=2 at=phase:nccl attempt=1")]
    assert [strike and strike.phase for strike in ended_by] == ["backward", "nccl", None]


def test_an_attempt_is_chosen_by_its_number() -> None:
    attempts = walk("kill rank=1 at=step:12 attempt=0", "kill rank=2 at=step:11 attempt=1-", "kill rank=0 attempt=7")
    assert [attempt.ended_by and attempt.ended_by.fault.id for attempt in attempts] == ["kill-1", "kill-2", None]


@pytest.mark.parametrize("words, step", [
    ("at=time:5s attempt=1-", 11),
    ("at=time:300s attempt=1", 11),
    ("at=time:5s attempt=1- times=3", 11),
    ("at=time:5s+phase:optimizer attempt=1-", 11),
    ("at=time:5s+phase:checkpoint attempt=1-", 21),
    ("at=step:13+time:5s attempt=1-", 13),
    ("at=step:4+time:5s attempt=1-", 11),
    ("attempt=1-", 11),
    ("at=phase:forward attempt=1-", 11),
    ("at=phase:allreduce:3 attempt=1-", 13),
    ("at=phase:launch attempt=1-", 11),
    ("at=every:4steps attempt=1- times=1", 11),  # the 12th of the job's life, as attempt 0 makes 11
    ("after=first+1s attempt=1-", 11),
])  # fmt: skip
def test_a_moment_that_is_over_before_its_attempts_comes_as_they_begin(words: str, step: int) -> None:
    """A step is the exception: it comes only where it is made. Attempt 1 goes on after step 10."""
    faults = "kill rank=1 at=step:12 id=first", f"nan {words} for=1steps id=next"
    before, attempt = walk(*faults)[:2]
    assert [strike.fault.id for strike in before.occurrences] == ["first"]
    (strike,) = attempt.occurrences
    assert (strike.fault.id, strike.step) == ("next", step)


def test_a_moment_waits_for_attempts_that_come_late() -> None:
    two = ("kill rank=1 at=step:12", "kill rank=1 at=step:15")
    for words in ("at=time:5s attempt=2-", "after=kill-1 attempt=2-", "attempt=2", "at=phase:backward attempt=2"):
        attempts = walk(*two, f"kill rank=2 {words}")
        assert [attempt.ended_by and attempt.ended_by.fault.id for attempt in attempts] == [
            "kill-1", "kill-2", "kill-3", None
        ]  # fmt: skip


def test_nothing_strikes_in_a_step_after_the_last() -> None:
    """After the last step's checkpoint an attempt makes no step, and a phase may be over when its second comes."""
    exits = "kill rank=1 at=phase:exit times=2", "nan at=time:300s", "nan at=every:1steps", "nan at=phase:forward:21"
    first, second, third = walk(*exits)
    assert first.saved[-1] == second.first_step == third.first_step == 20
    for attempt in (second, third):
        assert {strike.phase for strike in attempt.occurrences} <= {"exit"}
    run = run_of("debug")
    late = run.timing(19).end_s - 0.01
    assert walk(f"nan at=time:{late:.4f}s+phase:forward")[0].occurrences == ()


def test_a_phase_of_a_step_comes_in_each_of_them_from_its_number_on() -> None:
    (attempt,) = walk("nan at=phase:forward:3 times=4")
    assert [strike.step for strike in attempt.occurrences] == [3, 4, 5, 6]
    ends = [attempt.ended_by for attempt in walk("kill rank=1 at=phase:forward:3 times=3")]
    assert [strike and strike.step for strike in ends] == [3, 1, 1, None]
    late = walk("nan at=time:4s+phase:optimizer times=2")[0].occurrences
    assert late[1].step == late[0].step + 1
    assert all(strike.second >= 4.0 and strike.phase == "optimizer" for strike in late)


@pytest.mark.parametrize("words, steps", [
    ("kill rank=1 at=time:{step_13} times=2", [13, 11]),
    ("kill rank=1 at=time:{step_13} times=always", [13, 11, 11, 11]),
    ("kill rank=1 at=time:{step_13}+step:15 times=2", [15, 15]),
    ("kill rank=1 at=step:15 times=3", [15, 15, 15]),
    ("kill rank=1 at=every:8steps times=2", [8, 9]),  # the 16th of the job's life: 7 are made before
    ("kill rank=1 times=2", [1, 1]),
    ("kill rank=1 at=time:{step_13} attempt=0 times=2", [13]),
    ("kill rank=1 at=time:{step_13} attempt=1 times=2", []),
    ("kill rank=1 at=time:{step_13} attempt=0-1 times=always", [13, 11]),
])  # fmt: skip
def test_a_moment_comes_once_in_an_attempt_and_again_in_the_next(words: str, steps: list[int]) -> None:
    ends = [attempt.ended_by for attempt in walk(words.format(step_13=during(13)))]
    assert [strike.step for strike in ends if strike] == steps


@pytest.mark.parametrize(
    "slow", ["", "slow gpu=0:1 at=step:1 for=ever factor=1.5", "disk action=slow factor=9 at=step:1"]
)
def test_each_second_of_a_run_has_its_step(slow: str) -> None:
    """A second of a validation or a checkpoint is of the step after it; the last ones of a run are of none."""
    for tenth in range(0, 150, 2):
        words = [*filter(None, [slow]), f"nan at=time:{tenth / 10}s"]
        (attempt,) = walk(*words)
        pace = AttemptRun.of_attempt(run_of("debug"), attempt, []).pace
        found = [strike for strike in attempt.occurrences if strike.fault.kind == "nan"]
        assert bool(found) == (tenth / 10 <= pace.end_s(20))
        for strike in found:
            assert strike.second >= tenth / 10
            assert pace.begin_s(strike.step) <= strike.second <= pace.end_s(strike.step)
            assert strike.step == 1 or pace.end_s(strike.step - 1) < tenth / 10


def test_a_slow_step_makes_the_phases_after_it_later() -> None:
    words = "data action=slow rank=1 factor=9 at=step:6 for=1steps", "nan at=phase:checkpoint", "nan at=step:8"
    slow, step, saving = walk(*words)[0].occurrences
    assert [each.step for each in (slow, step, saving)] == [6, 8, 11]
    assert slow.second < step.second < saving.second
    strikes = walk(*words, "nan at=phase:eval", "nan at=step:13", "nan at=step:2")[0].occurrences
    assert [strike.step for strike in strikes] == sorted(strike.step for strike in strikes)


def test_a_flap_costs_its_own_time_in_the_longer_first_step_too() -> None:
    run = run_of("debug", "cluster.nodes=2", "cluster.gpus_per_node=2")
    for step in (1, 9):
        (attempt,) = schedule(f"link link=1:0 action=flap for=8s at=step:{step}", run=run).attempts()
        pace = AttemptRun.of_attempt(run, attempt, []).pace
        usual_s = float(pace.block(0).step_s[step - 1])
        assert pace.end_s(step) - pace.begin_s(step) == pytest.approx(usual_s + 8.0)


@pytest.mark.parametrize("words", [
    ("nan at=step:2 id=f0", "disk after=f0+1s"), ("nan at=step:2 id=f0", "disk action=slow after=f0"),
    ("nan at=time:1s+phase:eval", "raise rank=3 at=time:1401ms times=2"), ("nan id=f0", "mismatch after=f0+1s"),
    ("kill rank=1 at=step:3 id=f0", "mismatch node=1 what=driver after=f0"),
])  # fmt: skip
def test_a_fault_with_a_phase_of_its_own_waits_for_it_after_its_cause(words: tuple[str, ...]) -> None:
    run = run_of("debug", "checkpoint.every=5", "cluster.nodes=2", "cluster.gpus_per_node=2")
    strikes = [strike for attempt in schedule(*words, run=run).attempts() for strike in attempt.occurrences]
    assert [strike.second for strike in strikes] == sorted(strike.second for strike in strikes)
    for strike in strikes:
        if strike.cause:
            assert strike.phase in ("checkpoint", "nccl", "launch")
            assert strike.second >= strikes[0].second


def test_a_fault_that_waits_for_a_phase_lets_earlier_ones_strike_first() -> None:
    words = "link action=flap for=9s at=step:3", "nan at=every:1s", "data rank=1 action=slow for=1steps at=time:5s"
    (attempt,) = walk(*words)
    seconds = [strike.second for strike in attempt.occurrences]
    assert seconds == sorted(seconds)
    assert [strike.step for strike in attempt.occurrences] == sorted(strike.step for strike in attempt.occurrences)


def test_a_moment_that_ends_no_attempt_comes_again_after_a_restart() -> None:
    first, second = walk(f"nan at=time:{during(13)} times=2", "kill rank=1 at=step:15")
    assert [strike.step for strike in first.occurrences] == [13, 15]
    assert [strike.step for strike in second.occurrences] == [11]


def test_a_cascade_follows_its_cause() -> None:
    attempts = walk("kill rank=1 at=step:12 id=first", "kill rank=2 after=first+5s")
    followed = attempts[1].ended_by
    assert followed
    assert (followed.cause, followed.step) == ("first", 11)


def test_phases_of_a_step_are_in_their_order() -> None:
    phases = ("forward", "backward", "allreduce", "optimizer")
    strikes = walk(*(f"nan at=step:5+phase:{phase}" for phase in reversed(phases)))[0].occurrences
    assert [strike.phase for strike in strikes] == list(phases)


def test_a_slow_gpu_makes_the_steps_longer_that_it_affects_and_all_later_ones_later() -> None:
    run, attempt = run_of("debug"), walk("slow gpu=1:0 factor=2 at=step:5 for=3steps")[0]
    slowed = AttemptRun.of_attempt(run, attempt, [])
    factor = 1 + run.compute_share
    for step in range(20):
        expected = factor if 4 <= step < 7 else 1.0
        assert slowed.timing(step).seconds == pytest.approx(run.timing(step).seconds * expected)
    later = slowed.timing(19).end_s - run.timing(19).end_s
    assert later == pytest.approx(sum(run.timing(step).seconds for step in (4, 5, 6)) * run.compute_share, rel=1e-4)


def test_a_gpu_that_is_slow_of_heat_has_a_lower_clock_while_it_lasts() -> None:
    run = run_of("debug")
    attempt = walk("slow gpu=1:0 why=thermal factor=1.5 at=step:5 for=3steps ramp=1steps")[0]
    slowed = AttemptRun.of_attempt(run, attempt, [])
    for step, least, most in ((3, 1.0, 1.0), (4, 1.1, 1.5), (5, 1.5, 1.5), (6, 1.5, 1.5), (7, 1.0, 1.0)):
        second = run.timing(step).end_s - 0.001
        usual, now = (each.telemetry.sample(second, step).sm_clock_mhz for each in (run, slowed))
        assert usual[2] / most - 15.0 <= now[2] <= usual[2] / least  # clocks are steps of 15 MHz
        assert [now[rank] for rank in (0, 1, 3)] == [usual[rank] for rank in (0, 1, 3)]


def test_figures_change_for_as_long_as_the_fault_lasts() -> None:
    attempt = walk("nan at=step:5 for=2steps")[0]
    run = AttemptRun.of_attempt(run_of("debug"), attempt, [])
    assert [step for step in range(20) if run.grad_norm_at(step) != run.grad_norm_at(step)] == [4, 5]


def test_recurring_faults_are_spread_as_they_say() -> None:
    run = run_of("llama70b")
    attempts = list(schedule("kill rank=any at=mtti:30m", run=run, restarts=200).attempts())
    gaps = [attempt.end_s - attempt.begin_s for attempt in attempts]
    assert 1200 < sum(gaps) / len(gaps) < 3000
    steady = next(schedule("nan at=every:10steps", run=run).attempts()).occurrences
    assert [strike.step for strike in steady[:3]] == [10, 20, 30]


def test_targets_are_checked_against_the_cluster() -> None:
    layout = run_of("llama70b").layout
    for noun, text in (("rank", "64"), ("node", "0-8"), ("gpu", "0:8"), ("rank", "tp:8"), ("rank", "any:65")):
        with pytest.raises(FaultMistake):
            check_target(parse_target(noun, text), layout)
    assert hit_by([parse_target("rank", "tp:1")], layout, 1, 0).ranks == tuple(range(8, 16))
    assert hit_by([parse_target("rank", "dp:1")], layout, 1, 0).ranks == tuple(range(1, 64, 8))
    assert hit_by([parse_target("gpu", "last:0-7/4")], layout, 1, 0).ranks == (56, 60)


@given(seed=st.integers(0, 2**31), strike=st.integers(0, 99), text=st.sampled_from(["any", "any:3", "25%", "any:63"]))
def test_a_draw_is_a_function_of_seed_and_strike_and_spares_rank_0(seed: int, strike: int, text: str) -> None:
    layout, target = run_of("llama70b").layout, parse_target("rank", text)
    drawn = hit_by([target], layout, seed, strike)
    assert drawn == hit_by([target], layout, seed, strike)
    assert len(drawn.ranks) == {"any": 1, "any:3": 3, "25%": 16, "any:63": 63}[text]
    assert 0 not in drawn.ranks or text == "25%"


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.integers(1, 20), max_size=6), restarts=st.integers(0, 4))
def test_attempts_follow_one_another(steps: list[int], restarts: int) -> None:
    words = [f"kill rank=any at=step:{step} times=2" for step in steps]
    attempts = walk(*words, restarts=restarts)
    assert attempts == walk(*words, restarts=restarts)
    for before, after in pairwise(attempts):
        assert before.goes_on
        assert after.begin_s > before.end_s > before.begin_s
        assert after.first_step <= before.completed
    assert len(attempts) <= restarts + 1
    assert attempts[-1].ended_by is None or len(attempts) == restarts + 1


def test_one_more_fault_ahead_changes_nothing_that_has_been() -> None:
    before = schedule("kill rank=3 at=step:15")
    after = before.with_fault(parse("kill rank=1 at=step:12 attempt=1 id=now"))
    assert after.attempt(0) == before.attempt(0)
    added = after.attempt(1)
    assert added and added.ended_by and added.ended_by.fault.id == "now"


def test_a_thousand_faults_on_16384_gpus_take_a_moment() -> None:
    run, draws = run_of("llama405b"), random.Random(1)
    run.timeline.end_s()
    words = [f"kill rank=any at=step:{draws.randint(1, run.last_step)}" for _ in range(1000)]
    faults = schedule(*words, run=run, restarts=2000)
    begin_s = time.process_time()
    assert len(list(faults.attempts())) > 900
    assert time.process_time() - begin_s < 10.0  # for hanging; it takes about one second


def test_a_thousand_slow_gpus_of_16384_take_a_moment() -> None:
    run, draws = run_of("llama405b"), random.Random(2)
    run.timeline.end_s()
    words = [f"slow rank=any at=step:{draws.randint(1, run.last_step - 99)} for=5m" for _ in range(1000)]
    begin_s = time.process_time()
    (attempt,) = schedule(*words, run=run).attempts()
    assert len(attempt.occurrences) == 1000
    assert time.process_time() - begin_s < 10.0  # for hanging; it takes about half a second


def test_each_step_waits_for_the_slowest_of_those_that_are_slow() -> None:
    run, draws = run_of("llama405b"), random.Random(3)
    words = [
        f"slow rank=any factor={draws.uniform(1.1, 3.0):.2f} at=step:{draws.randint(1, 900)} "
        f"for={draws.randint(1, 600)}steps ramp={draws.randint(0, 40)}steps"
        for _ in range(40)
    ]
    (attempt,) = schedule(*words, run=run).attempts()
    pace = AttemptRun.of_attempt(run, attempt, []).pace
    for step in range(1, 1700, 7):
        shares = [
            (float(str(strike.fault["factor"])) - 1) * run.compute_share * strike.strength(step)
            for strike in attempt.occurrences
        ]
        assert pace.factors(np.array([step]))[0] == pytest.approx(1 + max(shares))


def test_a_rank_whose_batches_are_late_waits_for_them_and_its_gpu_has_nothing_to_do() -> None:
    run, attempt = run_of("debug"), walk("data action=slow rank=2 factor=2 at=step:5 for=3steps")[0]
    starved = AttemptRun.of_attempt(run, attempt, [])
    for step in range(20):
        late = 4 <= step < 7
        waits = starved.late_batches_s(step, [0, 2])
        assert waits.tolist() == [0.0, run.timing(step).seconds if late else 0.0]
        assert starved.timing(step).seconds == pytest.approx(run.timing(step).seconds * (2.0 if late else 1.0))
        second = run.timing(step).end_s - 0.01
        usual, now = (each.telemetry.sample(second, step) for each in (run, starved))
        assert now.utilization_pct[2] == (round(usual.utilization_pct[2] / 2) if late else usual.utilization_pct[2])
        assert now.utilization_pct[0] == usual.utilization_pct[0]
        assert all(now.power_w[[0, 2]] < usual.power_w[[0, 2]]) or not late
