"""Reports what the cluster, and not the training script, observes: GPU grids, timed collectives, warnings."""

from __future__ import annotations

from collections.abc import Callable, Container

from accelerate_sim.config.host_names import host_name
from accelerate_sim.records import CollectiveRecord, GpuRecord, Record, WarningRecord
from accelerate_sim.sim.disturbances.incidents import Incident
from accelerate_sim.sim.gpus.telemetry import GpuSample
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import Phase


class Monitor:
    """Makes the records of the cluster that are due after each step. Steps count from 1 here, as in records.

    ``report`` receives the records. ``ranks`` are those that this process reports about; None: the main process, which
    reports about all.
    """

    def __init__(self, run: Run, report: Callable[[Record], None], ranks: Container[int] | None) -> None:
        self.run = run
        self.report = report
        self.ranks = ranks
        self._latest: tuple[int, GpuSample] | None = None

    def sample(self, step: int, elapsed_s: float) -> GpuSample:
        if self._latest is None or self._latest[0] != step:
            # Sampled just before the step ends, while the GPUs still work on it.
            second = self.run.timeline_s(elapsed_s, step - 1) - 1e-3
            self._latest = step, self.run.telemetry.sample(second, step - 1)
        return self._latest[1]

    def memory_used_bytes(self, step: int) -> int:
        """Memory in use on rank 0's GPU after ``step``."""
        return self.run.telemetry.memory_used_bytes(0, step - 1)

    def after_step(self, step: int, elapsed_s: float) -> None:
        """Report the warnings, the collective and the GPU grid that are due after ``step``."""
        self.warn(step, elapsed_s)
        self._time_collective(step)
        every = self.run.config.log.gpu_grid_every
        if every and step % every == 0:
            self._report_gpus(self.sample(step, elapsed_s), step, elapsed_s)

    def begin_phase(self, phase: Phase, step: int) -> None:
        """Report the GPUs early in the phase that follows ``step`` steps: a validation, a checkpoint, the export."""
        if self.ranks is not None:
            return
        second = self.run.timeline.look_into(phase, step - 1)
        if second is not None and self.run.config.log.gpu_grid_every:
            sample = self.run.telemetry.sample(second, max(step - 1, 0))
            self._report_gpus(sample, step, self.run.elapsed_s(second, step - 1))

    def _report_gpus(self, sample: GpuSample, step: int, elapsed_s: float) -> None:
        self.report(self.record_of(sample, step, elapsed_s))

    def record_of(self, sample: GpuSample, step: int, elapsed_s: float) -> GpuRecord:
        """The record of a sample."""
        run = self.run
        return GpuRecord(
            run.number, step, run.layout.gpus_per_node, run.gpu.memory_bytes, run.gpu.power_limit_w,
            run.gpu.slowdown_temperature_c, sample.utilization_pct, sample.memory_used_bytes,
            sample.temperature_c, sample.power_w, sample.sm_clock_mhz, sample.phase, round(elapsed_s, 6),
        )  # fmt: skip

    def _time_collective(self, step: int) -> None:
        timed = self.run.communication.at(step - 1)
        if timed is not None:
            self.report(
                CollectiveRecord(
                    self.run.number, step, timed.name, timed.axis, timed.choice.algorithm, timed.choice.protocol,
                    timed.size_bytes, timed.num_ranks, timed.num_nodes, timed.seconds, timed.algorithm_bytes_per_s,
                    timed.bus_bytes_per_s,
                )
            )  # fmt: skip

    def warn(self, step: int, elapsed_s: float) -> None:
        """Report each incident that is first noticeable at ``step``."""
        for incident in self.run.incidents.noticed_at(step - 1):
            if self.ranks is None or incident.rank in self.ranks:
                self.report(self._warning(incident, step, elapsed_s))

    def _warning(self, incident: Incident, step: int, elapsed_s: float) -> WarningRecord:
        run, rank, sample = self.run, incident.rank, self.sample(step, elapsed_s)
        node, local = divmod(rank, run.layout.gpus_per_node)
        place = f"{host_name(run.config.cluster.host, node)} GPU {local}"
        slowdown = 1.0 + incident.excess(step - 1)
        if incident.kind == "hot":
            temperature, clock = float(sample.temperature_c[rank]), round(float(sample.sm_clock_mhz[rank]))
            # With imposed temperatures the GPU may be far below its thermal limit, so another cause is named.
            cause = "" if temperature > run.gpu.slowdown_temperature_c - 3 else " by the server's power brake"
            lowered = f"SM clock lowered to {clock} of {run.gpu.max_clock_mhz} MHz{cause}"
            return WarningRecord(
                run.number, step, rank, "hot", f"{place} is at {temperature:.0f} C: {lowered}",
                {"temperature_c": temperature, "sm_clock_mhz": float(clock)},
            )  # fmt: skip
        if incident.kind == "memory":
            used = int(sample.memory_used_bytes[rank])
            share = used / run.gpu.memory_bytes
            return WarningRecord(
                run.number, step, rank, "memory",
                f"{place} has {used / 2**30:.1f} of {run.gpu.memory_bytes / 2**30:.1f} GiB in use ({share:.0%}): "
                "cached blocks were freed to go on",
                {"memory_used_bytes": float(used)},
            )  # fmt: skip
        return WarningRecord(
            run.number, step, rank, "slow",
            f"{place} is slow: its steps compute {slowdown:.2f} x the median of all ranks",
            {"slowdown": round(slowdown, 4)},
        )  # fmt: skip
