"""Optimizers under their names in the config."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from accelerate_sim.accelerator import Accelerator
from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.optimizer import OPTIMIZERS, AdamW, get_optimizer
from accelerate_sim.own_script.simulated_objects import is_simulated
from accelerate_sim.scheduler import get_scheduler

NAMES = get_args(TrainConfig.model_fields["optimizer"].annotation)


def test_each_optimizer_of_the_config_is_there() -> None:
    assert tuple(OPTIMIZERS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_has_its_name_and_the_settings_that_are_asked_for(name: str) -> None:
    optimizer = get_optimizer(name, ["weight"], lr=0.25, weight_decay=0.5)
    assert type(optimizer).__name__.lower() == name
    assert is_simulated(optimizer)
    group = optimizer.param_groups[0]
    assert (group["params"], group["lr"], group["weight_decay"]) == (["weight"], 0.25, 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_ends_a_step_of_the_run(accelerate: Callable[..., Accelerator], name: str) -> None:
    accelerator = accelerate(train={"optimizer": name, "schedule": "constant", "warmup_steps": 0})
    train = accelerator.state.run.config.train
    optimizer = get_optimizer(train.optimizer, ["weight"], lr=train.lr)
    total = train.epochs * train.steps_per_epoch
    optimizer, scheduler = accelerator.prepare(optimizer, get_scheduler("constant", optimizer, 0, total))
    while accelerator.completed_steps < 2:
        with accelerator.accumulate():
            optimizer.step()
            scheduler.step()
    assert optimizer.param_groups[0]["lr"] == scheduler.get_last_lr()[0]


def test_defaults_are_those_of_the_class() -> None:
    assert get_optimizer("adamw", []).param_groups == AdamW([]).param_groups


def test_an_unknown_name_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(ValueError, match=r"no optimizer 'adamv'; use one of adamw, muon, soap, lion, adafactor"):
        get_optimizer("adamv", [])
