"""The arguments that Megatron-LM would have been given for a run, under its names."""

from __future__ import annotations

from typing import Any

from accelerate_sim.records import RunFacts
from accelerate_sim.sim.plan import Plan

DECAY_STYLES = {"cosine": "cosine", "linear": "linear", "wsd": "WSD", "constant": "constant"}
RECOMPUTE = {"none": None, "selective": "selective", "full": "full"}


def arguments(plan: Plan, run: RunFacts, *, log_throughput: bool) -> dict[str, Any]:
    """Names and values of the arguments that the run decides."""
    config, layout, shape = plan.config, plan.layout, plan.model.architecture
    train, moe = config.train, shape.moe
    found = {
        "attention_dropout": 0.0, "bf16": train.precision != "fp16", "clip_grad": train.max_grad_norm,
        "context_parallel_size": layout.context, "data_parallel_size": layout.data,
        "distributed_backend": "nccl", "eval_interval": config.eval.every or train.steps_per_epoch,
        "eval_iters": config.eval.batches, "expert_model_parallel_size": layout.expert,
        "ffn_hidden_size": shape.ffn, "fp16": train.precision == "fp16",
        "global_batch_size": layout.global_batch, "hidden_dropout": 0.0, "hidden_size": shape.hidden,
        "iteration": 0, "log_interval": run.log_every, "log_throughput": log_throughput, "lr": train.lr,
        "lr_decay_style": DECAY_STYLES[train.schedule], "lr_warmup_iters": train.warmup_steps,
        "max_position_embeddings": shape.context, "micro_batch_size": layout.micro_batch, "min_lr": train.min_lr,
        "normalization": "RMSNorm" if shape.norm == "rms" else "LayerNorm", "num_attention_heads": shape.heads,
        "num_experts": moe.experts if moe else None, "num_layers": shape.layers,
        "num_query_groups": shape.kv_heads, "optimizer": "adam" if train.optimizer == "adamw" else train.optimizer,
        "padded_vocab_size": None,
        "params_dtype": f"torch.{'float16' if train.precision == 'fp16' else 'bfloat16'}",
        "pipeline_model_parallel_size": layout.pipeline, "rank": 0,
        "recompute_granularity": RECOMPUTE[train.recompute], "save_interval": config.checkpoint.every or None,
        "seed": run.seed, "seq_length": layout.sequence_length, "sequence_parallel": layout.sequence_parallel,
        "swiglu": shape.gated_mlp, "tensor_model_parallel_size": layout.tensor, "train_iters": run.total_steps,
        "untie_embeddings_and_output_weights": not shape.tied_embeddings,
        "use_distributed_optimizer": layout.sharding != "ddp", "weight_decay": train.weight_decay,
        "world_size": run.world_size,
    }  # fmt: skip
    if layout.virtual_stages > 1:
        found["num_layers_per_virtual_pipeline_stage"] = shape.layers // layout.pipeline // layout.virtual_stages
    return found
