"""Optimizers, schedulers, models and loaders that are a user's own: recognised by what they can do, never written to.

``prepare`` wraps an optimizer and a scheduler, so that they step when gradients are whole, and a loader, so that each
rank reads its share. Models stay what they are. Gradients of a model whose parameters have ``grad`` are averaged over
the ranks after ``backward``, as DistributedDataParallel does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from accelerate_sim.own_script.gradient_state import GradientState

CONTAINERS = (str, bytes, list, tuple, dict, set, frozenset, range, np.ndarray)
"""Things that can be iterated over and are data, not loaders of it."""


def is_optimizer(thing: Any) -> bool:
    """True for an object with the methods ``step`` and ``zero_grad``."""
    return hasattr(thing, "step") and hasattr(thing, "zero_grad")


def is_scheduler(thing: Any) -> bool:
    """True for what steps and is no optimizer."""
    return hasattr(thing, "step") and not hasattr(thing, "zero_grad")


def is_loader(thing: Any) -> bool:
    """True for an object with an iterator that is neither a container, a class, nor a model."""
    return (
        hasattr(thing, "__iter__")
        and not isinstance(thing, CONTAINERS)
        and not isinstance(thing, type)
        and not is_model(thing)
    )


def is_model(thing: Any) -> bool:
    """True for what is called with a batch or has parameters."""
    return not isinstance(thing, type) and (hasattr(thing, "parameters") or callable(thing))


class AcceleratedOptimizer:
    """An optimizer that steps, and clears gradients, only in the last micro-batch of a step.

    Other attributes are those of ``optimizer``.
    """

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self.gradient_state = GradientState()
        self.step_was_skipped = False
        """Always False: there is no loss scaler that finds gradients too large."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "optimizer":
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """Update the parameters, unless gradients are still being accumulated."""
        if self.gradient_state.sync_gradients:
            return self.optimizer.step(*args, **kwargs)
        return None

    def zero_grad(self, *args: Any, **kwargs: Any) -> Any:
        """Clear the gradients, unless they are still being accumulated."""
        if self.gradient_state.sync_gradients:
            return self.optimizer.zero_grad(*args, **kwargs)
        return None


class AcceleratedScheduler:
    """A scheduler that counts the batches of all ranks: one step of the optimizer is a step for each rank.

    Other attributes are those of ``scheduler``.
    """

    def __init__(self, scheduler: Any, *, num_processes: int, split_batches: bool, step_with_optimizer: bool) -> None:
        self.scheduler = scheduler
        self.gradient_state = GradientState()
        self.step_with_optimizer = step_with_optimizer
        self._steps = 1 if split_batches else num_processes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "scheduler":
            raise AttributeError(name)
        return getattr(self.scheduler, name)

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Move on, unless gradients are still being accumulated; not beyond the ``total_steps`` that it may have."""
        scheduler = self.scheduler
        if not self.step_with_optimizer:
            scheduler.step(*args, **kwargs)
        elif self.gradient_state.sync_gradients:
            for _ in range(self._steps):
                total = getattr(scheduler, "total_steps", None)
                if total is None or getattr(scheduler, "_step_count", 0) <= total:
                    scheduler.step(*args, **kwargs)
        elif self.gradient_state.adjust_scheduler and hasattr(scheduler, "_step_count"):
            scheduler._step_count += 1


# --- Gradients ----------------------------------------------------------------------------------


def parameters_of(models: Iterable[Any]) -> Iterator[Any]:
    """Parameters that can have gradients, of all these models."""
    for model in models:
        if callable(getattr(model, "parameters", None)):
            yield from (parameter for parameter in model.parameters() if hasattr(parameter, "grad"))


def average_gradients(models: Iterable[Any]) -> None:
    """Replace each gradient by its mean over the ranks."""
    from accelerate_sim.own_script.gathering import reduce

    for parameter in parameters_of(models):
        if parameter.grad is not None:
            parameter.grad = reduce(parameter.grad, reduction="mean")


def average_parameters(models: Iterable[Any]) -> None:
    """Replace the value of each parameter, its ``data``, by the mean over the ranks. ValueError without parameters."""
    from accelerate_sim.own_script.gathering import reduce

    averaged = False
    for parameter in parameters_of(models):
        if hasattr(parameter, "data"):
            parameter.data = reduce(parameter.data, reduction="mean")
            averaged = True
    if not averaged:
        raise ValueError("the model has no parameters with data, which could be averaged over the ranks")


def with_gradients(parameters: Any) -> list[Any]:
    """The parameters that have gradients now; a single parameter counts as one."""
    several = [parameters] if hasattr(parameters, "grad") else parameters
    return [parameter for parameter in several if getattr(parameter, "grad", None) is not None]


def clip_norm(parameters: list[Any], max_norm: float, norm_type: float = 2.0) -> Any:
    """Scale the gradients together to at most ``max_norm``, rank by rank; returns the norm that they had."""
    powers = [(abs(parameter.grad) ** norm_type).sum() for parameter in parameters]
    if norm_type == float("inf"):
        largest = [abs(parameter.grad).max() for parameter in parameters]
        norm = largest[0]
        for each in largest[1:]:
            norm = np.maximum(norm, each)
    else:
        norm = sum(powers[1:], start=powers[0]) ** (1.0 / norm_type)
    scale = np.minimum(max_norm / (norm + 1e-6), 1.0)
    for parameter in parameters:
        parameter.grad = parameter.grad * _for_each_element(scale, parameter.grad)
    return norm


def _for_each_element(scale: Any, gradient: Any) -> Any:
    """A rank's number with as many axes as its gradient has."""
    return scale.unsqueezed_to(gradient.ndim) if hasattr(scale, "unsqueezed_to") else scale


def clip_values(parameters: list[Any], clip_value: float) -> None:
    """Limit each element of the gradients to [-clip_value, clip_value]."""
    for parameter in parameters:
        parameter.grad = np.clip(parameter.grad, -clip_value, clip_value)
