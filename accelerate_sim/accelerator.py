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

from accelerate_sim.clock import Clock
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.logging import get_logger
from accelerate_sim.session import Session
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
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

    def __enter__(self) -> None:
        self.done += 1
        self.accelerator.sync_gradients = self.done % self.accelerator.gradient_accumulation_steps == 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Accelerator:
    """Runs a script on all ranks of the planned cluster."""

    def __init__(
        self,
        mixed_precision: str | None = None,
        gradient_accumulation_steps: int | None = None,
        project_dir: str | Path | None = None,
        kwargs_handlers: Sequence[RunKwargs] = (),
    ) -> None:
        from accelerate_sim import environment
        from accelerate_sim.console import Console
        from accelerate_sim.ledger import Ledger, start_record
        from accelerate_sim.monitor import Monitor
        from accelerate_sim.sim.run import Run

        config = next((handler.config for handler in kwargs_handlers), None) or RunConfig()
        self.session = Session.current()
        self.run = Run(config, self.session.run_number)
        planned = self.run.layout.accumulation
        if gradient_accumulation_steps not in (None, planned):
            raise ValueError(
                f"gradient_accumulation_steps = {gradient_accumulation_steps}, but a global batch of "
                f"{self.run.layout.global_batch} takes {planned}"
            )
        if mixed_precision not in (None, config.train.precision):
            raise ValueError(
                f"mixed_precision = {mixed_precision!r}, but the run is planned in {config.train.precision!r}"
            )
        self.gradient_accumulation_steps = planned
        self.state = PartialState()
        self.state.begin(self.run, self.session)
        self.session.begin_run(self.run.layout.world_size, self._where)
        self.project_dir = (
            Path(project_dir) if project_dir else self.session.output_dir or Path("outputs", self.run.model.name)
        )
        self.sync_gradients = True
        self.completed_steps = 0
        self._accumulation = _Accumulation(self)
        self._monitor = Monitor(self.run, self.session)
        self._saved: list[Path] = []
        self.ledger = Ledger(self.run, self.session.clock)
        console = Console(self.session, config.log.every, config.cluster.host, self.run.gpu.memory_bytes)
        self.clock.set_speed(config.run.startup_speed or config.run.speed)
        if self.session.is_main_process:
            self.session.observers_of_run = [self.ledger, console]
            self.session.report(start_record(self.run, self.clock.time()))
        elif self.session.placement:
            self.session.observers_of_run = [console]
            environment.introduce(self.run, self.session.placement)

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

    def _where(self) -> str:
        if not self.completed_steps:
            return "before the first step"
        saved = f" | last checkpoint {self._saved[-1]}" if self._saved else " | no checkpoint"
        return f"{self.ledger.where()}{saved}"

    # --- The training loop ----------------------------------------------------------------------

    def prepare(self, *objects: Any) -> Any:
        """Hand model, optimizer, loaders and scheduler to the cluster; connects it and says what it is."""
        from accelerate_sim import environment

        for thing in objects:
            thing.accelerator = self
        environment.connect(self.run, self.session)
        self.clock.advance_to(self.state.training_origin_s)
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
        end_s = self.state.training_origin_s + self.run.timeline.step_end_s(self.completed_steps)
        self.completed_steps += 1
        self.clock.advance_to(end_s)

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
        with self.session.interrupts.at_once():
            dist.all_reduce(mine, op=dist.ReduceOp.AVG if reduction == "mean" else dist.ReduceOp.SUM)
        return result

    def wait_for_everyone(self) -> None:
        """No rank goes on before all are here."""
        import fake_torch_dist as dist

        with self.session.interrupts.at_once():
            dist.barrier()

    # --- Reports --------------------------------------------------------------------------------

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Report figures of a step, or of a validation (``eval_loss``), to everyone who listens."""
        if "eval_loss" in values:
            if self.session.is_main_process:
                self._log_evaluation(values, step)
            return
        timing = self.run.timing(step - 1)
        if not self.session.is_main_process:
            self._monitor.warn(step, timing.end_s)
            return
        from accelerate_sim.records import StepRecord

        record = StepRecord(
            run=self.run.number,
            epoch=self.epoch_of(step),
            step=step,
            time=self.clock.time(),
            elapsed_s=timing.end_s,
            step_time_s=timing.seconds,
            loss=round(values["loss"], 7),
            perplexity=round(values["perplexity"], 4),
            grad_norm=values["grad_norm"],
            lr=values["lr"],
            tokens=step * self.run.layout.tokens_per_step,
            tokens_per_s=timing.tokens_per_s,
            mfu=timing.mfu,
            memory_used_bytes=self._monitor.memory_used_bytes(step),
        )
        self.session.report(record)
        self._monitor.after_step(step, timing.end_s)

    def _log_evaluation(self, values: Mapping[str, float], step: int) -> None:
        from accelerate_sim.records import EvalRecord

        loss = round(values["eval_loss"], 6)
        best = self.ledger.best_loss is None or loss < self.ledger.best_loss
        seconds = self.run.evaluation_batch_s * self.run.config.eval.batches
        perplexity = round(values["eval_perplexity"], 4)
        self.session.report(
            EvalRecord(self.run.number, self.epoch_of(step), step, loss, perplexity, round(seconds, 6), best)
        )

    def epoch_of(self, step: int) -> int:
        """The epoch, from 1, that step ``step``, from 1, belongs to."""
        return (step - 1) // self.run.config.train.steps_per_epoch + 1

    # --- What is kept ---------------------------------------------------------------------------

    def save_state(self, name: str) -> Path:
        """Write a checkpoint ``name`` below the project directory and delete the oldest beyond ``keep_last``."""
        from accelerate_sim import checkpointing

        path = self.project_dir / name
        checkpointing.save_state(self.run, self.session, path, self.completed_steps)
        self._saved.append(path)
        keep = self.run.config.checkpoint.keep_last
        for old in self._saved[:-keep]:
            logger.info("Deleted old checkpoint %s (keeping the last %d)", old, keep)
        del self._saved[:-keep]
        return path

    def unwrap_model(self, model: T) -> T:
        """The model as it was before ``prepare``."""
        return model

    def end_training(self) -> None:
        """Sum the run up and leave the cluster, when everybody is done."""
        if self.session.is_main_process:
            self.session.report(self.ledger.summary())
        self.wait_for_everyone()
        self.session.end_run()
        self.state.end()
