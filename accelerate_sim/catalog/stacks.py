"""Training software as far as speed depends on it: kernels, overlap, and how well its clusters were kept."""

from typing import Literal

from pydantic import Field

from accelerate_sim.catalog.entries import Entries, Entry


class SoftwareStack(Entry):
    """A version of a training framework."""

    name: str = Field(description="Key in stacks.yaml, e.g. megatron-core.")
    title: str
    kernels: Literal["unfused", "plain", "eager", "fused"] = Field(
        description="Norms, activations and the like: one kernel each in half or full precision (unfused), one kernel "
        "for each operation that they are written as in Python (plain), one kernel each (eager), or merged by hand or "
        "by a compiler (fused)."
    )
    attention: Literal["unfused", "triton", "flash2", "cudnn"] = Field(
        description="Attention writes its scores to memory (unfused), or keeps them on chip."
    )
    sequence_parallel: bool = Field(description="Tensor-parallel ranks also share norms and residuals.")
    overlap: Literal["serial", "none", "sharded", "full"] = Field(
        description="Communication behind computing: none by design (serial: with the slow launches of 2021), "
        "of weights and gradients (sharded), of tensor parallelism as well (full)."
    )
    dispatcher: Literal["alltoall", "deepep", "hybridep"] = Field(
        "alltoall", description="Sends tokens to their experts: one copy for each expert (alltoall), or one for each "
        "GPU and each NVLink domain that holds any of them (deepep, hybridep)."
    )  # fmt: skip
    rack_dispatcher: Literal["hybridep"] | None = Field(
        None, description="Sends tokens in racks, where NVLink joins GPUs of many hosts; null: as elsewhere."
    )
    overlaps_experts: bool = Field(
        False, description="The tokens of one micro-batch travel while another one is computed."
    )
    optimizer_precision: Literal["fp32", "bf16-moments", "bf16"] = Field(
        "fp32", description="Master weights and moments of the optimizer in fp32; moments in bf16; or both in bf16, "
        "where the weights are their own masters."
    )  # fmt: skip
    expert_release: float | None = Field(
        None, description="Year and its share after 2000 of the first release that spreads experts over GPUs; null: "
        "the release itself does."
    )  # fmt: skip
    successor: str | None = Field(
        None, description="Stack that runs in place of this one on GPUs made after Ampere, which it has no kernels for."
    )
    reduced_gradient_bytes: int = Field(
        4, description="Of a gradient on its way to the other replicas, at most; it is never widened for it."
    )
    gathers_fp8_weights: bool = Field(
        False, description="Replicas gather weights in fp8 where matrix products use it with one scale for a tensor."
    )
    keeps_gathered: bool = Field(
        False, description="Of a model with experts, sharded weights are gathered once a step and kept until the last "
        "backward pass, which alone reduces gradients; else each pass gathers them."
    )  # fmt: skip
    gathers_by_broadcast: bool = Field(
        False, description="Updated weights are sent by one broadcast for each rank, not in one all-gather."
    )
    narrow: tuple[Literal["gradients", "inputs", "logits", "norms", "routed"], ...] = Field(
        (), description="What takes less memory than elsewhere: gradients in half precision, inputs of fp8 products "
        "kept in fp8, logits and their gradient in half precision (fused loss), norms that keep half precision, "
        "experts' outputs that are weighted at once and not kept."
    )  # fmt: skip
    balances_stages: bool = Field(
        False, description="Pipeline stages have about as many weights each, with the head's; else as many layers."
    )
    makes_gradients: bool = Field(
        False, description="Gradients are given up after each step and made anew in the backward pass, so that none is "
        "there with a first micro-batch's activations; else their memory is there from the start."
    )  # fmt: skip
    optimizer_by_operation: bool = Field(
        False, description="The optimizer's step runs one operation after the other over all parameters, and holds "
        "the root of their second moments meanwhile; else all operations are merged."
    )  # fmt: skip
    checkpoints_whole: bool = Field(
        False, description="What is computed again is a layer's whole forward pass, as reentrant checkpoints of "
        "PyTorch do it; else it stops where the backward pass has all it needs."
    )  # fmt: skip
    compiles: Literal["blocks", "whole"] = Field(
        "blocks", description="Part of the model that a compiler gets, where it is used: its blocks, or the whole with "
        "the loss."
    )  # fmt: skip
    kind: Literal["maker", "community", "old"] = Field(
        description="Tuned and measured by the maker of the GPUs, or by others (community), whose steps take longer by "
        "a factor; old: of before flash attention, each with a factor of its own alone."
    )
    cluster: Literal["tuned", "usual"] = Field(description="How much ranks wait for the slowest as they become more.")
    release: float = Field(description="Year and its share after 2000; kernels for experts improve by the month.")
    source: str = Field(min_length=1)


_STACKS = Entries("stack", SoftwareStack, "stacks.yaml")


def stack(name: str) -> SoftwareStack:
    """Return the software called ``name``, in any case; raise ``UnknownName`` if none."""
    return _STACKS.get(name)


def stack_names() -> list[str]:
    """Return the names of all software stacks."""
    return _STACKS.names()
