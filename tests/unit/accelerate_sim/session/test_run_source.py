"""The plans of a session's runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelerate_sim.config.problems import ConfigError
from accelerate_sim.session.run_source import RunSource


def test_a_plan_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: llama-3-70b\n")
    source = RunSource(path, [], seed=None)
    first = source.plan(1)
    assert source.plan(1) is first and first.config.model_name == "llama-3-70b"
    second = source.plan(2)
    assert (second.number, second.seed) == (2, first.seed + 1)


def test_a_model_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: llama-3-70b\ncluster: {nodes: 1, gpus_per_node: 1}\n")
    with pytest.raises(ConfigError):
        RunSource(path, [], seed=None).plan(1)
