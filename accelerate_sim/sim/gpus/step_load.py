"""Power and clocks of all GPUs in steps, by the stage of the batch's ramp that a step belongs to."""

from collections.abc import Callable
from typing import NamedTuple, Self

from accelerate_sim.sim.gpus.activity import drawn_w
from accelerate_sim.sim.gpus.chips import Chips
from accelerate_sim.sim.noise import Floats

STAGES_KEPT = 12
"""Stages of the ramp that are cached: a sample depends on the last few minutes only."""


class Load(NamedTuple):
    """Watts of each GPU at work, and its clock over its maximum; arrays are [GPUs]."""

    power_w: Floats
    clocks: Floats

    @classmethod
    def of(cls, chips: Chips, power_share: float) -> Self:
        """The load of work that takes this share of the dynamic power, within each chip's limits of power and clock."""
        wanted_w = drawn_w(chips.gpu, power_share)
        return cls(chips.allowed_w(wanted_w), chips.shown_clocks(wanted_w))


class StepLoads:
    """The loads of the stages of a batch's ramp; ``power_share`` gives the dynamic power that a stage wants."""

    def __init__(self, chips: Chips, power_share: Callable[[int], float], whole: int) -> None:
        self._chips, self._power_share, self._whole = chips, power_share, whole
        self.whole = Load.of(chips, power_share(whole))
        """The load with the whole global batch, which is the last stage."""
        self._kept: dict[int, Load] = {}
        self._mean_w: dict[int, float] = {}

    def at(self, stage: int) -> Load:
        """Power and clocks in a step of this stage."""
        if stage == self._whole:
            return self.whole
        if stage not in self._kept:
            if len(self._kept) >= STAGES_KEPT:
                self._kept.clear()
            self._kept[stage] = Load.of(self._chips, self._power_share(stage))
        return self._kept[stage]

    def mean_w(self, stage: int) -> float:
        """Mean watts over the GPUs in a step of this stage."""
        if stage not in self._mean_w:
            self._mean_w[stage] = float(self.at(stage).power_w.mean())
        return self._mean_w[stage]
