"""Builds the records of a run's start, steps and validations from its physics and what the script has measured."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from accelerate_sim.records import DataRecord, EvalRecord, ModelRecord, RampRecord, RunFacts, StartRecord, StepRecord
from accelerate_sim.sim.subset import subset_of

if TYPE_CHECKING:
    from accelerate_sim.sim.plan import Plan
    from accelerate_sim.sim.run import Run


def run_facts(plan: Plan) -> RunFacts:
    """The facts that all records of a run share."""
    config, layout, gpu = plan.config, plan.layout, plan.gpu
    return RunFacts(
        run=plan.number,
        seed=plan.seed,
        host=config.cluster.host,
        nodes=layout.nodes,
        gpus_per_node=layout.gpus_per_node,
        gpu=gpu.product,
        memory_total_bytes=gpu.memory_bytes,
        peak_flops_per_gpu=gpu.bf16_flops,
        flops_per_token=plan.flops_per_token,
        total_steps=plan.last_step,
        steps_per_epoch=config.train.steps_per_epoch,
        epochs=config.train.epochs,
        sequence_length=layout.sequence_length,
        micro_batch=layout.micro_batch,
        data_parallel=layout.data,
        log_every=config.log.every,
    )


def start_record(run: Run, start: datetime) -> StartRecord:
    """The config and the plan of a run that starts at ``start``."""
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


def model_record(plan: Plan) -> ModelRecord:
    """The model that is about to be loaded."""
    spec, shape = plan.model, plan.model.architecture
    moe = shape.moe
    return ModelRecord(
        name=spec.hub_id or spec.title,
        model_class=shape.model_class,
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        ffn=moe.ffn if moe else shape.ffn,
        vocab=shape.vocab,
        context=shape.context,
        experts=moe.experts if moe else 0,
        active_experts=moe.active_experts if moe else 0,
        parameters=shape.parameters,
        active_parameters=shape.active_parameters,
        weight_bytes=plan.export_bytes,
        start=plan.config.train.start,
    )


def data_record(plan: Plan) -> DataRecord:
    """The dataset, and the part of it that the run reads."""
    ramp, layout, batches = plan.config.train.batch_ramp, plan.layout, plan.batches
    subset = subset_of(plan.dataset, plan.config.train.steps_per_epoch * layout.tokens_per_step)
    return DataRecord(
        dataset=plan.dataset.title,
        subset=subset.name,
        samples=subset.samples,
        tokens=subset.tokens,
        all_tokens=plan.dataset.tokens,
        ramp=RampRecord(ramp.start, ramp.increment, ramp.samples, batches.whole.first_step + 1)
        if ramp and len(batches.stages) > 1
        else None,
        global_batch=layout.global_batch,
        accumulation=layout.accumulation,
        tokens_per_step=layout.tokens_per_step,
        planned_tokens=plan.tokens_before(plan.last_step),
        epochs_alike=not ramp and plan.last_step == plan.total_steps,
    )


def step_record(run: Run, values: Mapping[str, float], step: int, time: datetime, memory_used_bytes: int) -> StepRecord:
    """The record of ``step``, from 1; ``values`` holds its loss, perplexity, grad_norm and lr."""
    timing, scaling = run.timing(step - 1), run.loss_scaling(step - 1)
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
        loss_scale=scaling.scale if scaling else None,
        skipped=scaling.skipped if scaling else None,
    )


def eval_record(run: Run, values: Mapping[str, float], step: int, best_loss: float | None) -> EvalRecord:
    """The record of the validation after ``step``, from 1; ``values`` holds ``eval_loss`` and ``eval_perplexity``."""
    loss = round(values["eval_loss"], 6)
    best = best_loss is None or loss < best_loss
    seconds = round(run.evaluation_batch_s * run.config.eval.batches, 6)
    return EvalRecord(run.number, epoch_of(run, step), step, loss, round(values["eval_perplexity"], 4), seconds, best)


def epoch_of(run: Run, step: int) -> int:
    """The epoch, from 1, of ``step``, from 1."""
    return (step - 1) // run.config.train.steps_per_epoch + 1
