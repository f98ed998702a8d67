"""Methods of ``Accelerator`` for gradients of a user's own models, and the contexts in which they are made.

These methods compute no gradients. ``backward`` calls the loss's own ``backward()`` if it has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn

from accelerate_sim.own_script import objects as own_objects
from accelerate_sim.own_script.prepared_objects import PreparedObjects


class ScriptGradients(PreparedObjects):
    """The part of ``Accelerator`` that averages and limits gradients."""

    _unaveraged = 0
    """Contexts of ``no_sync`` that are open."""

    @contextmanager
    def autocast(self, autocast_handler: Any = None) -> Iterator[None]:
        """Context of a forward pass: a simulated model computes in ``mixed_precision`` anyway, numpy in its dtypes."""
        yield

    @contextmanager
    def no_sync(self, model: Any) -> Iterator[None]:
        """Context in which ``backward`` does not average gradients over the ranks."""
        self._unaveraged += 1
        try:
            with model.no_sync() if callable(getattr(model, "no_sync", None)) else nullcontext():
                yield
        finally:
            self._unaveraged -= 1

    @contextmanager
    def join_uneven_inputs(self, joinables: Any, even_batches: bool | None = None) -> Iterator[None]:
        """Context in which prepared loaders have other ``even_batches``.

        ValueError for False with several ranks: one that has run out of batches does not take part in the collectives
        of the others.
        """
        if even_batches is False and self.state.use_distributed:
            raise ValueError(
                "join_uneven_inputs(even_batches=False): a rank without a batch would keep the others waiting in "
                "their collectives. Leave even_batches as it is, and use gather_for_metrics"
            )
        before = [(loader, loader.even_batches) for loader in self._dataloaders if hasattr(loader, "even_batches")]
        for loader, even in before:
            loader.even_batches = even if even_batches is None else even_batches
        try:
            yield
        finally:
            for loader, even in before:
                loader.even_batches = even

    def profile(self, profile_handler: Any = None) -> NoReturn:
        """Not simulated: raises NotImplementedError, which names the place where the time of a step is shown."""
        raise NotImplementedError("profile: no kernels run here. A run's --plan shows where the time of a step goes")

    # --- Gradients ------------------------------------------------------------------------------

    def _backward_of_own_models(self, loss: Any, **kwargs: Any) -> None:
        if callable(getattr(loss, "backward", None)):
            (loss / self.gradient_state.num_steps).backward(**kwargs)
        averaged = self.gradient_state.sync_gradients or self.gradient_state.sync_each_batch
        if averaged and not self._unaveraged and self.state.use_distributed:
            own_objects.average_gradients(self._models)

    def clip_grad_value_(self, parameters: Any, clip_value: float) -> None:
        """Limit each element of the gradients. ValueError for a simulated model, whose gradients have a norm alone."""
        self._require_gradients(parameters)
        if self.gradient_state.sync_gradients:
            own_objects.clip_values(own_objects.with_gradients(parameters), clip_value)

    @staticmethod
    def _require_gradients(parameters: Any) -> None:
        first = next(iter(parameters), None) if not hasattr(parameters, "grad") else None
        if isinstance(first, str):
            raise ValueError("gradients of a simulated model have a norm and no elements: use clip_grad_norm_")

    def unscale_gradients(self, optimizer: Any = None) -> None:
        """Leave the gradients as they are: losses are not scaled, in any precision."""

    @property
    def optimizer_step_was_skipped(self) -> bool:
        """False: no gradient is too large for a loss scale."""
        return any(optimizer.step_was_skipped for optimizer in self._optimizers)
