"""``Accelerator``: the object that a training script works with, under Hugging Face Accelerate's names.

What it does not do: hold weights or gradients. Its figures come from the run (``sim/``), its time from the session's
clock, and its collectives are those of ``fake_torch_dist``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from accelerate_sim import training_progress
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.own_script import gradient_state
from accelerate_sim.own_script.collectives import ScriptCollectives
from accelerate_sim.own_script.gradient_state import GradientState
from accelerate_sim.own_script.gradients import ScriptGradients
from accelerate_sim.own_script.names_without_meaning import NamesWithoutMeaning
from accelerate_sim.own_script.objects import clip_norm, with_gradients
from accelerate_sim.own_script.process_properties import ProcessProperties
from accelerate_sim.own_script.run_position import RunPosition
from accelerate_sim.own_script.setting_properties import SettingProperties
from accelerate_sim.own_script.settings import ScriptSettings, refuse_other_plans, settings
from accelerate_sim.own_script.simulated_objects import is_simulated
from accelerate_sim.session.session import Session
from accelerate_sim.state import AcceleratorState, PartialState

if TYPE_CHECKING:
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.utils.dataclasses import (
        DataLoaderConfiguration,
        GradientAccumulationPlugin,
        KwargsHandler,
        ProjectConfiguration,
    )

T = TypeVar("T")


@dataclass(frozen=True)
class RunKwargs:
    """The config of the run, for ``Accelerator(kwargs_handlers=[...])``."""

    config: RunConfig


class Accelerator(
    ProcessProperties, ScriptCollectives, ScriptGradients, RunPosition, SettingProperties, NamesWithoutMeaning
):
    """Runs a script on all ranks of the planned cluster.

    With ``RunKwargs`` the script follows the config of a run. Without, it is a user's own: it brings its own objects,
    writes its own checkpoints, and sets itself how many micro-batches make a step.
    """

    def __init__(
        self,
        device_placement: bool = True,
        split_batches: bool | None = None,
        mixed_precision: str | None = None,
        gradient_accumulation_steps: int | None = None,
        cpu: bool = False,
        dataloader_config: DataLoaderConfiguration | None = None,
        log_with: Any = None,
        project_dir: str | Path | None = None,
        project_config: ProjectConfiguration | None = None,
        gradient_accumulation_plugin: GradientAccumulationPlugin | None = None,
        step_scheduler_with_optimizer: bool = True,
        kwargs_handlers: Sequence[RunKwargs | KwargsHandler] | None = None,
        rng_types: Sequence[str] | None = None,
        **of_the_config: Any,
    ) -> None:
        if not isinstance(kwargs_handlers, Sequence | None):
            raise TypeError(f"kwargs_handlers is a list of handlers, not {type(kwargs_handlers).__name__}")
        handlers = list(kwargs_handlers or ())
        config = next((handler.config for handler in handlers if isinstance(handler, RunKwargs)), None)
        self.session = Session.current()
        config = config or PartialState.planned_config()
        self.own_script = config is None
        """True if the script follows no config."""
        others = [handler for handler in handlers if not isinstance(handler, RunKwargs)]
        self._make_settings = partial(
            settings, mixed_precision=mixed_precision if self.own_script else None,
            gradient_accumulation_steps=gradient_accumulation_steps,
            gradient_accumulation_plugin=gradient_accumulation_plugin, dataloader_config=dataloader_config,
            split_batches=split_batches, project_dir=project_dir, project_config=project_config,
            step_scheduler_with_optimizer=step_scheduler_with_optimizer, device_placement=device_placement, cpu=cpu,
            handlers=others, refused=of_the_config,
        )  # fmt: skip
        if others or of_the_config or dataloader_config or gradient_accumulation_plugin:
            _ = self.settings  # which refuses what is not simulated
        self._keep_track_of_own_objects()
        self._keep_no_files_yet(log_with if self.own_script else None)
        self._prepared = []
        self._connected = False
        directory = Path(project_dir) if project_dir else None
        if config is None:
            self.active = self._begin_script_run(directory)
        else:
            asked = (mixed_precision, gradient_accumulation_steps, log_with)
            self.active = self._begin_planned_run(config, directory, *asked)
        self.run = self.active.run
        self.clock = self.session.clock
        self.state = AcceleratorState(cpu=cpu)
        self.state.set_precision(config.train.precision if config else self.settings.precision)
        self._progress = self.active.progress
        self.gradient_state = GradientState(self.settings.accumulation if self.own_script else None)
        self.gradient_state.follow(self._progress)
        self.step_context = gradient_state.CountedAccumulation(self.gradient_state)
        planned = training_progress.Accumulation(self._progress)
        self._accumulation = self.step_context if self.own_script else planned

    @cached_property
    def settings(self) -> ScriptSettings:
        """The arguments that a user's own objects follow. Making them takes time, and a planned run reads none."""
        return self._make_settings()

    def _begin_script_run(self, project_dir: Path | None) -> ActiveRun:
        from accelerate_sim.session.script_run import begin_script_run

        precision, num_steps = self.settings.precision, self.settings.accumulation.num_steps or 1
        AcceleratorState().refuse_other_precision(precision)
        return begin_script_run(self.session, precision, num_steps, project_dir)

    def _begin_planned_run(self, config: RunConfig, project_dir: Path | None, *asked: Any) -> ActiveRun:
        from accelerate_sim.session.begin_run import begin_run

        planned = self.session.runs.planned(config)
        refuse_other_plans(planned.plan, *asked)
        return begin_run(self.session, planned, project_dir)

    # --- The training loop ----------------------------------------------------------------------

    @property
    def sync_gradients(self) -> bool:
        """True in the last micro-batch of a step, in which gradients are synchronised."""
        # A planned run reads it twice for each micro-batch: without a call more.
        return self.gradient_state.sync_gradients if self.own_script else self._progress.sync_gradients

    @sync_gradients.setter
    def sync_gradients(self, sync_gradients: bool) -> None:
        self.gradient_state.sync_gradients = sync_gradients

    @property
    def gradient_accumulation_steps(self) -> int:
        """Micro-batches that a rank takes for the present step; fewer while the batch is still growing."""
        return self.gradient_state.num_steps if self.own_script else self._progress.micro_batches_per_step

    @gradient_accumulation_steps.setter
    def gradient_accumulation_steps(self, steps: int) -> None:
        if not self.own_script:
            raise ValueError(f"the run is planned: train.global_batch and train.micro_batch say how many, not {steps}")
        self.gradient_state.plugin_kwargs["num_steps"] = steps

    def prepare(self, *objects: Any, device_placement: Sequence[bool] | None = None) -> Any:
        """Connect model, optimizer, loaders and scheduler to the training. Logs the cluster.

        Objects of a user's own come back wrapped, or as they are; nothing is written to them.
        """
        ready = []
        for thing in objects:
            if is_simulated(thing):
                thing.connect(self._progress)
                self._prepared.append(thing)
                ready.append(thing)
            else:
                ready.append(self._prepare_own(thing))
        if not self._connected:
            self._connect()
        return tuple(ready) if len(ready) != 1 else ready[0]

    def _connect(self) -> None:
        from accelerate_sim.reporting.connect import connect

        self._connected = True
        directory = self.active.checkpoints.project_dir
        connect(self.run, self.clock, self.session.report, self._progress.reach, directory)
        self.clock.advance_to(self._progress.startup_end_s)
        if not self.resume_from_checkpoint:
            self._progress.begin_phase("startup")
        self.clock.set_speed(self.run.config.run.speed)

    def accumulate(self, *models: Any) -> training_progress.Accumulation | gradient_state.CountedAccumulation:
        """The context of one micro-batch; ``sync_gradients`` is true in the last one of a step."""
        return self._accumulation

    def backward(self, loss: Any, **kwargs: Any) -> None:
        """Call the own ``backward()`` of a loss and average the gradients of own models.

        For a simulated model nothing is done: it has no gradients, and the time of a step passes in ``Optimizer.step``.
        """
        if self._models:
            self._backward_of_own_models(loss, **kwargs)

    def clip_grad_norm_(self, parameters: Any, max_norm: float, norm_type: float = 2.0) -> Any:
        """The norm of the gradients before they are clipped to ``max_norm``; None for own ones that are not whole."""
        if self._models:
            clipped = with_gradients(parameters)
            return clip_norm(clipped, max_norm, norm_type) if clipped and self.sync_gradients else None
        return self.run.grad_norm_at(self.completed_steps)

    # --- Collectives ----------------------------------------------------------------------------

    def reduce(self, tensor: Any, reduction: str = "sum", scale: float = 1.0) -> Any:
        """Sum or mean over all ranks, on all ranks; also of tensors in nested lists, tuples and dicts."""
        import fake_torch_dist as dist

        if self.own_script or not isinstance(tensor, dist.LocalTensor):
            from accelerate_sim.own_script import gathering

            return gathering.reduce(tensor, reduction, scale)
        result, coordination = tensor.clone(), self.session.coordination
        op = dist.ReduceOp.AVG if reduction == "mean" else dist.ReduceOp.SUM
        with self.session.signals.at_once():
            if coordination is None:
                dist.all_reduce(result, op=op)
            elif coordination.placement.num_played > 1:
                result.shards[...] = coordination.folded(result.shards, op)
            else:  # one shard, which is communicated as an array
                dist.all_reduce(result.rank(0), op=op)
        return result

    def wait_for_everyone(self) -> None:
        """Block until all ranks are here."""
        self.state.wait_for_everyone()

    # --- Records --------------------------------------------------------------------------------

    def log(
        self, values: Mapping[str, Any], step: int | None = None, log_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Report the figures of a step, or with ``eval_loss`` among them of a validation, to all observers.

        A user's own figures go to the trackers of ``init_trackers``.
        """
        if self.own_script:
            self._log_to_trackers(values, step, log_kwargs)
        elif step is None:
            raise ValueError("log: figures of a planned run belong to a step; say which")
        else:
            from accelerate_sim.session.figures import report_figures

            report_figures(self.session, self.active, values, step)

    # --- The end --------------------------------------------------------------------------------

    def unwrap_model(self, model: T, keep_fp32_wrapper: bool = True, keep_torch_compile: bool = True) -> T:
        """The model as it was before ``prepare``."""
        return model

    def end_training(self) -> None:
        """Report the summary of a planned run, close the trackers, wait for all ranks, and leave the process group."""
        self._finish_trackers()
        if self.session.is_main_process and not self.own_script:
            self.session.report(self.active.ledger.summary())
            self.active.checkpoints.finish()
        self.wait_for_everyone()
        self.state.end()
        GradientState._reset_state()
