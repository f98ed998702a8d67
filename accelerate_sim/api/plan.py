"""``plan``: what a config takes, as ``--plan`` shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from accelerate_sim.api.records import FaultRecord, fault_record
from accelerate_sim.api.source import Config, faults_happen, planned_run
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.whole_run import WholeRun

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Attempt


@dataclass(frozen=True)
class PlanReport:
    """The figures of a plan. All are expectations before the run; seconds are simulated."""

    model: str
    parameters: int
    active_parameters: int
    """Parameters that one token uses; fewer than all in a mixture of experts."""
    gpu: str
    nodes: int
    gpus_per_node: int
    world_size: int
    parallel: Mapping[str, int]
    """Ranks by kind of parallelism: data, tensor, pipeline, context and expert."""
    global_batch: int
    """Sequences in a step."""
    micro_batch: int
    accumulation: int
    """Micro-batches that each replica takes for a step."""
    sequence_length: int
    tokens_per_step: int
    steps: int
    memory_bytes: int
    """Memory in use on the fullest GPU."""
    memory_total_bytes: int
    """Memory of one GPU."""
    memory_parts_bytes: Mapping[str, float]
    """The memory of the fullest GPU by use."""
    step_s: float
    """Seconds of a step that nothing disturbs."""
    step_parts_s: Mapping[str, float]
    """The seconds of a step by cause; they add up to ``step_s`` unless the config imposes step times."""
    tokens_per_s: float
    mfu: float
    """Model FLOPs utilization, 0 to 1, of the GPUs' dense bf16 peak (Chowdhery et al. 2022)."""
    checkpoint_bytes: int
    checkpoint_s: float
    """Mean seconds to write a checkpoint; 0 without any."""
    export_bytes: int
    total_s: float
    """Seconds of the whole run, with start-up, validations, checkpoints and export."""
    energy_j: float
    """Joules of all GPUs in the whole run."""
    expected_faults: float
    """Interruptions that ``faults.rate`` makes likely in the steps of the run."""
    faults: tuple[FaultRecord, ...]
    """The faults that happen in the run, in all attempts; ``play`` iterates the same ones."""
    attempts: int
    """Times that the job is started; 1 without faults."""
    finishes: bool
    """False if faults end the job for good before its last step."""

    def to_dict(self) -> dict[str, Any]:
        """All figures, as values that JSON can hold."""
        return asdict(self)


def plan(
    config: Config, changes: Sequence[str] = (), *, seed: int | None = None, faults: Sequence[str] = ()
) -> PlanReport:
    """The plan of a config, which is a file, a shipped config's name or nested keys and values.

    ``changes`` are as those of ``--set``, ``faults`` as those of ``--fault``. Raises ConfigError with every problem of
    the config, also if the model does not fit the GPUs.
    """
    return report_of(planned_run(config, changes, seed=seed, faults=faults))


def report_of(run: Run) -> PlanReport:
    """The plan of a run."""
    layout, shape, whole = run.layout, run.model.architecture, WholeRun.of(run)
    rate = layout.tokens_per_step / run.mean_step_s
    attempts = _attempts(run)
    return PlanReport(
        model=run.model.title,
        parameters=shape.parameters,
        active_parameters=shape.active_parameters,
        gpu=run.gpu.product,
        nodes=layout.nodes,
        gpus_per_node=layout.gpus_per_node,
        world_size=layout.world_size,
        parallel={
            "data": layout.data, "tensor": layout.tensor, "pipeline": layout.pipeline, "context": layout.context,
            "expert": layout.expert,
        },
        global_batch=layout.global_batch,
        micro_batch=layout.micro_batch,
        accumulation=layout.accumulation,
        sequence_length=layout.sequence_length,
        tokens_per_step=layout.tokens_per_step,
        steps=run.last_step,
        memory_bytes=run.memory_per_gpu_bytes,
        memory_total_bytes=run.gpu.memory_bytes,
        memory_parts_bytes=dict(vars(run.memory)),
        step_s=run.mean_step_s,
        step_parts_s=run.step_parts.parts(),
        tokens_per_s=rate,
        mfu=run.mfu(rate),
        checkpoint_bytes=run.checkpoint_bytes,
        checkpoint_s=whole.checkpoint_s,
        export_bytes=run.export_bytes,
        total_s=whole.total_s,
        energy_j=whole.energy_j,
        expected_faults=run.config.faults.rate * layout.world_size * whole.steps_s / 3600.0,
        faults=tuple(fault_record(run.number, strike) for each in attempts for strike in each.occurrences),
        attempts=max(1, len(attempts)),
        finishes=not attempts or attempts[-1].ended_by is None,
    )  # fmt: skip


def _attempts(run: Run) -> list[Attempt]:
    """The attempts of a run in which faults happen; empty for any other run."""
    if not faults_happen(run):
        return []
    from accelerate_sim.faults.planned import schedule_of

    return list(schedule_of(run, run.config.faults.restarts).attempts())
