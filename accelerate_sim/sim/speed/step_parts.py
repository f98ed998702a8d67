"""Seconds of a step and of a layer, by cause."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepParts:
    """The seconds of one optimizer step by cause; their sum is the step."""

    matmul: float
    attention: float
    elementwise: float
    recompute: float
    tensor_comm: float
    context_comm: float
    expert_comm: float
    pipeline_comm: float
    pipeline_bubble: float
    data_comm: float
    optimizer: float
    launch: float
    other: float

    @property
    def total(self) -> float:
        return sum(self.parts().values())

    @property
    def computing(self) -> float:
        """Seconds in which the tensor cores work."""
        return self.matmul + self.attention + self.recompute

    def parts(self) -> dict[str, float]:
        return dict(vars(self))


@dataclass(frozen=True)
class LayerTimes:
    """Seconds of one layer for one micro-batch, in one direction."""

    matmul: float
    attention: float
    elementwise: float
    tensor_comm: float
    context_comm: float
    expert_comm: float
    stall: float
    """Waiting for the host: kernels are shorter than their launches, or tokens have to be counted."""

    @property
    def total(self) -> float:
        return float(sum(vars(self).values()))

    def parts(self) -> dict[str, float]:
        return dict(vars(self))
