"""The set-up lines of torchtitan's voice, from the version to the sizes of the training.

Sources: the modules train, metrics and parallel_dims at v0.1.0 and v0.2.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from accelerate_sim.records import CheckpointingRecord, ConnectRecord, DetectRecord, LaunchRecord, ModelLoadedRecord
from accelerate_sim.voices.torchtitan_state import GIB, Titan
from accelerate_sim.voices.voice import Line, Wording


def _launch(record: LaunchRecord, state: Titan) -> Iterator[Line]:
    if not state.is_01:
        yield state.line("torchtitan version: 0.2.2 (0.0.0 means __version__ is not defined correctly).")
    yield state.line(f"Starting job: {state.plan.model.title} training")
    yield from _mesh(state)
    yield state.gc("Initial GC collection")
    shape = state.plan.model.architecture
    if state.is_01:
        ids = f"BOS ID {shape.vocab - 256}, EOS ID {shape.vocab - 255}"
        yield state.line(f"TikTokenizer built: #words {shape.vocab}, {ids}")
    else:
        yield state.line("Loading tokenizer from tokenizer.json")
    yield state.line(_prepared(state))
    name, size = state.model
    sizes = {
        "dim": shape.hidden, "n_layers": shape.layers, "n_heads": shape.heads, "n_kv_heads": shape.kv_heads,
        "vocab_size": shape.vocab, "max_seq_len": state.run.sequence_length,
    }  # fmt: skip
    if state.is_01:
        text = ", ".join(f"{key}={value}" for key, value in sizes.items())
        yield state.line(f"Building {name} {size} with TransformerModelArgs({text})")
    else:
        yield state.line(f"Building {name} {size}with {json.dumps(sizes, indent=2)}")


def _prepared(state: Titan) -> str:
    """The text about the dataset, which 0.2.2 prints for the validation, too."""
    return f"Preparing {state.plan.dataset.name} dataset from {state.plan.dataset.name}"


def _mesh(state: Titan) -> Iterator[Line]:
    layout = state.plan.layout
    shard = layout.shards if layout.sharding == "fsdp" else 1
    replicas = max(layout.data // shard, 1)
    degrees = {"pp": layout.pipeline, "dp_replicate": replicas, "dp_shard": shard,
               "cp": layout.context, "tp": layout.tensor}  # fmt: skip
    used = {name: degree for name, degree in degrees.items() if degree > 1} or {"dp_shard": 1}
    if state.is_01:
        yield state.line(f"Building {len(used)}-D device mesh with {list(used)}, {list(used.values())}")
        return
    text = ", ".join(f"{name}={degree}" for name, degree in degrees.items())
    yield state.line(f"Building device mesh with parallelism: {text}, ep={layout.expert}, etp=1")
    sharded = shard * layout.context
    sizes = {
        "pp": layout.pipeline, "batch": replicas * shard, "loss": replicas * sharded, "dp_replicate": replicas,
        "fsdp": sharded, "cp": layout.context, "tp": layout.tensor, "ep": layout.expert,
        "efsdp": sharded * layout.tensor // layout.expert,
    }  # fmt: skip
    active = [name for name, size in sizes.items() if size > 1]
    yield state.line(f"Successfully created meshes with active dimensions: {active}")


def _model(record: ModelLoadedRecord, state: Titan) -> Iterator[Line]:
    color, plan = state.color, state.plan
    yield state.line(f"CUDA capacity: {state.run.gpu} with {state.run.memory_total_bytes / GIB:.2f}GiB memory")
    yield state.line(
        f"{color.blue}Model {' '.join(state.model)} "
        f"{color.red}size: {plan.model.architecture.parameters:,} total parameters{color.reset}"
    )
    if plan.layout.tensor > 1:
        yield state.line("Applied Tensor Parallelism to the model")
    recompute = plan.config.train.recompute
    if recompute != "none":
        yield state.line(f"Applied {recompute} activation checkpointing to the model")
    if plan.config.train.compiled:
        yield state.line("Compiling each TransformerBlock with torch.compile")
    shards, copies = state.is_sharded, plan.layout.data > plan.layout.shards
    yield state.line(f"Applied {('HSDP' if copies else 'FSDP') if shards else 'DDP'} to the model")


def _connected(record: ConnectRecord, state: Titan) -> Iterator[Line]:
    use = state.plan.memory
    weights = use.weights + use.gradients
    yield state.line(f"Peak FLOPS used for computing MFU: {state.run.peak_flops_per_gpu:.3e}")
    share = 100.0 * weights / state.run.memory_total_bytes
    yield state.line(f"CUDA memory usage for model: {weights / GIB:.2f}GiB({share:.2f}%)")


def _checkpointing(record: CheckpointingRecord, state: Titan) -> Iterator[Line]:
    yield state.line(f"Checkpointing active. Checkpoints will be loaded from and saved to {record.directory}")


def _training(record: DetectRecord, state: Titan) -> Iterator[Line]:
    run, layout, train = state.run, state.plan.layout, state.plan.config.train
    state.since = state.now()
    whole = layout.tensor == layout.pipeline == 1
    how = "handled by fully_shard" if state.is_sharded else "handled by AMP" if whole else "disabled"
    yield state.line(f"Mixed precision training is {how}")
    if not state.is_01 and state.plan.config.eval.batches:
        yield state.line(_prepared(state))
    yield state.line(
        f"Trainer is initialized with local batch size {run.micro_batch}, global batch size {layout.global_batch}, "
        f"gradient accumulation steps {layout.accumulation}, sequence length {run.sequence_length}, "
        f"total steps {run.total_steps} (warmup {train.warmup_steps}){state.dot}"
    )


SETUP: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ModelLoadedRecord: _model,
    ConnectRecord: _connected,
    CheckpointingRecord: _checkpointing,
    DetectRecord: _training,
}
"""Kinds of record of the set-up."""
