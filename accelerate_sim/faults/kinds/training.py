"""Kinds of fault of the training itself: nan, spike, overflow, sdc."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.faults.consequences import FaultyFigures, Truth
from accelerate_sim.faults.fault import Value
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import EVER, FaultSpan

MOST_LEAD = 3
"""Most steps by which the gradient norm rises before the loss."""
RECOVERIES = 5.0
"""Time constants of its recovery in the length of a spike: at its end less than a hundredth of it is left."""
SHARE_OF_DISTANCE = 0.9
"""Level on which a diverging loss settles: 0 is the loss before, 1 that of an untrained model."""
SDC_NORM = 30.0
"""Error of a rank's gradients over that of its loss: the backward pass carries it through all layers."""


def _strengths(strike: Occurrence, figures: FaultyFigures) -> NDArray[np.float64]:
    return np.array([strike.strength(int(step)) for step in figures.steps])


# --- nan --------------------------------------------------------------------------------------------


def _not_a_number(strike: Occurrence, figures: FaultyFigures) -> FaultyFigures:
    """The norm is that of all ranks' gradients; the loss is, too, unless single ranks are hit."""
    nan = _strengths(strike, figures) > 0.0
    all_ranks = strike.fault["what"] == "loss" and not strike.hit.ranks
    loss = np.where(nan, np.nan, figures.loss) if all_ranks else figures.loss
    return replace(figures, loss=loss, grad_norm=np.where(nan, np.nan, figures.grad_norm))


def _replicas(strike: Occurrence) -> list[int]:
    """The replicas of the model that the ranks which are hit belong to."""
    return sorted({int(strike.run.layout.data_rank(np.asarray(rank))) for rank in strike.hit.ranks})


def _nan_on_ranks(strike: Occurrence, step: int, losses: NDArray[Any]) -> NDArray[Any]:
    if strike.fault["what"] != "loss" or not strike.hit.ranks:
        return losses
    changed = losses.copy()
    changed[:, _replicas(strike)] = np.nan
    return changed


def _nan_expected(strike: Occurrence) -> Mapping[str, Any]:
    names = ("loss", "grad_norm") if strike.fault["what"] == "loss" else ("grad_norm",)
    last = min(strike.last_step, strike.run.last_step)
    return {"metrics": [{"name": name, "op": "is_nan", "steps": [strike.step, last]} for name in names]}


# --- spike ------------------------------------------------------------------------------------------


def _lead(strike: Occurrence) -> int:
    """Steps by which the gradient norm rises before the loss."""
    lead = strike.fault["lead"]
    assert isinstance(lead, int)
    return lead or 1 + min(int(strike.draw("lead") * MOST_LEAD), MOST_LEAD - 1)


def _number(strike: Occurrence, key: str) -> float:
    value = strike.fault[key]
    assert isinstance(value, int | float)
    return float(value)


def _spike(strike: Occurrence, figures: FaultyFigures) -> FaultyFigures:
    """The norm is highest in the first step and still raised as long as the loss is; the loss follows."""
    struck = _strengths(strike, figures) > 0.0
    since = figures.steps - strike.step
    height, norm, lead = _number(strike, "factor"), _number(strike, "norm"), _lead(strike)
    steps = strike.fault.lasts.steps or 40
    decay = np.exp(-np.maximum(since - lead, 0) * RECOVERIES / max(steps - lead, 1))
    printed = strike.run.printed
    if strike.fault["diverge"]:
        flat = SHARE_OF_DISTANCE * math.log(strike.run.model.architecture.vocab)
        far = np.maximum(flat, figures.loss * height)
        loss = np.where(since >= lead, figures.loss + (far - figures.loss) * (1.0 - np.exp(-(since - lead + 1) / 3)),
                        figures.loss)  # fmt: skip
        raised = norm ** np.where(since < lead, 1.0, 0.5)
    else:
        loss = np.where(since >= lead, figures.loss * (1.0 + (height - 1.0) * decay), figures.loss)
        raised = norm ** np.where(since < lead, 1.0, 0.5 * decay)
    return replace(
        figures,
        loss=np.where(struck, printed.loss(loss), figures.loss),
        grad_norm=np.where(struck, printed.norm(figures.grad_norm * raised), figures.grad_norm),
    )


def _spike_length(params: Mapping[str, Value]) -> FaultSpan | None:
    return EVER if params["diverge"] else None


def _spike_expected(strike: Occurrence) -> Mapping[str, Any]:
    lead, factor = _lead(strike), _number(strike, "factor")
    return {
        "metrics": [
            {"name": "grad_norm", "op": "rises_by", "value": _number(strike, "norm"), "steps": [strike.step] * 2},
            {"name": "loss", "op": "rises_by", "value": factor, "steps": [strike.step + lead] * 2},
        ],
        "recovers_after_step": None if strike.fault["diverge"] else strike.last_step,
    }


