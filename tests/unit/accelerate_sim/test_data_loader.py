"""Datasets and loaders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelerate_sim.accelerator import Accelerator
from accelerate_sim.data_loader import DataLoader, load_dataset
from accelerate_sim.session.session import Session

Accelerate = Callable[..., Accelerator]


def loader(accelerator: Accelerator, split: str) -> DataLoader:
    prepared: DataLoader = accelerator.prepare(DataLoader(load_dataset("fineweb-edu")[split], batch_size=2))
    return prepared


def test_training_epoch_is_all_micro_batches_of_its_steps(accelerate: Accelerate) -> None:
    batches = loader(accelerate(), "train")
    assert len(batches) == 6 * 3
    ids = [batch["input_ids"] for batch in batches]
    assert ids == [(step, number) for step in range(6) for number in range(3)]
    assert all(batch["labels"] == batch["input_ids"] for batch in batches)


def test_next_epoch_goes_on_where_the_last_one_ended(accelerate: Accelerate) -> None:
    accelerator = accelerate()
    batches = loader(accelerator, "train")
    accelerator.active.progress.continue_after(6)
    assert next(iter(batches))["input_ids"] == (6, 0)


def test_training_batches_take_no_time_of_their_own(accelerate: Accelerate, session: Session) -> None:
    batches = loader(accelerate(), "train")
    before = session.clock.now_s
    assert len(list(batches)) == 18
    assert session.clock.now_s == before


def test_validation_takes_its_batches_times_their_seconds(accelerate: Accelerate, session: Session) -> None:
    accelerator = accelerate()
    batches = loader(accelerator, "validation")
    before = session.clock.now_s
    assert len(list(batches)) == len(batches) == 4
    assert session.clock.now_s - before == pytest.approx(4 * accelerator.run.evaluation_batch_s)


def test_loader_has_to_be_prepared(accelerate: Accelerate) -> None:
    accelerate()
    with pytest.raises(RuntimeError, match=r"Accelerator\.prepare"):
        iter(DataLoader(load_dataset("FineWeb-Edu")["train"], batch_size=2))


def test_dataset_has_to_be_the_planned_one(accelerate: Accelerate) -> None:
    accelerate()
    with pytest.raises(ValueError, match=r"data\.dataset in the config"):
        load_dataset("c4")
