"""Which checkpoints are kept. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from accelerate_sim.config.schema import CheckpointConfig


class Saved(NamedTuple):
    """A checkpoint: its name, and the loss of the validation before it, if there was one."""

    name: str
    loss: float | None

    @property
    def step(self) -> int:
        return int(self.name.rpartition("-")[2])


def superseded(saved: Sequence[Saved], config: CheckpointConfig) -> list[Saved]:
    """Those, the oldest first, that are neither among the newest ``keep_last`` nor among the best ``keep_best``.

    One that was saved because the process was told to end does not count, and goes as soon as there is a newer one.
    """
    planned = [one for one in saved if config.every and one.step % config.every == 0]
    validated = sorted((one.loss, -one.step, one) for one in planned if one.loss is not None)
    kept = {*planned[-config.keep_last :], *(one for _, _, one in validated[: config.keep_best]), *saved[-1:]}
    return [one for one in saved if one not in kept]
