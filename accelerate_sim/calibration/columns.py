"""A row of measurements in the terms that the model predicts from: architecture, machine, layout, method.

The columns are listed in ``COLUMNS``; ``python -m accelerate_sim.calibration --help`` lists them too. A row that these
terms cannot express is refused with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from accelerate_sim import catalog
from accelerate_sim.calibration.cells import BadCell, Cells, RefusedRow
from accelerate_sim.calibration.method_columns import DEFAULT_STACK, fabric_of, method_of
from accelerate_sim.catalog import Architecture, GpuSpec, LatentAttention, Mamba, MixtureOfExperts, UnknownName
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.method import Method
from accelerate_sim.sim.speed.network import Network

REQUIRED = ("layers", "hidden", "heads", "vocab", "ffn_hidden", "seq_len", "global_batch", "micro_batch", "gpu",
            "n_gpus", "tokens_per_s_per_gpu")  # fmt: skip
OPTIONAL = {
    "row_id": "", "family": "other", "stack": DEFAULT_STACK, "model": "", "kv_heads": "", "head_dim": "",
    "gated_mlp": "1", "tied_emb": "0", "learned_pos": "0", "bias": "0", "mla": "0", "moe_experts": "",
    "moe_topk": "", "moe_shared": "0", "moe_ffn": "", "moe_dense_layers": "0", "gpus_per_node": "",
    "inter_gbps_per_gpu": "", "precision": "bf16", "tp": "1", "pp": "1", "vpp": "1", "cp": "1", "ep": "1", "dp": "",
    "sharding": "ddp", "shard_group": "", "recompute": "none", "recompute_frac": "", "old_stack": "0", "seq_par": "0",
    "compiled": "0", "grad_bytes": "", "sw": "", "blocking": "0", "mem_gib": "", "mem_kind": "", "fit_ok": "1",
    "optimizer": "adamw", "optimizer_precision": "", "dispatcher": "", "expert_overlap": "", "graphs": "none",
    "offloaded_layers": "0", "loss_chunks": "1", "hybrid_pattern": "",
    "mamba_heads": "", "mamba_head_dim": "", "mamba_state": "", "mamba_groups": "1", "fabric": "", "notes": "",
}  # fmt: skip
"""Columns that may be missing or empty, with the values that they then have."""
COLUMNS = (*OPTIONAL, *REQUIRED)
INFORMATIVE = ("params_b", "params_active_b", "tflops_per_gpu", "mfu", "step_time_s", "tflops_common", "mfu_common",
               "tflops_convention", "year", "basis", "source")  # fmt: skip
"""Columns that tables of published runs also have; nothing is predicted from them."""
KEYS = {
    "tensor": "tp", "pipeline": "pp", "virtual_stages": "vpp", "context": "cp", "expert": "ep", "data": "dp",
    "sequence": "seq_par", "sequence_length": "seq_len", "ffn": "ffn_hidden", "nic_gbps": "inter_gbps_per_gpu",
    "gpus": "n_gpus", "tied_embeddings": "tied_emb", "learned_positions": "learned_pos", "release": "sw",
    "gradient_bytes": "grad_bytes", "recompute_share": "recompute_frac", "blocking_launches": "blocking",
    "experts": "moe_experts", "active_experts": "moe_topk", "shared_experts": "moe_shared",
    "dense_layers": "moe_dense_layers", "cuda_graphs": "graphs", "nccl_fabric": "fabric",
    "tokens_per_s": "tokens_per_s_per_gpu",
}  # fmt: skip
"""Columns by the names that configs use for them; hints about unknown columns come from here."""
GPUS = {"A100-80": "A100-80-SXM", "A100-40": "A100-40-SXM", "H100": "H100-SXM", "H200": "H200-SXM"}
"""Short names of accelerators; all other names are the catalog's."""
DEEPSEEK_LATENT = LatentAttention(q_rank=1536, kv_rank=512, rope_head_dim=64, nope_head_dim=128, v_head_dim=128)
"""The only latent attention in use at this size: DeepSeek-V3's and Kimi's."""
SHARDINGS = {"hsdp": "fsdp", "zero1_bcast": "zero1"}


