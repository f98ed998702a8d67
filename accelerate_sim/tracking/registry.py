"""The trackers of a session, by the names that Accelerate's ``log_with`` has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from accelerate_sim.config.problems import ConfigError, Problem, shown
from accelerate_sim.config.schema import LogConfig
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import DeviceRecord
from accelerate_sim.tracking.tracker import Tracker

KEY = "log.trackers"
JSONL = "jsonl"
"""Built in: there is one wherever there is an output directory."""
PACKAGES = {
    JSONL: (None,), "prometheus": (None,), "wandb": ("wandb",), "tensorboard": ("tensorboard", "tensorboardX"),
}  # fmt: skip
"""What each tracker needs one of; None: nothing."""


def require_packages(names: Sequence[str], output_dir: Path | None) -> None:
    """Raise ConfigError for every tracker that has nowhere to write, or whose package is not installed."""
    problems = []
    for name in dict.fromkeys(names):
        if name != "prometheus" and output_dir is None:
            problems.append(_problem(names, f"has {name}, which writes files", "Say where to with --output-dir."))
        elif not _installed(name):
            way_out = f"Install it with: pip install {name}."
            problems.append(_problem(names, f"has {name}, whose package is not installed", way_out))
    if problems:
        raise ConfigError(problems)


def open_trackers(
    log: LogConfig, output_dir: Path | None, signals: Signals, look: Callable[[], DeviceRecord | None]
) -> list[Tracker]:
    """Trackers beside metrics.jsonl. Raises ConfigError when a port is in use."""
    return [_open(name, log, output_dir, signals, look) for name in dict.fromkeys(log.trackers) if name != JSONL]


def _open(
    name: str,
    log: LogConfig,
    output_dir: Path | None,
    signals: Signals,
    look: Callable[[], DeviceRecord | None],
) -> Tracker:
    if name == "prometheus":
        from accelerate_sim.tracking.prometheus import PrometheusTracker

        try:
            return PrometheusTracker(signals, look, log.prometheus_address)
        except OSError as error:
            reason = f"has prometheus, which can't listen on {log.prometheus_address}: {error.strerror}"
            way_out = "End what listens there, or name another address with --set log.prometheus_address=HOST:PORT."
            raise ConfigError([_problem(log.trackers, reason, way_out)]) from None
    assert output_dir
    if name == "tensorboard":
        from accelerate_sim.tracking.tensorboard import TensorBoardTracker

        return TensorBoardTracker(output_dir)
    from accelerate_sim.tracking.wandb import WandbTracker

    return WandbTracker(output_dir)


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return any(package is None or find_spec(package) is not None for package in PACKAGES[name])


def _problem(names: Sequence[str], reason: str, way_out: str) -> Problem:
    return Problem.about(KEY, shown(list(names)), reason, way_out)
