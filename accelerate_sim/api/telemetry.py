"""``telemetry``: all GPUs of a run at any second of simulated time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Final, overload

from accelerate_sim.api.source import Config, planned_run, refused
from accelerate_sim.config.host_names import host_name
from accelerate_sim.sim.run import Run


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU at one moment."""

    rank: int
    host: str
    index: int
    """Number of the GPU on its host, from 0."""
    utilization_pct: float
    memory_used_bytes: int
    temperature_c: float
    power_w: float
    sm_clock_mhz: float


_LONGEST_S: Final = 1e12
"""No run lasts these 30,000 years; the noise of telemetry counts its periods in 64 bits."""


@dataclass(frozen=True)
class Telemetry:
    """The GPUs of one run; every reading is a pure function of the second."""

    run: Run

    def phase(self, at_s: float) -> str:
        """The phase of the run, ``at_s`` seconds after its first step began: startup, step, validation, ..."""
        return self.run.timeline.phase_at(_second(at_s))

    def step(self, at_s: float) -> int:
        """The step, from 1, that is under way or was the last one."""
        return self.run.timeline.step_at(_second(at_s)) + 1

    def at(self, at_s: float) -> list[GpuReading]:
        """A reading of every GPU in rank order, ``at_s`` seconds after the first step began (below 0: start-up)."""
        run, at_s = self.run, _second(at_s)
        sample = run.telemetry.sample(at_s, run.timeline.step_at(at_s))
        host, per_node = run.config.cluster.host, run.layout.gpus_per_node
        columns = (
            sample.utilization_pct, sample.memory_used_bytes, sample.temperature_c, sample.power_w, sample.sm_clock_mhz,
        )  # fmt: skip
        figures = zip(*(column.tolist() for column in columns), strict=True)
        return [
            GpuReading(rank, host_name(host, rank // per_node), rank % per_node, *each)
            for rank, each in enumerate(figures)
        ]

    def to_dicts(self, at_s: float) -> list[dict[str, Any]]:
        """The readings as dictionaries, each with ``elapsed_s``."""
        return [{"elapsed_s": at_s} | asdict(reading) for reading in self.at(at_s)]


def _second(at: object) -> float:
    """The number of seconds that a caller names. Raises ConfigError."""
    if not isinstance(at, Real) or not abs(float(at)) < _LONGEST_S:
        raise refused("at", at, "is no number of seconds", "Use simulated seconds, e.g. 3600.0; below 0 is start-up.")
    return float(at)


@overload
def telemetry(
    config: Config, changes: Sequence[str] = (), *, seed: int | None = None, at: None = None
) -> Telemetry: ...


@overload
def telemetry(
    config: Config, changes: Sequence[str] = (), *, seed: int | None = None, at: float
) -> list[GpuReading]: ...


def telemetry(
    config: Config, changes: Sequence[str] = (), *, seed: int | None = None, at: float | None = None
) -> Telemetry | list[GpuReading]:
    """The telemetry of the run that a config plans, or a reading of every GPU ``at`` this second. Raises ConfigError.

    Seconds are simulated ones since the first step began.
    """
    found = Telemetry(planned_run(config, changes, seed=seed))
    return found if at is None else found.at(at)
