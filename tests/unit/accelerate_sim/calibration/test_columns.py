"""Rows of measurements become the models, machines and methods that they name."""

from __future__ import annotations

import csv
from typing import Any

import pytest

from accelerate_sim.calibration.cells import RefusedRow
from accelerate_sim.calibration.columns import measured
from accelerate_sim.catalog import Architecture
from tests.support.repository import REFERENCE

OPEN = REFERENCE / "published_runs.csv"
"""All published runs."""
RUN = {
    "layers": 4, "hidden": 1024, "heads": 16, "vocab": 1000, "ffn_hidden": 4096, "seq_len": 2048, "global_batch": 8,
    "micro_batch": 1, "gpu": "H100", "n_gpus": 8, "tokens_per_s_per_gpu": 9000,
}  # fmt: skip
EXPERTS = {"moe_experts": 8, "moe_topk": 2, "moe_ffn": 512}


def model(**cells: Any) -> Architecture:
    return measured({name: str(value) for name, value in {**RUN, **cells}.items()}).model


def test_gates_biases_and_positions_are_as_the_row_says() -> None:
    """Each apart from the others, not by the kin of a model."""
    plain = model()
    assert plain.parameters - model(gated_mlp=0).parameters > 4 * 1024 * 4096 - 4 * 4 * 1024
    assert model(bias=1).parameters - plain.parameters == 4 * (4 * 1024 + 2 * 4096 + 1024)
    assert model(learned_pos=1).parameters - plain.parameters == 2048 * 1024
    assert model(learned_pos=512).parameters - plain.parameters == 512 * 1024
    assert plain.parameters - model(tied_emb=1).parameters == 1000 * 1024


def test_memory_is_counted_as_the_row_says_or_as_the_software_prints_it() -> None:
    kinds = {
        measured(
            {name: str(value) for name, value in {**RUN, **EXPERTS, "ep": 8, "mem_gib": 20, **cells}.items()}
        ).memory_kind
        for cells in ({"stack": "automodel"}, {"stack": "torchtitan", "mem_kind": "allocated"})
    }
    assert kinds == {"allocated"}
    plain = {**RUN, "mem_gib": 20, "stack": "automodel", "mem_kind": "reserved"}
    assert measured({name: str(value) for name, value in plain.items()}).memory_kind == "reserved"
    assert measured({name: str(value) for name, value in {**RUN, "mem_gib": 20}.items()}).memory_kind == "used"


def test_latent_attention_needs_no_experts_and_experts_no_gate() -> None:
    assert model(mla=1).mla and not model(mla=1).moe
    gated, plain = model(**EXPERTS), model(**EXPERTS, gated_mlp=0)
    assert gated.parameters - plain.parameters == 4 * 8 * 1024 * 512
    assert model(**EXPERTS, mla=1, moe_shared=1, moe_dense_layers=1).dense_layers == 1
    assert model(moe_experts=0).moe is None


@pytest.mark.parametrize("cells", [{"moe_experts": 8, "moe_topk": 9, "moe_ffn": 512}, {"kv_heads": 3}])
def test_shapes_that_no_model_has_are_refused(cells: dict[str, Any]) -> None:
    with pytest.raises(RefusedRow):
        model(**cells)


def test_models_of_published_runs_have_their_parameters() -> None:
    compared = 0
    with OPEN.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                shape = measured(row).model
            except RefusedRow:
                continue
            assert shape.parameters / 1e9 == pytest.approx(float(row["params_b"]), rel=0.005), row["row_id"]
            assert shape.active_parameters / 1e9 == pytest.approx(float(row["params_active_b"]), rel=0.005)
            compared += 1
    assert compared > 400
