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
from accelerate_sim.logging import get_logger
from accelerate_sim.process.clock import Clock
from accelerate_sim.session.session import Session
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.artifacts.file_image import FileImage
    from accelerate_sim.artifacts.model_files import Sizes
    from accelerate_sim.data_loader import DataLoader
    from accelerate_sim.monitoring.device_agent import DeviceAgent
    from accelerate_sim.records import DeviceRecord
    from accelerate_sim.sim.run import Run
    from accelerate_sim.sim.timeline import Phase
    from fake_torch_dist import LocalTensor as Tensor

logger = get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class RunKwargs:
    """What the run is: hand it to ``Accelerator(kwargs_handlers=[...])``."""

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


class Accelerator:
    """Runs a script on all ranks of the planned cluster."""

    def __init__(
        self,
        mixed_precision: str | None = None,
        gradient_accumulation_steps: int | None = None,
        log_with: str | Sequence[str] | None = None,
        project_dir: str | Path | None = None,
        kwargs_handlers: Sequence[RunKwargs] = (),
    ) -> None:
        from accelerate_sim.checkpointing import Checkpoints, restart_s
        from accelerate_sim.checkpoints.trainer_state import TrainerHistory
        from accelerate_sim.reporting import startup as environment
        from accelerate_sim.reporting.console import Console
        from accelerate_sim.reporting.ledger import Ledger
        from accelerate_sim.reporting.monitor import Monitor
        from accelerate_sim.sim.run import Run

        config = next((handler.config for handler in kwargs_handlers), None) or RunConfig()
        self.session = Session.current()
        self.run = Run(config, self.session.run_number)
        _refuse_other_plans(self.run, mixed_precision, gradient_accumulation_steps, log_with)
        resumption = self.session.resumption if self.session.resumption and self.session.resumption.checkpoint else None
        if resumption:
            self.clock.jump_to(restart_s(self.run, resumption.state))
        self.state = PartialState()
        self.state.begin(self.run, self.session)
        if resumption:
            self.state.origin_s = resumption.state.origin_s
        self.session.begin_run(self.run.layout.world_size, self._where)
        self.project_dir = Path(project_dir) if project_dir else self._planned_dir()
        self.sync_gradients = True
        self.completed_steps = 0
        self._accumulation = _Accumulation(self)
        self._monitor = Monitor(self.run, self.session)
        self._agent: DeviceAgent | None = None
        self._prepared: list[Any] = []
        self.ledger = Ledger(self.run, self.session.clock)
        console = Console(self.session, config.log.every, config.cluster.host, self.run.gpu.memory_bytes)
        history = TrainerHistory(self.run)
        self._checkpoints = Checkpoints(
            self.run, self.session, self.project_dir, self.state.origin_s, self.ledger, history
        )
        self.clock.set_speed(config.run.startup_speed or config.run.speed)
        if self.session.is_main_process:
            self.session.observers_of_run = [self.ledger, history, console]
            self._begin(resumption.state.step if resumption else 0)
        elif self.session.placement:
            self.session.observers_of_run = [console]
            environment.introduce(self.run, self.session.placement)

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
        from accelerate_sim.tracking.run_start import RunStart

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
    def is_main_process(self) -> bool:
        return self.state.is_main_process

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
        return self.run.accumulation(self.completed_steps)

    def prepare(self, *objects: Any) -> Any:
        """Hand model, optimizer, loaders and scheduler to the cluster; connects it and says what it is."""
        from accelerate_sim.reporting import startup as environment

        for thing in objects:
            thing.accelerator = self
        self._prepared += objects
        environment.connect(self.run, self.session)
        self.clock.advance_to(self.state.training_origin_s)
        if not self.resume_from_checkpoint:
            self.begin_phase("startup")
        self.clock.set_speed(self.run.config.run.speed)
        return objects if len(objects) != 1 else objects[0]

    def accumulate(self, *models: Any) -> _Accumulation:
        """Context of one micro-batch; ``sync_gradients`` is true in the last one of a step."""
        return self._accumulation

    def backward(self, loss: Tensor) -> None:
        """Gradients of ``loss``; they are summed up until the step."""

    def clip_grad_norm_(self, parameters: Any, max_norm: float) -> float:
        """Norm of the gradients before they are clipped to ``max_norm``."""
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

    def reduce(self, tensor: Tensor, reduction: str = "sum") -> Tensor:
        """Sum or mean over all ranks, on all ranks."""
        import fake_torch_dist as dist

        result = tensor.clone()
        # A process that plays one rank has one shard, and communicates in arrays.
        mine = result if self.session.placement is None else result.rank(0)
        with self.session.signals.at_once():
            dist.all_reduce(mine, op=dist.ReduceOp.AVG if reduction == "mean" else dist.ReduceOp.SUM)
        return result

    def wait_for_everyone(self) -> None:
        """No rank goes on before all are here."""
        import fake_torch_dist as dist

        with self.session.signals.at_once():
            dist.barrier()

    # --- Reports --------------------------------------------------------------------------------

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Report figures of a step, or of a validation (``eval_loss``), to everyone who listens."""
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

    def save_state(self, output_dir: str) -> Path:
        """Write a checkpoint below the project directory and delete those that are not kept. Raises OutputError."""
        self.begin_phase("checkpoint")  # before the mark that a checkpoint is: whoever goes on has it in the file
        return self._checkpoints.save(output_dir, self.completed_steps)

    @property
    def resume_from_checkpoint(self) -> Path | None:
        """The checkpoint that the command line says to go on from."""
        return self.session.resumption.checkpoint if self.session.resumption else None

    def load_state(self, input_dir: str | Path) -> None:
        """Be as after the step at which this checkpoint was saved; it has to be the one that was asked for."""
        from accelerate_sim.checkpoints.files import scheduler_state

        planned = self.resume_from_checkpoint
        if self.session.resumption is None or planned != Path(input_dir):
            raise ValueError(f"the run goes on from {planned}, not from {input_dir}: --resume says from which")
        self.completed_steps = self.session.resumption.state.step
        for thing in self._prepared:
            if hasattr(thing, "load_state_dict"):
                thing.load_state_dict(scheduler_state(self.run, self.completed_steps))
        self._checkpoints.restore(self.session.resumption)

    def skip_first_batches(self, dataloader: DataLoader, num_batches: int = 0) -> DataLoader:
        """A loader like ``dataloader`` without its first batches: they have been trained on."""
        return dataloader.without_first(num_batches)

    @property
    def weight_sizes(self) -> Sizes:
        """Whether weights are written in their true shapes."""
        return self._checkpoints.sizes

    def begin_export(self) -> None:
        """Training is over. Whoever is told to end from here on goes on with the export."""
        self._checkpoints.mark(self.completed_steps)
        self.begin_phase("export")

    def write_model(self, path: Path, images: Sequence[FileImage]) -> None:
        """Put a finished model on the disk, where there is an output directory. Raises OutputError."""
        self._checkpoints.export(path, images)

    def unwrap_model(self, model: T) -> T:
        """The model as it was before ``prepare``."""
        return model

    def end_training(self) -> None:
        """Sum the run up and leave the cluster, when everybody is done."""
        if self.session.is_main_process:
            self.session.report(self.ledger.summary())
            self._checkpoints.finish()
        self.wait_for_everyone()
        self.session.end_run()
        self.state.end()


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