@dataclass(frozen=True)
class Measured:
    """A measured run in the model's terms."""

    row_id: str
    family: str
    name: str
    model: Architecture
    gpu: GpuSpec
    network: Network
    layout: Layout
    method: Method
    tokens_per_s_per_gpu: float
    memory_bytes: float | None
    memory_kind: str
    """Way of counting: allocated, reserved, used or states."""
    usable: bool
    """False for rows that are marked as unfit for calibrating."""
    knobs: Mapping[str, str]
    """Settings by column, for comparing rows."""


def measured(row: Mapping[str, str]) -> Measured:
    """Translate one row; raise ``RefusedRow`` if the model cannot express it."""
    cells = Cells({name: (row.get(name) or "").strip() or OPTIONAL.get(name, "") for name in COLUMNS})
    if missing := [name for name in REQUIRED if not cells[name]]:
        raise RefusedRow(f"nothing is said of {', '.join(missing)}")
    model, gpu = _architecture(cells), _gpu(cells)
    method = method_of(cells, gpu)
    layout = _layout(cells, gpu, method)
    nic = cells.number("inter_gbps_per_gpu") if cells["inter_gbps_per_gpu"] else None
    # Some logs print a share of the memory in the same place.
    has_memory = cells["mem_gib"] and "unclear" not in cells["mem_kind"]
    memory = cells.number("mem_gib") * 2**30 if has_memory else None
    network = Network.of(gpu, nic, fabric_of(cells))
    return Measured(
        cells["row_id"], cells["family"], cells["model"], model, gpu, network, layout, method,
        cells.rate("tokens_per_s_per_gpu"), memory, _memory_kind(cells["mem_kind"], method), cells["fit_ok"] != "0",
        _knobs(cells),
    )  # fmt: skip


def _architecture(cells: Cells) -> Architecture:
    shape: dict[str, object] = {
        "layers": cells.positive("layers"), "hidden": cells.positive("hidden"), "heads": cells.positive("heads"),
        "ffn": cells.positive("ffn_hidden"), "vocab": cells.positive("vocab"),
        "context": cells.positive("seq_len"), "tied_embeddings": cells.flag("tied_emb"),
        "gated_mlp": cells.flag("gated_mlp"), "bias": cells.flag("bias"),
        "learned_positions": cells.flag("learned_pos"),
    }  # fmt: skip
    if cells.flag("learned_pos") and cells.positive("learned_pos") > 1:  # how many there are; 1 only means yes
        shape["context"] = cells.positive("learned_pos")
    if cells["kv_heads"]:
        shape["kv_heads"] = cells.positive("kv_heads")
    if cells.flag("mla"):
        shape["mla"] = DEEPSEEK_LATENT
    elif cells["head_dim"]:
        shape["head_dim"] = cells.positive("head_dim")
    if cells["hybrid_pattern"]:
        shape["hybrid_pattern"], shape["mamba"] = cells["hybrid_pattern"], _mamba(cells)
    try:
        return Architecture.model_validate({"family": _family(cells), "moe": _experts(cells), **shape})
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise RefusedRow(f"{where}: {problem['msg'].removeprefix('Value error, ')}".removeprefix(": ")) from None


def _experts(cells: Cells) -> MixtureOfExperts | None:
    if not cells.flag("moe_experts"):
        return None
    return MixtureOfExperts(
        experts=cells.positive("moe_experts"), active_experts=cells.positive("moe_topk"),
        shared_experts=cells.count("moe_shared"), ffn=cells.positive("moe_ffn"),
        dense_layers=cells.count("moe_dense_layers"),
    )  # fmt: skip


def _mamba(cells: Cells) -> Mamba | None:
    if not cells["mamba_heads"]:
        return None
    return Mamba(
        heads=cells.positive("mamba_heads"), head_dim=cells.positive("mamba_head_dim"),
        state=cells.positive("mamba_state"), groups=cells.positive("mamba_groups"),
    )  # fmt: skip


