"""A model that is too big for its GPUs: by how much, and what would do."""

import re

import pytest

from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import Problem
from accelerate_sim.sim.memory.fit import misfit
from accelerate_sim.sim.run import Run


def problem_of(*overrides: str) -> Problem | None:
    return misfit(Run(ConfigSource.read(None, overrides).resolve()))


def test_what_fits_is_no_problem() -> None:
    assert problem_of() is None


def test_imposed_memory_is_not_questioned() -> None:
    assert problem_of("parallel.sharding=ddp", "impose.memory_share=[0.8, 0.9]") is None


def test_the_message_says_by_how_much() -> None:
    problem = problem_of("parallel.sharding=ddp", "parallel.tensor=1")
    assert problem is not None
    need, have, excess = (float(text.replace(",", "")) for text in re.findall(r"([\d,.]+) GiB", problem.reason))
    assert need - have == pytest.approx(excess, abs=0.11)
    assert "model = 'llama-3-70b' needs" in str(problem)
    assert "on each H100-SXM, which has 79.6 GiB" in str(problem)


TOO_BIG = [
    ["parallel.sharding=ddp", "parallel.tensor=1"],
    ["train.micro_batch=16"],
    ["cluster.nodes=1"],
    ["train.sequence_length=131072"],
    ["model=llama-3.1-405b"],
    ["model=llama-3.1-405b", "parallel.sharding=ddp"],
    ["train.micro_batch=4", "train.recompute_share=0.1"],
    ["train.micro_batch=4", "train.recompute=full", "train.recompute_share=0.1"],
    ["model=deepseek-v3", "cluster.nodes=2"],
    ["model=mixtral-8x7b", "parallel.tensor=1", "parallel.sharding=zero1"],
]


@pytest.mark.parametrize("overrides", TOO_BIG)
def test_every_way_out_fits_and_agrees(overrides: list[str]) -> None:
    problem = problem_of(*overrides)
    assert problem is not None
    ways = problem.way_out.removeprefix("Would fit: ").split("; ")
    assert 1 <= len(ways) <= 3
    for way in ways:
        changes = re.findall(r"([a-z_]+\.[a-z_]+=[\w.]+)", way)
        config = ConfigSource.read(None, [*overrides, *changes]).resolve()
        run = Run(config)
        assert not conflicts(config)
        assert misfit(run) is None
        rate = run.layout.tokens_per_step / run.mean_step_s
        assert f"({run.memory.total / 2**30:,.1f} GiB, {rate:,.0f} tokens/s)" in way


def test_another_kind_of_recomputation_comes_without_the_share_of_this_one() -> None:
    """A share goes before the kind: full with a share of 0.1 frees no more than that."""
    problem = problem_of("train.micro_batch=4", "train.recompute_share=0.1")
    assert problem is not None and "train.recompute=selective with train.recompute_share=0.3 (" in problem.way_out
    problem = problem_of("train.micro_batch=16", "train.recompute_share=0.1")
    assert problem is not None and "train.recompute=full with train.recompute_share=null" in problem.way_out


def test_hopeless_cases_say_so() -> None:
    overrides = ["model=llama-3.1-405b", "cluster.nodes=1", "train.sequence_length=16777216", "cluster.gpu=RTX-4090"]
    problem = problem_of(*overrides)
    assert problem is not None
    assert problem.way_out == "Use a smaller model or GPUs with more memory."