# --- overflow ---------------------------------------------------------------------------------------


def _overflow(strike: Occurrence, figures: FaultyFigures) -> FaultyFigures:
    return replace(figures, grad_norm=np.where(_strengths(strike, figures) > 0.0, np.inf, figures.grad_norm))


def _overflow_length(params: Mapping[str, Value]) -> FaultSpan:
    count = params["count"]
    assert isinstance(count, int)
    return FaultSpan(steps=count)


def _halved(strike: Occurrence, step: int) -> float:
    """The scale is halved by each step that is skipped."""
    return float(0.5 ** min(max(step - strike.step + 1, 0), int(_number(strike, "count"))))


def _overflow_expected(strike: Occurrence) -> Mapping[str, Any]:
    last = min(strike.last_step, strike.run.last_step)
    return {"metrics": [{"name": "skipped", "op": "eq", "value": True, "steps": [strike.step, last]}]}


# --- sdc --------------------------------------------------------------------------------------------


def _wrong_digits(strike: Occurrence, step: int, losses: NDArray[Any]) -> NDArray[Any]:
    """Each micro-batch of the rank's replica is off by up to the size, as other products go wrong each time."""
    from accelerate_sim.sim import noise

    changed = losses.copy()
    size = _number(strike, "size") * strike.strength(step)
    for replica in _replicas(strike):
        draws = noise.uniform(strike.seed, "sdc", step, range(len(losses)))
        changed[:, replica] *= 1.0 + size * (0.5 + draws / 2.0)
    return changed


def _wrong_norm(strike: Occurrence, figures: FaultyFigures) -> FaultyFigures:
    """The norm of all ranks' gradients grows by the rank's share of its error."""
    error = _number(strike, "size") * SDC_NORM / strike.run.layout.data * len(_replicas(strike))
    raised = figures.grad_norm * (1.0 + error * _strengths(strike, figures))
    return replace(figures, grad_norm=strike.run.printed.norm(raised))


def _sdc_expected(strike: Occurrence) -> Mapping[str, Any]:
    return {"metrics": [{"name": "loss", "of": "rank", "ranks": list(strike.hit.ranks), "op": "differs_by",
                         "value": _number(strike, "size")}]}  # fmt: skip


KINDS = (
    FaultKind(
        name="nan", help="the loss, or the gradients alone, are not a number for some steps; on one rank first, or all",
        targets=("job", "rank"),
        target="job",
        keys={"what": Key("word", "loss", "The figure that is not a number.", ("loss", "grad"))},
        lasts=FaultSpan(steps=1), figures=_not_a_number, micro_losses=_nan_on_ranks,
        truth=Truth("numeric", action="none"), expect=_nan_expected,
    ),
    FaultKind(
        name="spike", help="the gradient norm jumps, the loss follows one to three steps later, and recovers or never",
        targets=("job",),
        target="job",
        keys={
            "factor": Key("float", 2.5, "Loss at its highest, over the usual.", least=1.0, most=50.0),
            "norm": Key("float", 100.0, "Gradient norm at its highest, over the usual.", least=1.0, most=1e6),
            "lead": Key("int", 0, "Steps by which the norm rises before the loss; 0: 1 to 3, drawn.", least=0, most=20),
            "diverge": Key("switch", False, "The loss never comes back, whatever 'for' says."),
        },
        lasts=FaultSpan(steps=40), lasts_by=_spike_length, figures=_spike, truth=Truth("numeric", action="none"),
        expect=_spike_expected,
    ),
    FaultKind(
        name="overflow", help="gradients are too large for fp16: steps are skipped, and each halves the loss scale",
        targets=("job",),
        target="job",
        keys={"count": Key("int", 3, "Steps in a row that are skipped.", least=1, most=40)},
        lasts=FaultSpan(steps=3), lasts_by=_overflow_length, figures=_overflow, loss_scale=_halved,
        truth=Truth("numeric", action="none"), expect=_overflow_expected,
    ),
    FaultKind(
        name="sdc", help="a GPU computes wrong digits without an error: one rank's loss is off",
        targets=("gpu", "rank"),
        target="gpu=any",
        keys={"size": Key("float", 1e-3, "Error of the rank's loss, as a share of it.", least=1e-9, most=1.0)},
        lasts=EVER, figures=_wrong_norm, micro_losses=_wrong_digits,
        truth=Truth("gpu", transient=False, action="replace_node", quiet=True), expect=_sdc_expected,
    ),
)  # fmt: skip
