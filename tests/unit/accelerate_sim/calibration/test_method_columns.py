"""Cells of a row about software, optimizer, dispatcher and fabric."""

from __future__ import annotations

from typing import Any

import pytest

from accelerate_sim.calibration.cells import BadCell
from accelerate_sim.calibration.columns import Measured, measured

RUN = {
    "layers": 4, "hidden": 1024, "heads": 16, "vocab": 1000, "ffn_hidden": 4096, "seq_len": 2048, "global_batch": 32,
    "micro_batch": 1, "gpu": "H100", "n_gpus": 32, "tokens_per_s_per_gpu": 9000,
    "moe_experts": 8, "moe_topk": 2, "moe_ffn": 512, "ep": 8,
}  # fmt: skip


def run(**cells: Any) -> Measured:
    return measured({name: str(value) for name, value in {**RUN, **cells}.items()})


def test_fsdp_that_spreads_experts_is_its_second_version() -> None:
    assert run(stack="fsdp").method.stack.name == "automodel"
    assert run(stack="fsdp", ep=1).method.stack.name == "fsdp"


def test_software_follows_the_gpu_unless_the_row_states_a_release() -> None:
    assert run(stack="ds", gpu="H200").method.stack.name == "deepspeed-2024"
    assert run(stack="ds", gpu="A100-80").method.stack.name == "deepspeed"
    assert run(stack="megatron", gpu="B300").method.release == 25.5
    assert run(stack="megatron", gpu="B300", sw="26.04").method.release == 26.25


def test_a_dispatcher_comes_from_its_column_or_from_a_remark() -> None:
    assert run().method.dispatcher == "deepep"
    assert run(gpu="GB200").method.dispatcher == "hybridep"
    assert run(dispatcher="alltoall").method.dispatcher == "alltoall"
    told = run(notes="UCCL deepep, overlap on").method
    assert told.dispatcher == "deepep" and told.overlaps_experts
    assert not run(notes="overlap off", stack="megatron").method.overlaps_experts
    assert not run(notes="overlap on", expert_overlap=0).method.overlaps_experts


def test_a_fabric_comes_from_its_column_or_from_the_name_of_the_family() -> None:
    plain, told, named = run(), run(fabric="efa"), run(family="cloud-efa")
    assert told.network == named.network != plain.network
    assert run(family="cloud-efa", fabric="infiniband").network == plain.network


def test_optimizers_and_the_precision_of_their_state_are_read() -> None:
    method = run(optimizer="muon", optimizer_precision="bf16").method
    assert (method.optimizer, method.state_precision) == ("muon", "bf16")
    assert run().method.state_precision == "fp32"


def test_graphs_and_offloaded_layers_are_read() -> None:
    method = run(graphs="layer", offloaded_layers=2).method
    assert (method.graphs, method.offloaded_layers) == ("layer", 2)
    assert (run().method.graphs, run().method.offloaded_layers) == ("none", 0)
    assert (run(loss_chunks=8).method.loss_chunks, run().method.loss_chunks) == (8, 1)


@pytest.mark.parametrize(
    "name", ["graphs", "optimizer", "optimizer_precision", "dispatcher", "fabric", "precision", "recompute"]
)
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(BadCell, match=f"{name} = 'odd' is none of [a-z0-9]+, "):
        run(**{name: "odd"})
