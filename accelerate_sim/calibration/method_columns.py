"""The cells of a row about its method: software, precision, recomputation, optimizer, fabric."""

from collections.abc import Iterable

from accelerate_sim import catalog
from accelerate_sim.calibration.cells import BadCell, Cells
from accelerate_sim.catalog import GpuSpec, SoftwareStack, UnknownName
from accelerate_sim.sim.memory.optimizer_state import MASTER_BYTES, MOMENTS
from accelerate_sim.sim.method import RECOMPUTED_SHARE, Method, dispatcher_on, release_of, running_stack
from accelerate_sim.sim.speed.network import ALL_TO_ALL_SHARE

DEFAULT_STACK = "megatron-core"
STACKS = {
    "megatron_old": "megatron-2021", "megds": "megatron-deepspeed", "ds": "deepspeed", "foundry": "llm-foundry",
    "nemo": "nemo", "mbridge": "megatron-core", "megatron": "megatron-2024", "titan": "torchtitan", "fms": "fsdp",
    "intern": "internevo", "jax": "maxtext", "simu": "no-overlap", "other": "custom", "colossal": "colossal-ai",
}  # fmt: skip
"""Short names of software stacks."""
PRECISIONS = ("bf16", "fp16", "fp8", "mxfp8", "nvfp4")
DISPATCHERS = ("alltoall", "deepep", "hybridep")
GRAPHS = ("none", "router", "layer", "step")
OVERLAP = {"overlap on": True, "overlap off": False}
"""Remarks on whether tokens are sent while the GPUs compute, for rows without a column for it."""


def method_of(cells: Cells, gpu: GpuSpec) -> Method:
    """Return the method of a row on ``gpu``."""
    stack = running_stack(_stack(_stack_name(cells)).name, gpu)
    precision, recompute = _one_of(cells, "precision", PRECISIONS), _one_of(cells, "recompute", RECOMPUTED_SHARE)
    share = cells.number("recompute_frac") if cells["recompute_frac"] else RECOMPUTED_SHARE[recompute]
    release = _release(cells["sw"]) if cells["sw"] else release_of(stack, gpu, cells.positive("ep"))
    remarks = cells["notes"].lower()
    remarked = next((name for name in DISPATCHERS if name in remarks), None)
    behind = next((answer for remark, answer in OVERLAP.items() if remark in remarks), None)
    return Method(
        precision=precision, recompute=recompute, recompute_share=share,
        gradient_bytes=cells.number("grad_bytes") if cells["grad_bytes"] else None, stack=stack,
        compiled=cells.flag("compiled"), tensor_overlap=True if "async tp" in remarks else None,
        blocking_launches=cells.flag("blocking"), release=release, optimizer=_one_of(cells, "optimizer", MOMENTS),
        optimizer_precision=_one_of(cells, "optimizer_precision", ("", *MASTER_BYTES)) or None,
        dispatcher=_one_of(cells, "dispatcher", ("", *DISPATCHERS)) or remarked or dispatcher_on(stack, gpu),
        expert_overlap=cells.flag("expert_overlap") if cells["expert_overlap"] else behind,
        graphs=_one_of(cells, "graphs", GRAPHS), offloaded_layers=cells.count("offloaded_layers"),
        loss_chunks=cells.positive("loss_chunks"),
    )  # fmt: skip


def fabric_of(cells: Cells) -> str:
    """Return the network between machines: what the column says, else the name of the family, else InfiniBand."""
    named = [fabric for fabric in ALL_TO_ALL_SHARE if fabric in cells["family"].lower().split("-")]
    return _one_of(cells, "fabric", ("", *ALL_TO_ALL_SHARE)) or next(iter(named), "infiniband")


def _stack_name(cells: Cells) -> str:
    if cells["sharding"] == "zero1_bcast":
        return "internevo-broadcast"
    if cells.flag("old_stack") and cells["stack"] == DEFAULT_STACK:
        return "megatron-2021"
    if cells["stack"] == "fsdp" and cells.positive("ep") > 1:
        return "automodel"  # FSDP spreads experts since its second version, of which AutoModel's runs are published
    return STACKS.get(cells["stack"], cells["stack"])


def _stack(name: str) -> SoftwareStack:
    try:
        return catalog.stack(name)
    except UnknownName:
        known = ", ".join([*STACKS, *catalog.stack_names()])
        raise BadCell(f"stack = {name!r} is unknown software; use one of {known}") from None


def _one_of(cells: Cells, name: str, known: Iterable[str]) -> str:
    if cells[name] not in known:
        raise BadCell(f"{name} = {cells[name]!r} is none of {', '.join(filter(None, known))}")
    return cells[name]


def _release(text: str) -> float:
    """Return the year and its share after 2000: 26.04 is April 2026."""
    year, _, month = text.partition(".")
    try:
        return int(year) + (int(month or 1) - 1) / 12
    except ValueError:
        raise BadCell(f"sw = {text!r} is not a release like 26.04") from None
