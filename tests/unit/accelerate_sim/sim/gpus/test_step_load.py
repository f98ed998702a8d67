"""Loads of the stages of a batch's ramp."""

from __future__ import annotations

import numpy as np

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.gpus.step_load import STAGES_KEPT, Load, StepLoads
from accelerate_sim.sim.run import Run


def test_each_stage_has_the_load_that_its_work_wants_and_few_are_kept() -> None:
    """The whole batch's is there from the start; the mean is that of all GPUs."""
    chips = Run(RunConfig()).chips
    asked: list[int] = []

    def share(stage: int) -> float:
        asked.append(stage)
        return 0.3 + 0.6 * stage / 40

    loads = StepLoads(chips, share, 40)
    assert asked == [40]
    for stage in (3, 3, 40):
        own = Load.of(chips, 0.3 + 0.6 * stage / 40)
        assert np.array_equal(loads.at(stage).power_w, own.power_w)
        assert np.array_equal(loads.at(stage).clocks, own.clocks)
    assert asked == [40, 3]
    assert loads.mean_w(3) < loads.mean_w(40)
    for stage in (*range(STAGES_KEPT + 1), 3):
        loads.at(stage)
    assert asked.count(3) == 2
