"""Plans that are too big by less than the memory model's own uncertainty warn and run; larger ones are refused."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from accelerate_sim import catalog
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.sim.memory.fit import memory_uncertainty, misfit, tightness
from accelerate_sim.sim.memory.memory import FULL_SHARE
from accelerate_sim.sim.run import Run

LAYOUT = ("model=llama-3-8b", "cluster.nodes=1", "parallel.tensor=1", "parallel.sharding=zero1",
          "train.recompute=none", "train.global_batch=64")  # fmt: skip


def run(sequence_length: int) -> Run:
    return Run(ConfigSource.read(None, [*LAYOUT, f"train.sequence_length={sequence_length}"]).resolve())


def at_share(share: float) -> Run:
    """A run that needs about this share of its GPUs' memory."""
    lengths = range(1024, 65536, 64)
    return next(one for length in lengths if (one := run(length)).memory.least >= share * one.gpu.memory_bytes)


def test_a_run_that_fits_neither_warns_nor_is_refused() -> None:
    one = at_share(0.9)
    assert misfit(one) is None and tightness(one) is None


def test_a_little_too_much_warns_and_runs_on_full_gpus() -> None:
    one = at_share(1.05)
    assert misfit(one) is None
    warning = tightness(one)
    assert warning is not None and "uncertainty of 15%" in warning
    need, have, excess = (float(text) for text in re.findall(r"([\d.]+) GiB", warning))
    assert need - have == pytest.approx(excess, abs=0.11) and 0 < excess / have < 0.15
    capacity = one.gpu.memory_bytes
    assert one.memory_per_gpu_bytes == pytest.approx(FULL_SHARE * capacity)
    assert one.telemetry.memory_used.max() <= capacity
    assert one.memory.total > capacity, "the plan says what is expected"


def test_more_than_the_uncertainty_is_refused_with_the_uncertainty() -> None:
    problem = misfit(one := at_share(1.2))
    assert problem is not None and "more than the memory model's uncertainty of 15%" in problem.reason
    assert tightness(one) is None


def test_experts_are_less_certain_and_the_verdict_changes_where_it_says() -> None:
    dense, experts = (catalog.model(name).architecture for name in ("llama-3-8b", "mixtral-8x7b"))
    assert memory_uncertainty(dense) < memory_uncertainty(experts)
    edge = 1 + memory_uncertainty(dense)
    assert misfit(at_share(edge - 0.01)) is None and misfit(at_share(edge + 0.01)) is not None


def test_imposed_memory_is_not_questioned() -> None:
    overrides = [*LAYOUT, "train.sequence_length=65536", "impose.memory_share=[0.8, 0.9]"]
    one = Run(ConfigSource.read(None, overrides).resolve())
    assert misfit(one) is None and tightness(one) is None


def test_a_squeezed_use_keeps_its_proportions() -> None:
    use = at_share(1.05).memory
    capacity = use.total / 1.1
    squeezed = use.squeezed(capacity)
    assert squeezed.total == pytest.approx(FULL_SHARE * capacity)
    assert squeezed.weights / squeezed.optimizer == pytest.approx(use.weights / use.optimizer)
    assert use.squeezed(use.total) == use
    assert replace(use, weights=0.0).squeezed(1e15).weights == 0
