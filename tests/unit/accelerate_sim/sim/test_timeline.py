"""When everything happens."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.sim import noise
from accelerate_sim.sim.timeline import Calendar, Phase, Timeline

LAST, PER_EPOCH, SAVE_EVERY, EVAL_EVERY = 700, 250, 90, 160
VALIDATION_S, EXPORT_S, STARTUP_S = 7.0, 30.0, 90.0


def step_s(steps: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(1.0 + 0.5 * noise.uniform(1, "step", steps), 6))


def checkpoint_s(step: int) -> float:
    return 20.0 + step % 7


def timeline(startup_s: float = math.inf) -> Timeline:
    calendar = Calendar(LAST, PER_EPOCH, SAVE_EVERY, EVAL_EVERY)
    return Timeline(calendar, step_s, checkpoint_s, VALIDATION_S, EXPORT_S, startup_s)


@cache
def played() -> list[tuple[str, float, float]]:
    """(phase, begin, end) of everything, added up by hand."""
    now, phases = 0.0, []
    for step, seconds in enumerate(step_s(np.arange(LAST)), 1):
        parts = [("step", float(seconds))]
        if step % PER_EPOCH == 0 or step % EVAL_EVERY == 0 or step == LAST:
            parts.append(("validation", VALIDATION_S))
        if step % SAVE_EVERY == 0:
            parts.append(("checkpoint", checkpoint_s(step - 1)))
        for phase, length in parts:
            phases.append((phase, now, now + length))
            now += length
    return phases


def test_steps_and_pauses_add_up() -> None:
    line, ends = timeline(), [end for phase, _, end in played() if phase == "step"]
    assert [line.step_end_s(step) for step in range(LAST)] == pytest.approx(ends, abs=1e-6)
    assert line.end_s() == pytest.approx(played()[-1][2], abs=1e-6)


@settings(max_examples=200)
@given(moment=st.integers(0, 10**6), share=st.floats(0.01, 0.99))
def test_any_second_is_in_the_phase_that_happens_then(moment: int, share: float) -> None:
    """The inverse of the sums, wherever one looks first."""
    phase, begin, end = played()[moment % len(played())]
    assert timeline().phase_at(begin + share * (end - begin)) == phase


def test_before_and_after_the_run() -> None:
    line = timeline()
    assert line.phase_at(-0.1) == "startup"
    assert timeline(STARTUP_S).phase_at(-STARTUP_S - 0.1) == "idle"
    assert line.phase_at(0.0) == "step"
    assert line.phase_at(line.end_s() - 0.1) == "validation"
    assert line.phase_at(line.end_s() + 0.1) == line.phase_at(line.end_s() + 29.9) == "export"
    assert line.phase_at(line.end_s() + 1e7) == "idle"


@settings(max_examples=200)
@given(begin_s=st.floats(-200, 1400), length_s=st.floats(0.01, 900), share=st.floats(0, 1))
def test_spans_are_the_phases_without_gaps(begin_s: float, length_s: float, share: float) -> None:
    line, end_s = timeline(STARTUP_S), begin_s + length_s
    spans = line.spans(begin_s, end_s)
    assert [spans[0].begin_s, *(span.end_s for span in spans)] == [*(span.begin_s for span in spans), spans[-1].end_s]
    assert (spans[0].begin_s, spans[-1].end_s) == (begin_s, end_s)
    assert all(span.begin_s < span.end_s for span in spans)
    for span in spans:
        if span.end_s - span.begin_s < 1e-6:
            continue  # too short to be hit
        middle_s = span.begin_s + (0.001 + 0.998 * share) * (span.end_s - span.begin_s)
        assert line.phase_at(middle_s) == span.phase


def test_spans_reach_from_before_the_run_to_after_it() -> None:
    spans = timeline(STARTUP_S).spans(-1e6, 1e6)
    assert [span.phase for span in spans[:3]] == ["idle", "startup", "step"]
    assert [span.phase for span in spans[-3:]] == ["validation", "export", "idle"]


@given(step=st.integers(-1, LAST - 1), phase=st.sampled_from(["startup", "validation", "checkpoint", "export"]))
def test_looks_into_pauses_fall_into_them(step: int, phase: Phase) -> None:
    line = timeline(STARTUP_S)
    second = line.look_into(phase, step)
    following = [each for each, begin, _ in played() if begin > line.step_end_s(step) - 1e-6] if step >= 0 else []
    before_next = following[: following.index("step")] if "step" in following else following
    if phase in before_next or (phase, step) in (("startup", -1), ("export", LAST - 1)):
        assert second is not None
        assert line.phase_at(second) == phase
    else:
        assert second is None


@given(step=st.integers(0, LAST - 1))
def test_end_of_a_step_has_the_same_bits_whoever_asks(step: int) -> None:
    assert timeline().step_end_s(step) == timeline_asked_for(LAST - 1).step_end_s(step)


def timeline_asked_for(step: int) -> Timeline:
    line = timeline()
    line.step_end_s(step)
    return line


def test_shorter_run_has_the_same_times() -> None:
    """Up to its end, where a validation follows."""
    short = Timeline(Calendar(300, PER_EPOCH, SAVE_EVERY, EVAL_EVERY), step_s, checkpoint_s, VALIDATION_S, EXPORT_S)
    assert [short.step_end_s(step) for step in range(300)] == [timeline().step_end_s(step) for step in range(300)]
    assert short.phase_at(short.end_s() - 0.1) == "validation"


def test_pauses_can_be_left_out() -> None:
    """Checkpoints never; validations only at the ends of epochs."""
    calendar = Calendar(total_steps=20, steps_per_epoch=10, checkpoint_every=0, eval_every=0)
    steps = np.arange(30)
    assert not calendar.saves_after(steps).any()
    assert np.flatnonzero(calendar.validates_after(steps)).tolist() == [9, 19]
