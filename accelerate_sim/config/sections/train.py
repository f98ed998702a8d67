"""``data``, ``train`` and ``eval``: the dataset, the training method and the validations."""

from typing import Annotated, Literal

from pydantic import Field

from accelerate_sim.config.sections.section import Section
from accelerate_sim.config.value_types import Count, Interval, Name, Number, Positive, Share

EPOCHS, STEPS_PER_EPOCH, LR = 3, 1000, 1.5e-4
"""Defaults that others follow from, also where a file has a value that is refused: pydantic 2.10 asks for them then."""


class DataConfig(Section):
    """The training data."""

    dataset: Name = Field("fineweb-edu", description="Name of a dataset in the catalog; --list datasets shows them.")
    tokenizer: Name | None = Field(None, description="Name of the tokenizer; null: that of the model.")


class BatchRamp(Section):
    """A global batch that grows, as with Megatron-LM's --rampup-batch-size."""

    start: Count = Field(ge=1, le=1_000_000, description="Sequences in the first step.")
    increment: Count = Field(ge=1, le=1_000_000, description="Sequences that each stage adds to the batch.")
    samples: Count = Field(ge=1, le=10**12, description="Sequences after which the batch is global_batch.")


class TrainConfig(Section):
    """Optimizer, batch, schedule, precision and training software."""

    start: Literal["scratch", "checkpoint", "finetune"] = Field(
        "scratch",
        description="Start of the training: random weights, the state of an earlier run, or a finished model.",
    )
    epochs: Count = Field(
        EPOCHS, ge=1, le=10_000, description="Passes of steps_per_epoch steps, each ending in a validation."
    )
    steps_per_epoch: Count = Field(STEPS_PER_EPOCH, ge=1, le=100_000_000, description="Optimizer steps in one epoch.")
    max_steps: Annotated[Count, Field(ge=1, le=10**9)] | None = Field(
        None, description="Stop after this many steps; the schedule stays that of the whole run. null: all steps."
    )
    sequence_length: Count = Field(8192, ge=1, le=16_777_216, description="Tokens in one sequence.")
    global_batch: Count = Field(128, ge=1, le=1_000_000, description="Sequences in one optimizer step.")
    batch_ramp: BatchRamp | None = Field(
        None, description="A smaller batch at first: {start, increment, samples}; null: global_batch from the start."
    )
    micro_batch: Count = Field(
        1, ge=1, le=100_000, description="Sequences in one forward pass of one data-parallel rank."
    )
    precision: Literal["bf16", "fp16", "fp8", "mxfp8", "nvfp4"] = Field(
        "bf16",
        description="Number format of the matrix products; mxfp8: fp8 with a scale per 32 numbers; nvfp4: 4 bits with "
        "a scale per 16.",
    )
    optimizer: Literal["adamw", "muon", "soap", "lion", "adafactor"] = Field(
        "adamw", description="Optimizer; sets the state it keeps for each parameter and how fast the loss falls."
    )
    optimizer_precision: Literal["fp32", "bf16-moments", "bf16"] | None = Field(
        None,
        description="Optimizer state: master weights and moments in fp32 (fp32), moments in bf16 (bf16-moments), or "
        "weights as their own masters and moments in bf16 (bf16); null: what the software does.",
    )
    cuda_graphs: Literal["none", "router", "layer", "step"] = Field(
        "none",
        description="Kernels that CUDA graphs launch together: none, those that route tokens to experts (router), "
        "attention's as well (layer), or all of a step (step).",
    )
    offloaded_layers: Count = Field(
        0,
        ge=0,
        le=100_000,
        description="Layers of a pipeline stage whose activations wait in the host's memory for the backward pass.",
    )
    loss_chunks: Count = Field(
        1, ge=1, le=100_000, description="Parts of a micro-batch whose logits are made one after the other."
    )
    lr: Positive = Field(LR, description="Peak learning rate; muon takes AdamW's rates, lion about a quarter.")
    min_lr: Annotated[Number, Field(ge=0)] = Field(
        default_factory=lambda known: float(f"{known.get('lr', LR) / 10:.6g}"),
        description="Learning rate at the last step; default: a tenth of lr.",
    )
    schedule: Literal["cosine", "linear", "wsd", "constant"] = Field("cosine", description="Shape after the warm-up.")
    warmup_steps: Count = Field(
        default_factory=lambda known: min(
            100, known.get("epochs", EPOCHS) * known.get("steps_per_epoch", STEPS_PER_EPOCH) // 10
        ),
        ge=0,
        le=100_000_000,
        description="Steps of linear warm-up; default: 100, or a tenth of all steps if that is less.",
    )
    max_grad_norm: Positive = Field(1.0, description="Norm to which gradients are clipped.")
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = Field(0.1, description="Decoupled weight decay.")
    recompute: Literal["none", "selective", "full"] = Field(
        "selective", description="Activations that are computed again in the backward pass to save memory."
    )
    recompute_share: Share | None = Field(
        None, description="Share of a layer's forward pass that is computed again; null: all with full, none otherwise."
    )
    gradient_bytes: Annotated[Number, Field(ge=1, le=16)] | None = Field(
        None,
        description="Bytes of a parameter's gradient; null: 2 if sharded or if the stack uses 2, else 4.",
    )
    stack: Name = Field(
        "megatron-core", description="Training software, a name in catalog/stacks.yaml; sets kernels and overlap."
    )
    compiled: bool = Field(False, description="A compiler merges kernels, if the software does not do so itself.")
    blocking_launches: bool = Field(False, description="The host waits for every kernel (CUDA_LAUNCH_BLOCKING=1).")
    release: Annotated[Number, Field(ge=17, le=40)] | None = Field(
        None, description="Release of the software in years after 2000 (26.25: April 2026); null: that of the stack."
    )


class EvalConfig(Section):
    """Validations during training."""

    every: Interval = Field(0, description="Steps between validations, which also end each epoch; 'epoch': only those.")
    batches: Count = Field(
        100, ge=1, le=1_000_000, description="Micro-batches that each data-parallel rank validates on."
    )
