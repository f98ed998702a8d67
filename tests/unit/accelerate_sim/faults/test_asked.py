"""Faults that are asked for while a job runs come at a moment that is still ahead, or are refused with the way out."""

import pytest

from accelerate_sim.faults.asked import asked_fault
from accelerate_sim.faults.language import parse, render
from accelerate_sim.faults.mistake import FaultMistake


@pytest.mark.parametrize(
    "words, read",
    [
        ("kill rank=3 at=now", "kill rank=3 at=step:12 id=kill-1"),
        ("kill rank=3", "kill rank=3 at=step:12 id=kill-1"),
        ("kill rank=3 at=step:15", "kill rank=3 at=step:15 id=kill-1"),
        ("kill rank=3 at=time:9m", "kill rank=3 at=time:9m id=kill-1"),
        ("kill rank=3 at=now+phase:allreduce", "kill rank=3 at=step:12+phase:allreduce id=kill-1"),
        ("kill rank=3 at=phase:checkpoint", "kill rank=3 at=step:12+phase:checkpoint id=kill-1"),
        ("kill rank=3 at=every:5steps", "kill rank=3 at=step:12+every:5steps id=kill-1"),
        ("kill rank=3 after=hot+30s", "kill rank=3 after=hot+30s id=kill-1"),
        ("raise rank=3 text='at=now or never' at=now", "raise rank=3 'text=at=now or never' at=step:12 id=raise-1"),
    ],
)
def test_a_fault_has_a_moment_from_the_next_step_on(words, read):
    assert render(asked_fault(words, 12, 0, ())) == read


def test_it_belongs_to_the_attempt_in_which_it_was_asked_for():
    assert render(asked_fault("kill rank=3 at=now", 12, 2, ())) == "kill rank=3 at=step:12 attempt=2- id=kill-1"
    assert asked_fault("kill rank=3 attempt=3 at=step:4", 12, 2, ()).attempts == parse("kill attempt=3").attempts


def test_its_name_is_its_own():
    others = [parse("kill rank=1 id=mine"), parse("kill rank=2 id=kill-3")]
    assert asked_fault("kill rank=3", 12, 0, others).id == "kill-4"


@pytest.mark.parametrize(
    "words, told",
    [
        ("mismatch node=1", "mismatch strikes while a job starts: nccl of attempt 1 is over. Add attempt=2 for"),
        ("kill rank=1 at=phase:load", "load of attempt 1 is over. Add attempt=2 for the next start of this job"),
        ("kill rank=1 at=now attempt=0", "attempt=0 is over: this is attempt 1. Use a later one, or none."),
        ("kill rank=1 at=nowhere", "at='nowhere' is no moment."),
    ],
)
def test_what_cannot_come_any_more_is_refused(words, told):
    with pytest.raises(FaultMistake) as refused:
        asked_fault(words, 12, 1, ())
    assert str(refused.value).startswith(told)


def test_a_phase_of_the_next_start_may_be_asked_for():
    assert asked_fault("mismatch node=1 attempt=2", 12, 1, ()).attempts.first == 2
