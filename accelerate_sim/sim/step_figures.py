"""The figures of steps that ``Run`` computes together: those of a block of steps, and those of one step."""

from dataclasses import dataclass

from accelerate_sim.sim.noise import Floats


@dataclass(frozen=True)
class StepBlock:
    """Figures of BLOCK consecutive steps; arrays over the steps."""

    index: int
    loss: Floats
    grad_norm: Floats
    lr: Floats
    step_s: Floats
    step_end_s: Floats
    load_balancing_loss: Floats | None
    """None for a model without experts."""


@dataclass(frozen=True, slots=True)
class StepTiming:
    """Time of a step, and the rates that follow from it."""

    seconds: float
    end_s: float
    """Seconds from the beginning of the first step to the end of this one."""
    tokens_per_s: float
    mfu: float


@dataclass(frozen=True, slots=True)
class FaultFacts:
    """The attempt that a run with faults is in, and the work that earlier ones have lost."""

    attempt: int
    """From 0."""
    lost_steps: int = 0
    lost_tokens: int = 0


@dataclass(frozen=True, slots=True)
class LossScaling:
    """The scale of an fp16 loss after a step."""

    scale: float
    skipped: bool
    """True if gradients overflowed, so that the optimizer left the weights as they were."""
