"""Schedulers under transformers' names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelerate_sim.accelerator import Accelerator
from accelerate_sim.optimizer import AdamW
from accelerate_sim.scheduler import LRScheduler, get_scheduler

Accelerate = Callable[..., Accelerator]
TRAIN = {"schedule": "linear", "lr": 1e-3, "min_lr": 0.0, "warmup_steps": 4}


def begun(accelerate: Accelerate) -> tuple[Accelerator, AdamW, LRScheduler]:
    accelerator = accelerate(train=TRAIN)
    optimizer = AdamW(["weight"], lr=1e-3)
    optimizer, scheduler = accelerator.prepare(optimizer, get_scheduler("linear", optimizer, 4, 12))
    return accelerator, optimizer, scheduler


def test_rate_is_the_one_that_the_next_step_uses(accelerate: Accelerate) -> None:
    """Up to the peak in four steps, down to nothing at the twelfth."""
    accelerator, optimizer, scheduler = begun(accelerate)
    rates = []
    while len(rates) < 12:
        with accelerator.accumulate():
            if accelerator.sync_gradients:
                rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    up = [0.25e-3, 0.5e-3, 0.75e-3, 1e-3]
    down = [1e-3 * (8 - k) / 8 for k in range(1, 9)]
    assert rates == pytest.approx(up + down, abs=1e-15)


def test_micro_batches_are_not_counted(accelerate: Accelerate) -> None:
    """The rate, and the optimizer's, change when gradients are synchronised, and only then."""
    accelerator, optimizer, scheduler = begun(accelerate)
    for micro_batch in range(6):
        with accelerator.accumulate():
            optimizer.step()
            scheduler.step()
        assert scheduler.get_last_lr() == [0.25e-3 * ((micro_batch + 1) // 3 + 1)]
    assert optimizer.param_groups[0]["lr"] == 0.75e-3
    assert accelerator.completed_steps == 2


@pytest.mark.parametrize("asked", [("cosine", 4, 12), ("linear", 5, 12), ("linear", 4, 13)])
def test_schedule_has_to_be_the_planned_one(accelerate: Accelerate, asked: tuple[str, int, int]) -> None:
    accelerate(train=TRAIN)
    name, warmup, total = asked
    with pytest.raises(ValueError, match=r"'linear', 4, 12"):
        get_scheduler(name, AdamW([]), warmup, total)
