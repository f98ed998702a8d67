"""Methods of ``Accelerator`` that prepare a user's own objects, and keep them until ``free_memory``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accelerate_sim.own_script import objects as own_objects
from accelerate_sim.own_script.gradient_state import CountedAccumulation, GradientState
from accelerate_sim.own_script.settings import ScriptSettings

if TYPE_CHECKING:
    from accelerate_sim.state import AcceleratorState


class PreparedObjects:
    """The part of ``Accelerator`` that keeps the models, optimizers, schedulers and loaders of a user."""

    if TYPE_CHECKING:

        @property
        def settings(self) -> ScriptSettings: ...

    state: AcceleratorState
    gradient_state: GradientState
    step_context: CountedAccumulation

    def _keep_track_of_own_objects(self) -> None:
        """Begin with nothing prepared."""
        self._models: list[Any] = []
        self._optimizers: list[Any] = []
        self._schedulers: list[Any] = []
        self._dataloaders: list[Any] = []
        self._custom_objects: list[Any] = []

    @property
    def step(self) -> int:
        """Micro-batches that ``accumulate`` has counted since a loader's end."""
        return self.step_context.step

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
        from accelerate_sim.own_script.sharded_loader import DataLoaderShard

        if not isinstance(data_loader, DataLoaderShard):
            loaders = self.settings.loaders
            data_loader = DataLoaderShard(
                data_loader, split_batches=loaders.split_batches, even_batches=loaders.even_batches
            )
        self._dataloaders.append(data_loader)
        return data_loader

    def free_memory(self, *objects: Any) -> list[None]:
        """Drop all that has been prepared. Returns None for each object, to be assigned in place of it."""
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
