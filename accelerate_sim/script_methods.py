"""Methods of ``Accelerator`` for a user's own objects: gathering, triggers, gradients, and what is prepared.

What these methods do not do: compute gradients. ``backward`` calls the loss's own ``backward()`` if it has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from accelerate_sim import own_objects
from accelerate_sim.gradient_state import Accumulation, GradientState
from accelerate_sim.logging import get_logger
from accelerate_sim.script_settings import ScriptSettings

if TYPE_CHECKING:
    from accelerate_sim.state import AcceleratorState

logger = get_logger(__name__)

WITHOUT_MEANING = {
    "scaler": "losses are not scaled here, in any precision",
    "deepspeed_plugin": "parallel.sharding in the config of the run says how the model is spread",
    "fp8_backend": "train.precision and train.stack in the config of the run say so",
    "parallelism_config": "the section parallel in the config of the run says how ranks are arranged",
    "torch_device_mesh": "fake_torch_dist.init_device_mesh makes one",
    "verify_device_map": "a simulated model is not dispatched over devices",
    "maybe_context_parallel": "parallel.context in the config of the run says so",
    "deepspeed_ulysses_dl_adapter": "parallel.context in the config of the run says so",
    "lomo_backward": "the optimizer LOMO is not simulated",
}
"""Accelerate's names that mean nothing here, and the reason or what there is in place of it."""


