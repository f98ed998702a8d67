"""Records of a run's beginning, steps and validations, from its physics and what the script has measured."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from accelerate_sim.records import EvalRecord, StartRecord, StepRecord
from accelerate_sim.sim.run import Run


def start_record(run: Run, start: datetime) -> StartRecord:
    """What is known before anything has happened."""
    shape, layout = run.model.architecture, run.layout
    plan = {
        "model": run.model.name,
        "params": shape.parameters,
        "active_params": shape.active_parameters,
        "layers": shape.layers,
        "hidden": shape.hidden,
        "heads": shape.heads,
        "kv_heads": shape.kv_heads,
        "ffn": shape.ffn,
        "vocab": shape.vocab,
        "context": shape.context,
        "gpu": run.gpu.name,
        "dataset": run.dataset.name,
        "world_size": layout.world_size,
        "nodes": layout.nodes,
        "data_parallel": layout.data,
        "accumulation": layout.accumulation,
        "global_batch": layout.global_batch,
        "micro_batch": layout.micro_batch,
        "sequence_length": layout.sequence_length,
        "tokens_per_step": layout.tokens_per_step,
        "total_steps": run.last_step,
        "flops_per_token": run.flops_per_token,
        "peak_flops_per_gpu": run.gpu.bf16_flops,
        "memory_per_gpu_bytes": run.memory_per_gpu_bytes,
        "checkpoint_bytes": run.checkpoint_bytes,
        "export_bytes": run.export_bytes,
        "startup_s": round(run.startup.total, 3),
    }
    config = run.config.model_dump(mode="json")
    return StartRecord(run.number, run.seed, start.isoformat(timespec="milliseconds"), config, plan)


def step_record(run: Run, values: Mapping[str, float], step: int, time: datetime, memory_used_bytes: int) -> StepRecord:
    """Of step ``step``, from 1, with the loss, perplexity, gradient norm and learning rate among ``values``."""
    timing = run.timing(step - 1)
    return StepRecord(
        run=run.number,
        epoch=epoch_of(run, step),
        step=step,
        time=time,
        elapsed_s=timing.end_s,
        step_time_s=timing.seconds,
        loss=round(values["loss"], 7),
        perplexity=round(values["perplexity"], 4),
        grad_norm=values["grad_norm"],
        lr=values["lr"],
        global_batch=run.batches.batch(step - 1),
        tokens=run.tokens_before(step),
        tokens_per_s=timing.tokens_per_s,
        mfu=timing.mfu,
        memory_used_bytes=memory_used_bytes,
        load_balancing_loss=run.load_balancing_loss(step - 1),
    )


def eval_record(run: Run, values: Mapping[str, float], step: int, best_loss: float | None) -> EvalRecord:
    """Of the validation after step ``step``, from 1, with ``eval_loss`` and ``eval_perplexity`` among ``values``."""
    loss = round(values["eval_loss"], 6)
    best = best_loss is None or loss < best_loss
    seconds = round(run.evaluation_batch_s * run.config.eval.batches, 6)
    return EvalRecord(run.number, epoch_of(run, step), step, loss, round(values["eval_perplexity"], 4), seconds, best)


def epoch_of(run: Run, step: int) -> int:
    """The epoch, from 1, that step ``step``, from 1, belongs to."""
    return (step - 1) // run.config.train.steps_per_epoch + 1
