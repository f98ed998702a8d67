"""Which checkpoints go."""

from __future__ import annotations

from accelerate_sim.checkpoints.kept import Saved, superseded
from accelerate_sim.config.sections.output import CheckpointConfig


def names(saved: list[Saved], **keys: int) -> list[str]:
    return [one.name for one in superseded(saved, CheckpointConfig(every=10, **keys))]


def checkpoints(*losses: float | None) -> list[Saved]:
    return [Saved(f"checkpoint-{10 * number}", loss) for number, loss in enumerate(losses, 1)]


def test_the_newest_are_kept() -> None:
    assert names(checkpoints(None, None, None, None), keep_last=3) == ["checkpoint-10"]
    assert names(checkpoints(None), keep_last=3) == []


def test_the_best_of_the_older_are_kept_too() -> None:
    saved = checkpoints(2.0, 1.0, 1.5, None, 3.0)
    assert names(saved, keep_last=1, keep_best=2) == ["checkpoint-10", "checkpoint-40"]
    assert names(saved, keep_last=1, keep_best=0) == [f"checkpoint-{step}" for step in (10, 20, 30, 40)]


def test_one_made_before_the_end_goes_with_the_next_and_pushes_none_out() -> None:
    told = Saved("checkpoint-25", None)
    assert names([*checkpoints(None, None), told], keep_last=2) == []
    assert names([*checkpoints(None, None), told, Saved("checkpoint-30", None)], keep_last=2) == [
        "checkpoint-10", "checkpoint-25",
    ]  # fmt: skip