class ScriptMethods:
    """The part of ``Accelerator`` that does not need to know the run."""

    settings: ScriptSettings
    state: AcceleratorState
    gradient_state: GradientState
    step_context: Accumulation
    trackers: list[Any]

    def _keep_track_of_own_objects(self) -> None:
        """Begin with nothing prepared."""
        self._models: list[Any] = []
        self._optimizers: list[Any] = []
        self._schedulers: list[Any] = []
        self._dataloaders: list[Any] = []
        self._custom_objects: list[Any] = []
        self._triggered = False
        self._unaveraged = 0

    def __getattr__(self, name: str) -> NoReturn:
        if name in WITHOUT_MEANING:
            raise AttributeError(f"Accelerator.{name} has no meaning here: {WITHOUT_MEANING[name]}")
        raise AttributeError(f"accelerate_sim's Accelerator has no {name!r}")

    # --- Collectives ----------------------------------------------------------------------------

    def gather(self, tensor: Any) -> Any:
        """Tensors of all ranks one after the other, on every rank; also in nested lists, tuples and dicts."""
        from accelerate_sim import gathering

        return gathering.gather(tensor)

    def gather_for_metrics(self, input_data: Any, use_gather_object: bool = False) -> Any:
        """As ``gather``, or ``gather_object`` where something is no tensor, without repetitions in the last batch."""
        from accelerate_sim import gathering

        if not use_gather_object:
            try:
                gathering.recursively_apply(lambda each: each, input_data, error_on_other_type=True)
            except TypeError:
                use_gather_object = True
        data = gathering.gather_object(input_data) if use_gather_object else gathering.gather(input_data)
        remainder = self.gradient_state.remainder
        if not self.gradient_state.end_of_dataloader or remainder == 0:
            return data
        if remainder < 0:
            logger.info("The used dataset had no length, returning gathered tensors. Drop the remainder yourself.")
            return data
        if use_gather_object:
            return data[:remainder]
        return gathering.recursively_apply(lambda tensor: tensor[:remainder], data)

    def pad_across_processes(self, tensor: Any, dim: int = 0, pad_index: float = 0, pad_first: bool = False) -> Any:
        """Tensors as long along ``dim`` as the longest one of any rank."""
        from accelerate_sim import gathering

        return gathering.pad_across_processes(tensor, dim=dim, pad_index=pad_index, pad_first=pad_first)

    def set_trigger(self) -> None:
        """Raise a flag that ``check_trigger`` finds on every rank."""
        self._triggered = True

    def check_trigger(self) -> bool:
        """True on all ranks if the flag is raised on one of them; it is lowered then."""
        from accelerate_sim import gathering

        triggered = bool(gathering.gather(np.array([self._triggered], np.int64)).any())
        if triggered:
            self._triggered = False
        return triggered

    # --- Contexts -------------------------------------------------------------------------------

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
        """Not simulated: NotImplementedError, which says where the time of a step is shown."""
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

    # --- What is prepared -----------------------------------------------------------------------

    def _prepare_own(self, thing: Any) -> Any:
        """A user's own object as ``prepare`` returns it."""
        if own_objects.is_optimizer(thing):
            return self.prepare_optimizer(thing)
        if own_objects.is_scheduler(thing):
            return self.prepare_scheduler(thing)
        if own_objects.is_loader(thing):
            return self.prepare_data_loader(thing)
        return self.prepare_model(thing) if own_objects.is_model(thing) else thing

    def prepare_model(self, model: Any, device_placement: bool | None = None, evaluation_mode: bool = False) -> Any:
        """The model itself; unless it is for evaluation, its gradients are averaged after ``backward``."""
        if not evaluation_mode and not any(each is model for each in self._models):
            self._models.append(model)
        return model

    def prepare_optimizer(self, optimizer: Any, device_placement: bool | None = None) -> Any:
        """The optimizer, wrapped so that it steps when gradients are whole."""
        if not isinstance(optimizer, own_objects.AcceleratedOptimizer):
            optimizer = own_objects.AcceleratedOptimizer(optimizer)
        self._optimizers.append(optimizer)
        return optimizer

    def prepare_scheduler(self, scheduler: Any) -> Any:
        """The scheduler, wrapped so that it counts the batches of all ranks."""
        if not isinstance(scheduler, own_objects.AcceleratedScheduler):
            scheduler = own_objects.AcceleratedScheduler(
                scheduler,
                num_processes=self.state.num_processes,
                split_batches=self.settings.loaders.split_batches,
                step_with_optimizer=self.settings.step_scheduler_with_optimizer,
            )
        self._schedulers.append(scheduler)
        return scheduler

    def prepare_data_loader(
        self, data_loader: Any, device_placement: bool | None = None, slice_fn_for_dispatch: Any = None
    ) -> Any:
        """The loader, wrapped so that each rank reads its share."""
        from accelerate_sim.sharded_loader import DataLoaderShard

        if not isinstance(data_loader, DataLoaderShard):
            loaders = self.settings.loaders
            data_loader = DataLoaderShard(
                data_loader, split_batches=loaders.split_batches, even_batches=loaders.even_batches
            )
        self._dataloaders.append(data_loader)
        return data_loader

    def free_memory(self, *objects: Any) -> list[None]:
        """Forget all that has been prepared. Returns None for each object, to be assigned in place of it."""
        from accelerate_sim.utils.memory import release_memory

        for held in (self._models, self._optimizers, self._schedulers, self._dataloaders):
            held.clear()
        self.step_context.step = 0
        return release_memory(*objects)

    clear = free_memory

    def get_state_dict(self, model: Any, unwrap: bool = True) -> Any:
        """The model's ``state_dict()``. ValueError for a simulated model, whose weights have no values."""
        if not callable(getattr(model, "state_dict", None)):
            raise ValueError(
                f"{type(model).__name__} has no state_dict(): the weights of a simulated model have no values; "
                "export_model writes files of their true size"
            )
        return model.state_dict()

    # --- Settings -------------------------------------------------------------------------------

    @property
    def split_batches(self) -> bool:
        """True if a batch is cut among the ranks."""
        return self.settings.loaders.split_batches

    @property
    def even_batches(self) -> bool:
        """True if ranks that have run out of batches get the first ones again."""
        return self.settings.loaders.even_batches

    @even_batches.setter
    def even_batches(self, even_batches: bool) -> None:
        self.settings.loaders.even_batches = even_batches

    @property
    def dispatch_batches(self) -> bool | None:
        """None: each rank reads its own batches."""
        return self.settings.loaders.dispatch_batches

    @property
    def use_seedable_sampler(self) -> bool:
        """As the script has set it; shuffled samples always are in one order on all ranks."""
        return self.settings.loaders.use_seedable_sampler

    @property
    def non_blocking(self) -> bool:
        """As the script has set it; nothing is copied to a device here."""
        return self.settings.loaders.non_blocking

    @property
    def device_placement(self) -> bool:
        """As the script has set it; each rank's tensors are in its memory."""
        return self.settings.device_placement

    @property
    def step_scheduler_with_optimizer(self) -> bool:
        """True if schedulers step when the optimizer does."""
        return self.settings.step_scheduler_with_optimizer

    @property
    def step(self) -> int:
        """Micro-batches that ``accumulate`` has counted since a loader's end."""
        return self.step_context.step
