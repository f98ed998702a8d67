"""Fixtures for pytest: a played run, a launched cluster, ``nvidia-smi``, and an exporter of GPU metrics.

pytest loads this module by its entry point. It imports nothing else until a fixture is used, and stands in this package
because importing accelerate_sim limits numpy's threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from accelerate_sim.testing.cluster import FakeCluster
    from accelerate_sim.testing.dcgm import FakeDcgm
    from accelerate_sim.testing.run import FakeRun


@pytest.fixture
def fake_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FakeRun]:
    """``fake_run("debug", faults=["kill rank=1 at=step:12"])`` plays a run to its end, and returns all of it."""
    from accelerate_sim.testing.run import played

    def run(config: str | Path, *arguments: str, **options: Any) -> FakeRun:
        return played(tmp_path_factory.mktemp("fake_run") / "out", config, *arguments, **options)

    return run


@pytest.fixture
def fake_cluster(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[..., FakeCluster]]:
    """``fake_cluster(nodes=2, gpus=2)`` starts a job of real processes; whatever is left of it is ended afterwards.

    A test that has ``fake_nvidia_smi``, too, sees in it the job that it started last.
    """
    from accelerate_sim.testing.cluster import FakeCluster

    with ExitStack() as started:

        def start(nodes: int = 1, gpus: int = 2, config: str | Path = "debug", **options: Any) -> FakeCluster:
            directory = tmp_path_factory.mktemp("fake_cluster")
            cluster = started.enter_context(FakeCluster(directory, nodes, gpus, config, **options))
            if "fake_nvidia_smi" in request.fixturenames:
                variables = request.getfixturevalue("monkeypatch")
                variables.setenv("XDG_RUNTIME_DIR", str(cluster.runtime_directory))
            return cluster

        yield start


@pytest.fixture
def fake_nvidia_smi(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an ``nvidia-smi`` first on PATH that shows the jobs which this test starts with ``--publish``."""
    from accelerate_sim.testing.nvidia_smi import install

    directory = tmp_path_factory.mktemp("nvidia_smi")
    variables = install(directory)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return directory / "bin" / "nvidia-smi"


@pytest.fixture
def fake_dcgm() -> Iterator[Callable[..., FakeDcgm]]:
    """``fake_dcgm("llama70b")`` serves GPU metrics at ``.url``, at a moment that ``.clock.advance()`` moves."""
    from accelerate_sim.testing.dcgm import FakeDcgm

    with ExitStack() as started:

        def start(config: str | Path, *changes: str, port: int = 0, seed: int | None = None) -> FakeDcgm:
            return started.enter_context(closing(FakeDcgm(config, changes, port=port, seed=seed)))

        yield start
