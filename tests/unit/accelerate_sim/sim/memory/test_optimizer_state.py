"""The state that each optimizer keeps, in each precision, and what its step costs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from accelerate_sim import catalog
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.memory.optimizer_state import (
    MOMENTS,
    optimizer_flops,
    optimizer_state_bytes,
    optimizer_traffic_bytes,
    step_copy_bytes,
)
from accelerate_sim.sim.method import Method
from accelerate_sim.sim.plan import Plan

LLAMA = catalog.model("llama-3-8b").architecture
METHOD = Method.of(RunConfig())


def state(optimizer: str, precision: str = "fp32") -> float:
    return optimizer_state_bytes(LLAMA, replace(METHOD, optimizer=optimizer, optimizer_precision=precision))


def test_adamw_keeps_what_zero_counts() -> None:
    """Rajbhandari et al. 2020: 12 bytes a parameter. Torch's AdamW on bf16 weights keeps two bf16 moments."""
    assert state("adamw") == 12
    assert state("adamw", "bf16-moments") == 8
    assert state("adamw", "bf16") == 4


@pytest.mark.parametrize("precision", ["fp32", "bf16-moments", "bf16"])
def test_optimizers_keep_more_the_more_they_know(precision: str) -> None:
    """Adafactor's sums are next to nothing; Muon has Adam's two moments for embeddings; SOAP has whole matrices."""
    order = ["adafactor", "lion", "muon", "adamw", "soap"]
    sizes = [state(name, precision) for name in order]
    assert set(order) == set(MOMENTS)
    assert all(less < more for less, more in pairwise(sizes))


def test_muon_keeps_one_moment_of_matrices_and_two_of_embeddings() -> None:
    embeddings = 2 * LLAMA.vocab * LLAMA.hidden / LLAMA.parameters
    assert state("muon") == pytest.approx(4 + 4 * (1 - embeddings) + 8 * embeddings)


def test_soap_leaves_out_sides_that_are_too_long() -> None:
    """Only the short side of 4,096 x 14,336 has a preconditioner and its eigenvectors."""
    embeddings = 2 * LLAMA.vocab * LLAMA.hidden / LLAMA.parameters
    assert state("soap") == pytest.approx(4 + 4 * (2 + (1 - embeddings) * 2 * 4096 / 14336))


def test_a_step_of_adamw_moves_thirty_bytes_and_multiplies_nothing() -> None:
    assert optimizer_traffic_bytes(LLAMA, METHOD) == 30
    assert optimizer_flops(LLAMA, METHOD) == 0


def test_a_step_one_operation_after_the_other_moves_more_and_holds_a_copy() -> None:
    """Each number is read and written by every operation; the roots of the second moments are there meanwhile."""
    apart = replace(METHOD, stack=catalog.stack("hf-trainer"))
    assert optimizer_traffic_bytes(LLAMA, apart) > 2 * optimizer_traffic_bytes(LLAMA, METHOD)
    assert step_copy_bytes(METHOD) == 0
    assert step_copy_bytes(apart) == 4
    assert step_copy_bytes(replace(apart, optimizer_precision="bf16")) == 2
    assert step_copy_bytes(replace(apart, optimizer="lion")) == 0


def test_muon_and_soap_multiply_matrices() -> None:
    """Five iterations for Muon; the work for a parameter grows with the matrix."""
    small = catalog.model("llama-3.2-1b").architecture
    for name in ("muon", "soap"):
        method = replace(METHOD, optimizer=name)
        assert optimizer_flops(LLAMA, method) > optimizer_flops(small, method) > 0


def plan(**train: str) -> Plan:
    return Plan(RunConfig.model_validate({"model": "llama-3-8b", "parallel": {"tensor": 1}, "train": train}))


def test_the_key_sets_memory_and_the_time_of_the_step() -> None:
    adamw, muon, lion = (plan(optimizer=name) for name in ("adamw", "muon", "lion"))
    assert lion.memory.optimizer < muon.memory.optimizer < adamw.memory.optimizer
    assert lion.step_parts.optimizer < adamw.step_parts.optimizer < muon.step_parts.optimizer


def test_the_precision_of_the_state_is_the_stacks_unless_the_config_says() -> None:
    stack = "automodel"
    assert plan(stack=stack).memory.optimizer == pytest.approx(plan().memory.optimizer / 3)
    assert plan(stack=stack, optimizer_precision="fp32").memory.optimizer == plan().memory.optimizer
