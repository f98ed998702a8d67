"""The lines of training programs whose loss or gradients are not finite, or not reproducible."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Final

VALIDATION_FAILED, RESUME_TO_DISAMBIGUATE = 17, 16
"""Exit codes of Megatron after a rerun has failed, and before a rerun on another GPU."""

NAN_LOSS: Final = "found NaN in local forward loss calculation"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of Megatron on one rank."""

    rank: int
    node: str
    device: int
    iteration: int

    @property
    def where(self) -> str:
        return f"Rank {self.rank}, node {self.node}, device {self.device}, iteration #{self.iteration}"


def unexpected(step: Step, value: float, message: str, *, invocation: int = 1) -> str:
    """Megatron's line about a result that its check rejects; the step is then run again."""
    where = f"rank {step.rank} at iteration #{step.iteration} invocation #{invocation}"
    return f"Unexpected result {value} on {where} (message='{message}')"


def first_rerun(step: Step, value: float, again: float) -> tuple[list[str], int]:
    """(lines, exit code) of Megatron after the first rerun of a rejected step, on the same GPU."""
    same = value == again or (math.isnan(value) and math.isnan(again))
    head = f"{step.where}: "
    if same:
        verdict = f"First rerun: unexpected result is reproducible within the tolerance ({value} = {again})."
        advice = "Need to rerun on a different GPU to verify correctness.!"
        leaving = (
            "Saving a checkpoint and exiting now. Please resume the job from the checkpoint to rerun the last "
            "iteration "
            "and establish a diagnostic"
        )
        return [f"{head}{verdict} {advice}", leaving], RESUME_TO_DISAMBIGUATE
    verdict = f"First rerun: unexpected result is not reproducible within the tolerance ({value} != {again})!"
    leaving = "Exiting now. The job can be resumed from a previous checkpoint"
    return [head + verdict, f"{head}Possible transient error!!", leaving], VALIDATION_FAILED


def second_rerun(step: Step, value: float, again: float) -> tuple[list[str], int]:
    """(lines, exit code) of Megatron after the rerun on another GPU; the code is 0 if the step was correct."""
    same = value == again or (math.isnan(value) and math.isnan(again))
    head, compared = f"{step.where}: ", f"({value} {'=' if same else '!='} {again})"
    if same:
        verdict = "Second rerun: unexpected result is reproducible on a different GPU, therefore it was likely correct"
        return [
            f"{head}{verdict} {compared}",
            f"{head}Correct result (but possible Application error) {compared}!",
        ], 0
    verdict = "Second rerun: unexpected result is not reproducible on a different GPU, therefore was likely incorrect"
    return [f"{head}{verdict} {compared}", f"{head}Possible persistent error!!"], VALIDATION_FAILED


def megatron_figure(value: float) -> str:
    """A loss as Megatron prints it: six decimals with exponent, ``NAN`` and ``INF`` in capitals."""
    return f"{value:.6E}"


def megatron_counts(skipped: int, nan: int) -> str:
    """The end of Megatron's iteration line: how many steps were skipped and how many were not finite."""
    return f"number of skipped iterations: {skipped:3d} | number of nan iterations: {nan:3d} |"


def deepspeed_overflow(time: datetime, scale: float, *, hysteresis: int = 1, line: int = 189) -> str:
    """DeepSpeed's line about a step whose fp16 gradients overflow: hysteresis ends first, then the scale halves."""
    head = f"[{time:%Y-%m-%d %H:%M:%S},{time.microsecond // 1000:03d}] [INFO] [loss_scaler.py:{line}:update_scale]"
    what = f"[deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: {int(scale)}"
    if hysteresis > 1:
        return f"{head} {what}, but hysteresis is {hysteresis}. Reducing hysteresis to {hysteresis - 1}"
    return f"{head} {what}, reducing to {int(scale / 2)}"


def trainer_log(loss: float, grad_norm: float, rate: float, epoch: float, *, hides_nan: bool = True) -> str:
    """The log line of Hugging Face's Trainer; by default a loss that is not finite is left out of the mean, so that
    0.0 is printed when no other was there."""
    shown = 0.0 if hides_nan and not math.isfinite(loss) else loss
    return str({"loss": shown, "grad_norm": grad_norm, "learning_rate": rate, "epoch": epoch})


def torchtitan_figures(loss: float, grad_norm: float) -> str:
    """Loss and gradient norm as torchtitan prints them."""
    return f"loss: {loss:8.5f}  grad_norm: {grad_norm:7.4f}"
