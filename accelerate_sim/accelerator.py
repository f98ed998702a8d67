"""``Accelerator``: the one object that a training script talks to, with Hugging Face Accelerate's names.

What it does not do: hold weights or gradients. Its numbers come from the run (``sim/``), its time from the session's
clock, and its collectives are real ones of ``fake_torch_dist``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.device import Device
from accelerate_sim.gradient_state import Accumulation, GradientState
from accelerate_sim.logging import get_logger
from accelerate_sim.own_objects import clip_norm, with_gradients
from accelerate_sim.process.clock import Clock
from accelerate_sim.process_control import ProcessControl
from accelerate_sim.script_files import ScriptFiles
from accelerate_sim.script_settings import script_config, settings
from accelerate_sim.session.session import Session
from accelerate_sim.state import AcceleratorState, PartialState
from accelerate_sim.utils.dataclasses import (
    DataLoaderConfiguration,
    DistributedType,
    GradientAccumulationPlugin,
    KwargsHandler,
    ProjectConfiguration,
)

if TYPE_CHECKING:
    from accelerate_sim.artifacts.file_image import FileImage
    from accelerate_sim.artifacts.model_files import Sizes
    from accelerate_sim.monitoring.device_agent import DeviceAgent
    from accelerate_sim.records import DeviceRecord
    from accelerate_sim.sim.run import Run
    from accelerate_sim.sim.timeline import Phase

logger = get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class RunKwargs:
    """The config of the run, for ``Accelerator(kwargs_handlers=[...])``."""

    config: RunConfig


class _Accumulation:
    """The context of one micro-batch: the last one of a step synchronises gradients."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.done = 0
        """Micro-batches of the present step."""

    def __enter__(self) -> None:
        self.done += 1
        last = self.done == self.accelerator.gradient_accumulation_steps
        self.accelerator.sync_gradients = last
        if last:
            self.done = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Accelerator(ProcessControl, ScriptFiles):
    """Runs a script on all ranks of the planned cluster.

    With ``RunKwargs`` the script follows the config of a run. Without, it is a user's own: it brings its own objects,
    writes its own checkpoints, and says itself how many micro-batches make a step.
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
        from accelerate_sim.checkpointing import Checkpoints, restart_s
        from accelerate_sim.checkpoints.trainer_state import TrainerHistory
        from accelerate_sim.records import ProcessRecord
        from accelerate_sim.reporting.build import run_facts
        from accelerate_sim.reporting.ledger import Ledger
        from accelerate_sim.reporting.monitor import Monitor
        from accelerate_sim.sim.run import Run

        handlers = list(kwargs_handlers or ())
        config = next((handler.config for handler in handlers if isinstance(handler, RunKwargs)), None)
        self.session = Session.current()
        if config is None:
            config = PartialState.planned_config()
        self.own_script = config is None
        """True if the script follows no config, but its own mind."""
        self.settings = settings(
            mixed_precision=mixed_precision if config is None else None,
            gradient_accumulation_steps=gradient_accumulation_steps,
            gradient_accumulation_plugin=gradient_accumulation_plugin, dataloader_config=dataloader_config,
            split_batches=split_batches, project_dir=project_dir, project_config=project_config,
            step_scheduler_with_optimizer=step_scheduler_with_optimizer, device_placement=device_placement, cpu=cpu,
            handlers=[handler for handler in handlers if not isinstance(handler, RunKwargs)], refused=of_the_config,
        )  # fmt: skip
        self.gradient_state = GradientState(self.settings.accumulation)
        self.step_context = Accumulation(self.gradient_state)
        self._keep_track_of_own_objects()
        self._keep_no_files_yet(log_with if config is None else None)
        if config is None:
            self._refuse_another_state()
            config = script_config(self.session.placement, self.settings.precision, self.gradient_state.num_steps)
        else:
            self.settings.precision = config.train.precision
        self.run = Run(config, self.session.run_number)
        if not self.own_script:
            _refuse_other_plans(self.run, mixed_precision, gradient_accumulation_steps, log_with)
        resumption = self.session.resumption if self.session.resumption and self.session.resumption.checkpoint else None
        if resumption:
            self.clock.jump_to(restart_s(self.run, resumption.state))
        self.state = AcceleratorState(cpu=cpu)
        self.state._precision = self.settings.precision
        self.state.begin(self.run, self.session, own_script=self.own_script)
        if resumption:
            self.state.origin_s = resumption.state.origin_s
        self.session.begin_run(self.run.layout.world_size, self._where)
        output_dir = Path(project_dir) if project_dir else self._planned_dir()
        self.project_dir: Any = self.settings.project.project_dir if self.own_script else output_dir
        self.completed_steps = 0
        self._accumulation = _Accumulation(self)
        rank = None if self.session.is_main_process else self.process_index
        self._monitor = Monitor(self.run, self.session.report, rank)
        self._agent: DeviceAgent | None = None
        self._prepared: list[Any] = []
        self._connected = False
        self.ledger = Ledger(self.run, self.session.clock)
        self.session.console.begin(run_facts(self.run), config.log.voice)
        history = TrainerHistory(self.run)
        self._checkpoints = Checkpoints(self.run, self.session, output_dir, self.state.origin_s, self.ledger, history)
        self.clock.set_speed(config.run.startup_speed or config.run.speed)
        if self.session.is_main_process:
            self.session.observers_of_run = [self.ledger, history]
            self._begin(resumption.state.step if resumption else 0)
        elif placement := self.session.placement:
            self.session.report(ProcessRecord(placement.rank, placement.local_rank, placement.node))

    def _begin(self, step: int) -> None:
        """The main process lets everyone know that the run begins, or goes on after ``step``."""
        from accelerate_sim.reporting.build import start_record

        if not step:
            self._checkpoints.begin()
            self.session.report(start_record(self.run, self.clock.time()))
        self.session.look = self._look
        self._begin_trackers(step)
        if self._checkpoints.on_disk and self.run.config.checkpoint.on_preempt == "save":
            self.session.save = self._checkpoints.save_at_last_mark

    def _begin_trackers(self, step: int) -> None:
        if not self.session.trackers:
            return
        from accelerate_sim.tracking.tracker import RunStart

        run = self.run
        config = run.config.model_dump(mode="json")
        for tracker in self.session.trackers:
            tracker.begin(
                RunStart(
                    run.number, run.model.name, run.seed, step, self.clock.time(), config, self.state.origin_s,
                    self.session.job.pids if self.session.job else (),
                )
            )  # fmt: skip

    def _planned_dir(self) -> Path:
        """The output directory, or what it could be called where nothing is written."""
        if self.session.output_dir is None:
            return Path("outputs", self.run.model.name)
        from accelerate_sim.checkpoints.directory import path_of_run

        return path_of_run(self.session.output_dir, self.run.number)

    # --- Who and when ---------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        return self.session.clock

    @property
    def num_processes(self) -> int:
        return self.state.num_processes

    @property
    def process_index(self) -> int:
        return self.state.process_index

    @property
    def local_process_index(self) -> int:
        return self.state.local_process_index

    @property
    def plays_all_ranks(self) -> bool:
        return self.state.plays_all_ranks

    @property
    def device(self) -> Device:
        return self.state.device

    @property
    def distributed_type(self) -> DistributedType:
        return self.state.distributed_type

    @property
    def mixed_precision(self) -> str:
        return self.settings.precision

    @property
    def multi_device(self) -> bool:
        return self.distributed_type is DistributedType.MULTI_GPU

    def note_split(self, length: int | None) -> None:
        self.state.note_split(length)

    @property
    def sync_gradients(self) -> bool:
        """True in the last micro-batch of a step."""
        return self.gradient_state.sync_gradients

    @sync_gradients.setter
    def sync_gradients(self, sync_gradients: bool) -> None:
        self.gradient_state.sync_gradients = sync_gradients

    @property
    def elapsed_s(self) -> float:
        """Simulated seconds since the first step began."""
        return self.clock.now_s - self.state.training_origin_s

    def _look(self) -> DeviceRecord | None:
        """The GPUs now, if they are NVIDIA's."""
        from accelerate_sim.monitoring.device_agent import DeviceAgent

        self._agent = self._agent or DeviceAgent(self.run)
        ledger = self.ledger
        startup_s = min(self.clock.now_s, self.state.training_origin_s) - self.state.origin_s
        spent: dict[Phase, float] = {
            "startup": startup_s, "checkpoint": ledger.checkpoint_s, "validation": ledger.validation_s,
        }  # fmt: skip
        tokens = ledger.last_step.tokens if ledger.last_step else 0
        return self._agent.read(self.elapsed_s, spent, ledger.step_j, tokens)

    def _where(self) -> str:
        if not self.completed_steps:
            return "before the first step"
        last = self._checkpoints.last
        return f"{self.ledger.where()} | {f'last checkpoint {last}' if last else 'no checkpoint'}"

    # --- The training loop ----------------------------------------------------------------------

    @property
    def gradient_accumulation_steps(self) -> int:
        """Micro-batches that a rank takes for the present step; fewer while the batch is still growing."""
        if self.own_script:
            return self.gradient_state.num_steps
        return self.run.accumulation(self.completed_steps)

    @gradient_accumulation_steps.setter
    def gradient_accumulation_steps(self, steps: int) -> None:
        if not self.own_script:
            raise ValueError(f"the run is planned: train.global_batch and train.micro_batch say how many, not {steps}")
        self.gradient_state.plugin_kwargs["num_steps"] = steps

    def prepare(self, *objects: Any, device_placement: Sequence[bool] | None = None) -> Any:
        """Hand model, optimizer, loaders and scheduler to the cluster; connects it and says what it is.

        Objects of a user's own come back wrapped, or as they are; nothing is written to them.
        """
        ready = []
        for thing in objects:
            simulated = _is_ours(thing)
            if simulated:
                thing.accelerator = self
                self._prepared.append(thing)
            ready.append(thing if simulated else self._prepare_own(thing))
        if not self._connected:
            self._connect()
        return tuple(ready) if len(ready) != 1 else ready[0]

    def _connect(self) -> None:
        from accelerate_sim.reporting.connect import connect

        self._connected = True
        connect(self.run, self.clock, self.session.report)
        self.clock.advance_to(self.state.training_origin_s)
        if not self.resume_from_checkpoint:
            self.begin_phase("startup")
        self.clock.set_speed(self.run.config.run.speed)

    def accumulate(self, *models: Any) -> _Accumulation | Accumulation:
        """Context of one micro-batch; ``sync_gradients`` is true in the last one of a step."""
        return self.step_context if self.own_script else self._accumulation

    def backward(self, loss: Any, **kwargs: Any) -> None:
        """Gradients of ``loss``; they are summed up until the step.

        A loss of a user's own has a ``backward()``, which is called; the gradients of own models are averaged.
        """
        if self._models:
            self._backward_of_own_models(loss, **kwargs)

    def clip_grad_norm_(self, parameters: Any, max_norm: float, norm_type: float = 2.0) -> Any:
        """Norm of the gradients before they are clipped to ``max_norm``; None while they are still accumulated."""
        if self._models:
            clipped = with_gradients(parameters)
            return clip_norm(clipped, max_norm, norm_type) if clipped and self.sync_gradients else None
        return self.run.grad_norm_at(self.completed_steps)

    def finish_step(self) -> None:
        """The optimizer has stepped: its time has passed."""
        self._checkpoints.mark(self.completed_steps)
        end_s = self.state.training_origin_s + self.run.timeline.step_end_s(self.completed_steps)
        self.completed_steps += 1
        self.clock.advance_to(end_s)

    def begin_phase(self, phase: Phase) -> None:
        """Something else than a step begins: those who keep records get a look at the GPUs."""
        if self.session.is_main_process:
            self._monitor.begin_phase(phase, self.completed_steps)

    @property
    def tokens_per_s(self) -> float:
        """Throughput of the latest step, all ranks together."""
        return self.run.timing(self.completed_steps - 1).tokens_per_s

    # --- Collectives ----------------------------------------------------------------------------

    def reduce(self, tensor: Any, reduction: str = "sum", scale: float = 1.0) -> Any:
        """Sum or mean over all ranks, on all ranks; also of tensors in nested lists, tuples and dicts."""
        import fake_torch_dist as dist

        if self.own_script or not isinstance(tensor, dist.LocalTensor):
            from accelerate_sim import gathering

            return gathering.reduce(tensor, reduction, scale)

        result = tensor.clone()
        # A process that plays one rank has one shard, and communicates in arrays.
        mine = result if self.session.placement is None else result.rank(0)
        with self.session.interrupts.at_once():
            dist.all_reduce(mine, op=dist.ReduceOp.AVG if reduction == "mean" else dist.ReduceOp.SUM)
        return result

    def wait_for_everyone(self) -> None:
        """No rank goes on before all are here."""
        import fake_torch_dist as dist

        with self.session.interrupts.at_once():
            dist.barrier()

    # --- Reports --------------------------------------------------------------------------------

    def log(
        self, values: Mapping[str, Any], step: int | None = None, log_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Report figures of a step, or of a validation (``eval_loss``), to everyone who listens.

        A user's own figures go to the trackers of ``init_trackers``.
        """
        if self.own_script:
            self._log_to_trackers(values, step, log_kwargs)
            return
        if step is None:
            raise ValueError("log: figures of a planned run belong to a step; say which")
        if "eval_loss" in values:
            if self.session.is_main_process:
                from accelerate_sim.reporting.build import eval_record

                self.session.report(eval_record(self.run, values, step, self.ledger.best_loss))
            return
        end_s = self.run.timing(step - 1).end_s
        if not self.session.is_main_process:
            self._monitor.warn(step, end_s)
            return
        from accelerate_sim.reporting.build import step_record

        memory = self._monitor.memory_used_bytes(step)
        self.session.report(step_record(self.run, values, step, self.clock.time(), memory))
        self._monitor.after_step(step, end_s)

    # --- What is kept ---------------------------------------------------------------------------

    def save_state(self, output_dir: str | None = None, **save_kwargs: Any) -> Path:
        """Write a checkpoint below the project directory and delete those that are not kept. Raises OutputError.

        A user's own script writes the states of its objects to ``output_dir`` itself.
        """
        if self.own_script:
            return self._save_own_state(output_dir)
        if output_dir is None:
            raise ValueError("save_state: a checkpoint of a planned run has a name, checkpoint-<step>")
        self.begin_phase("checkpoint")  # before the mark that a checkpoint is: whoever goes on has it in the file
        return self._checkpoints.save(output_dir, self.completed_steps)

    @property
    def resume_from_checkpoint(self) -> Path | None:
        """The checkpoint that the command line says to go on from."""
        return self.session.resumption.checkpoint if self.session.resumption else None

    def _go_on_after(self, steps: int) -> None:
        self.completed_steps = steps
        for thing in self._prepared:
            if hasattr(thing, "load_state_dict"):
                thing.load_state_dict({"last_epoch": steps})

    def load_state(self, input_dir: str | Path | None = None, **load_kwargs: Any) -> None:
        """Be as after the step at which this checkpoint was saved; it has to be the one that was asked for."""
        if self.own_script:
            self._load_own_state(input_dir)
            return
        from accelerate_sim.checkpoints.files import scheduler_state

        planned = self.resume_from_checkpoint
        if self.session.resumption is None or planned != Path(input_dir or ""):
            raise ValueError(f"the run goes on from {planned}, not from {input_dir}: --resume says from which")
        self.completed_steps = self.session.resumption.state.step
        for thing in self._prepared:
            if hasattr(thing, "load_state_dict"):
                thing.load_state_dict(scheduler_state(self.run, self.completed_steps))
        self._checkpoints.restore(self.session.resumption)

    def skip_first_batches(self, dataloader: Any, num_batches: int = 0) -> Any:
        """A loader like ``dataloader`` without its first batches: they have been trained on."""
        if not _is_ours(dataloader):
            from accelerate_sim.sharded_loader import skip_first_batches

            return skip_first_batches(dataloader, num_batches)
        return dataloader.without_first(num_batches)

    @property
    def weight_sizes(self) -> Sizes:
        """Shapes in which weights are written: true, or tiny."""
        return self._checkpoints.sizes

    def begin_export(self) -> None:
        """Training is over. Whoever is told to end from here on goes on with the export."""
        self._checkpoints.mark(self.completed_steps)
        self.begin_phase("export")

    def write_model(self, path: Path, images: Sequence[FileImage]) -> None:
        """Put a finished model on the disk, where there is an output directory. Raises OutputError."""
        self._checkpoints.export(path, images)

    def unwrap_model(self, model: T, keep_fp32_wrapper: bool = True, keep_torch_compile: bool = True) -> T:
        """The model as it was before ``prepare``."""
        return model

    def end_training(self) -> None:
        """Sum the run up and leave the cluster, when everybody is done."""
        self._finish_trackers()
        if self.session.is_main_process and not self.own_script:
            self.session.report(self.ledger.summary())
            self._checkpoints.finish()
        self.wait_for_everyone()
        self.session.end_run()
        self.state.end()
        GradientState._reset_state()

    def _refuse_another_state(self) -> None:
        """Raise ValueError if there is a state with another precision, as Accelerate does."""
        state = AcceleratorState()
        if (
            state.initialized
            and "_precision" in state._shared_state
            and self.settings.precision != state.mixed_precision
        ):
            raise ValueError(
                "AcceleratorState has already been initialized and cannot be changed, restart your runtime completely "
                f"and pass `mixed_precision='{self.settings.precision}'` to `Accelerator()`."
            )


def _is_ours(thing: Any) -> bool:
    """True for a simulated model, optimizer, loader or scheduler."""
    from accelerate_sim.data_loader import DataLoader
    from accelerate_sim.modeling import CausalLM
    from accelerate_sim.optimizer import AdamW
    from accelerate_sim.scheduler import LRScheduler
    from accelerate_sim.sharded_loader import MapDataLoader

    return isinstance(thing, CausalLM | AdamW | LRScheduler | DataLoader) and not isinstance(thing, MapDataLoader)


def _refuse_other_plans(
    run: Run, mixed_precision: str | None, gradient_accumulation_steps: int | None, log_with: str | Sequence[str] | None
) -> None:
    """Raise ValueError if a script asks for something else than its config says."""
    planned = run.layout.accumulation
    if gradient_accumulation_steps not in (None, planned):
        raise ValueError(
            f"gradient_accumulation_steps = {gradient_accumulation_steps}, but a global batch of "
            f"{run.layout.global_batch} takes {planned}"
        )
    if mixed_precision not in (None, run.config.train.precision):
        raise ValueError(
            f"mixed_precision = {mixed_precision!r}, but the run is planned in {run.config.train.precision!r}"
        )
    trackers = (log_with,) if isinstance(log_with, str) else tuple(log_with or ())
    if log_with is not None and set(trackers) != set(run.config.log.trackers):
        raise ValueError(f"log_with = {list(trackers)}, but the run is planned with {list(run.config.log.trackers)}")