def _family(cells: Cells) -> str:
    """Return the catalog's family with such norms, attention and experts; other keys state the rest."""
    if cells["hybrid_pattern"]:
        return "nemotron_h"
    if cells.flag("mla"):
        return "deepseek_v3"
    if cells.flag("moe_experts"):
        return "deepseek" if cells.flag("moe_shared") or cells.flag("moe_dense_layers") else "mixtral"
    if cells.flag("gated_mlp"):
        return "llama"
    return "gpt_neox" if cells.flag("bias") else "nemotron"


def _gpu(cells: Cells) -> GpuSpec:
    try:
        return catalog.gpu(GPUS.get(cells["gpu"], cells["gpu"]))
    except UnknownName as error:
        known = ", ".join([*GPUS, *catalog.gpu_names()])
        raise BadCell(f"gpu = {cells['gpu']!r} is an unknown GPU ({error.args[0]}); use one of {known}") from None


def _layout(cells: Cells, gpu: GpuSpec, method: Method) -> Layout:
    gpus = cells.positive("n_gpus")
    per_node = min(gpus, cells.positive("gpus_per_node") if cells["gpus_per_node"] else gpu.gpus_per_node)
    domain = per_node
    if gpu.nvlink_domain > gpu.gpus_per_node:  # the rack is the domain, whatever is called a node
        per_node, domain = min(gpus, gpu.gpus_per_node), min(gpus, gpu.nvlink_domain)
    if gpus % per_node:
        raise RefusedRow(f"{gpus} GPUs are no whole number of nodes of {per_node}")
    sharding = SHARDINGS.get(cells["sharding"], cells["sharding"])
    if sharding not in ("ddp", "zero1", "zero2", "zero3", "fsdp"):
        raise BadCell(f"sharding = {sharding!r} is none of ddp, zero1, zero2, zero3, fsdp, hsdp")
    sizes = {name: cells.positive(name) for name in ("tp", "pp", "cp", "ep", "vpp", "global_batch", "micro_batch")}
    layout = Layout(
        nodes=gpus // per_node, gpus_per_node=per_node, nvlink_domain=domain, tensor=sizes["tp"], pipeline=sizes["pp"],
        context=sizes["cp"], expert=sizes["ep"], virtual_stages=sizes["vpp"], sharding=sharding,
        sequence_parallel=sizes["tp"] > 1 and (cells.flag("seq_par") or method.stack.sequence_parallel),
        shard_group=cells.positive("shard_group") if cells["shard_group"] else None,
        sequence_length=cells.positive("seq_len"), global_batch=sizes["global_batch"], micro_batch=sizes["micro_batch"],
    )  # fmt: skip
    if gpus % layout.model_parallel:
        raise RefusedRow(f"TP {layout.tensor} x PP {layout.pipeline} x CP {layout.context} does not divide {gpus} GPUs")
    if layout.accumulation < 1:
        raise RefusedRow(f"a global batch of {layout.global_batch} is less than one micro-batch on every replica")
    return layout


def _memory_kind(text: str, method: Method) -> str:
    if "analytic" in text:
        return "states"
    # AutoModel's logs print what torch has allocated.
    usual = "allocated" if method.stack.name == "automodel" else "used"
    return next((kind for kind in ("allocated", "reserved") if kind in text), usual)


KNOBS = ("precision", "gpu", "seq_len", "micro_batch", "tp", "pp", "vpp", "cp", "ep", "n_gpus", "sharding",
         "shard_group", "recompute", "recompute_frac", "compiled", "seq_par", "sw", "layers", "hidden", "heads",
         "global_batch", "grad_bytes", "optimizer", "optimizer_precision", "dispatcher", "expert_overlap",
         "graphs", "offloaded_layers", "loss_chunks", "fabric")  # fmt: skip


def _knobs(cells: Cells) -> dict[str, str]:
    knobs = {name: cells[name] for name in KNOBS}
    knobs["overlap"] = "async TP" if "async TP" in cells["notes"] else ""
    return knobs
