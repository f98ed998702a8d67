"""``Accelerator``: the object that a training script works with, under Hugging Face Accelerate's names.

What it does not do: hold weights or gradients. Its figures come from the run (``sim/``), its time from the session's
clock, and its collectives are those of ``fake_torch_dist``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.session.session import Session
from accelerate_sim.state import PartialState
from accelerate_sim.training_progress import Accumulation, Prepared

if TYPE_CHECKING:
    from accelerate_sim.data_loader import DataLoader
    from accelerate_sim.sim.plan import Plan
    from fake_torch_dist import LocalTensor as Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class RunKwargs:
    """The config of the run, for ``Accelerator(kwargs_handlers=[...])``."""

    config: RunConfig


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
        from accelerate_sim.session.begin_run import begin_run

        config = next((handler.config for handler in kwargs_handlers), None) or RunConfig()
        self.session = Session.current()
        planned = self.session.planned_run(config)
        _refuse_other_plans(planned.plan, mixed_precision, gradient_accumulation_steps, log_with)
        self.active = begin_run(self.session, planned, Path(project_dir) if project_dir else None)
        self.run = self.active.run
        self.clock = self.session.clock
        self.state = PartialState()
        self._progress = self.active.progress
        self._accumulation = Accumulation(self._progress)
        self._prepared: list[Any] = []

    # --- Ranks and time -------------------------------------------------------------------------

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
        return self._progress.elapsed_s

    @property
    def completed_steps(self) -> int:
        """Optimizer steps done, those before a resumed checkpoint included."""
        return self._progress.completed_steps

    @property
    def tokens_per_s(self) -> float:
        """Throughput of the latest step, all ranks together."""
        return self.run.timing(self.completed_steps - 1).tokens_per_s

    # --- The training loop ----------------------------------------------------------------------

    @property
    def sync_gradients(self) -> bool:
        """True in the last micro-batch of a step, in which gradients are synchronised."""
        return self._progress.sync_gradients

    @property
    def gradient_accumulation_steps(self) -> int:
        """Micro-batches that a rank takes for the present step; fewer while the batch is still growing."""
        return self._progress.micro_batches_per_step

    def prepare(self, *objects: Any) -> Any:
        """Connect model, optimizer, loaders and scheduler to the training. Logs the cluster."""
        from accelerate_sim.reporting.connect import connect

        for thing in objects:
            if isinstance(thing, Prepared):
                thing.connect(self._progress)
        self._prepared += objects
        connect(self.run, self.clock, self.session.report)
        self.clock.advance_to(self._progress.training_origin_s)
        if not self.resume_from_checkpoint:
            self._progress.begin_phase("startup")
        self.clock.set_speed(self.run.config.run.speed)
        return objects if len(objects) != 1 else objects[0]

    def accumulate(self, *models: Any) -> Accumulation:
        """The context of one micro-batch; ``sync_gradients`` is true in the last one of a step."""
        return self._accumulation

    def backward(self, loss: Tensor) -> None:
        """Do nothing: there are no gradients, and the time of a step passes in ``AdamW.step``."""

    def clip_grad_norm_(self, parameters: Any, max_norm: float) -> float:
        """The norm of the gradients before they are clipped to ``max_norm``."""
        return self.run.grad_norm_at(self.completed_steps)

    # --- Collectives ----------------------------------------------------------------------------

    def reduce(self, tensor: Tensor, reduction: str = "sum") -> Tensor:
        """Sum or mean of ``tensor`` over all ranks, on all ranks."""
        import fake_torch_dist as dist

        result = tensor.clone()
        # A process that runs one rank has one shard, and communicates in arrays.
        mine = result if self.session.placement is None else result.rank(0)
        with self.session.signals.at_once():
            dist.all_reduce(mine, op=dist.ReduceOp.AVG if reduction == "mean" else dist.ReduceOp.SUM)
        return result

    def wait_for_everyone(self) -> None:
        """Block until all ranks are here."""
        import fake_torch_dist as dist

        with self.session.signals.at_once():
            dist.barrier()

    # --- Records --------------------------------------------------------------------------------

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Report the figures of a step, or with ``eval_loss`` among them of a validation, to all observers."""
        is_main, monitor = self.session.is_main_process, self.active.monitor
        if "eval_loss" in values:
            if is_main:
                from accelerate_sim.reporting.build import eval_record

                self.session.report(eval_record(self.run, values, step, self.active.ledger.best_loss))
            return
        end_s = self.run.timing(step - 1).end_s
        if not is_main:
            monitor.warn(step, end_s)
            return
        from accelerate_sim.reporting.build import step_record

        memory = monitor.memory_used_bytes(step)
        self.session.report(step_record(self.run, values, step, self.clock.time(), memory))
        monitor.after_step(step, end_s)

    # --- Checkpoints and the end ----------------------------------------------------------------

    @property
    def project_dir(self) -> Path:
        """The directory of the run's checkpoints and of its exported model."""
        return self.active.checkpoints.project_dir

    def save_state(self, output_dir: str) -> Path:
        """Write a checkpoint below ``project_dir`` and delete those that are not kept. Raises OutputError."""
        # The phase is reported before the mark that a checkpoint sets, so that a resumed run has its record on disk.
        self._progress.begin_phase("checkpoint")
        return self.active.checkpoints.save(output_dir, self.completed_steps)

    @property
    def resume_from_checkpoint(self) -> Path | None:
        """The checkpoint that the run continues from; None for a run that begins at its first step."""
        return self.active.resumption.checkpoint if self.active.resumption else None

    def load_state(self, input_dir: str | Path) -> None:
        """Continue after the step of a checkpoint, which has to be ``resume_from_checkpoint``."""
        from accelerate_sim.checkpoints.files import scheduler_state

        planned, resumption = self.resume_from_checkpoint, self.active.resumption
        if resumption is None or planned != Path(input_dir):
            raise ValueError(f"the run goes on from {planned}, not from {input_dir}: --resume says from which")
        self._progress.continue_after(resumption.state.step)
        for thing in self._prepared:
            if hasattr(thing, "load_state_dict"):
                thing.load_state_dict(scheduler_state(self.run, self.completed_steps))
        self.active.checkpoints.restore(resumption)

    def skip_first_batches(self, dataloader: DataLoader, num_batches: int = 0) -> DataLoader:
        """A loader of the same data that leaves out its first batches."""
        return dataloader.without_first(num_batches)

    def unwrap_model(self, model: T) -> T:
        """The model as it was before ``prepare``."""
        return model

    def end_training(self) -> None:
        """Report the summary, wait for all ranks, and leave the process group."""
        from accelerate_sim.session.begin_run import end_run

        if self.session.is_main_process:
            self.session.report(self.active.ledger.summary())
            self.active.checkpoints.finish()
        self.wait_for_everyone()
        end_run(self.session)


def _refuse_other_plans(
    plan: Plan,
    mixed_precision: str | None,
    gradient_accumulation_steps: int | None,
    log_with: str | Sequence[str] | None,
) -> None:
    """Raise ValueError if a script asks for something else than its config plans."""
    planned, config = plan.layout.accumulation, plan.config
    if gradient_accumulation_steps not in (None, planned):
        raise ValueError(
            f"gradient_accumulation_steps = {gradient_accumulation_steps}, but a global batch of "
            f"{plan.layout.global_batch} takes {planned}"
        )
    if mixed_precision not in (None, config.train.precision):
        raise ValueError(f"mixed_precision = {mixed_precision!r}, but the run is planned in {config.train.precision!r}")
    trackers = (log_with,) if isinstance(log_with, str) else tuple(log_with or ())
    if log_with is not None and set(trackers) != set(config.log.trackers):
        raise ValueError(f"log_with = {list(trackers)}, but the run is planned with {list(config.log.trackers)}")
