"""``Node``: finds a published job and computes the reading of one of its nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache, lru_cache

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.gpu_condition import BRAKE, IDLE, POWER_CAP, SLOWDOWN, THERMAL, Condition
from accelerate_sim.gpu_condition import HEALTHY as HEALTHY_CONDITION
from accelerate_sim.monitoring.nvidia_smi.boards import Board, Driver, board_of
from accelerate_sim.monitoring.nvidia_smi.health import HEALTHY, Health
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading
from accelerate_sim.monitoring.nvidia_smi.slowed_time import SlowedTime, is_thermal, slowed_times
from accelerate_sim.monitoring.published_job import Position, PublishedJob, running_jobs
from accelerate_sim.sim.gpus import devices, sensors
from accelerate_sim.sim.gpus.telemetry import GpuSample
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.speed.traffic import Traffic
from fake_torch_dist.nccl.pci_addresses import driver_bus_id, pci_address

IDLE_PCIE_KB_PER_S = 500
NVLINK_BYTES_PER_S = {"ampere": 25e9, "hopper": 25e9, "blackwell": 50e9, "cdna": 25e9}
"""Bandwidth of one NVLink, each direction."""


class NoJob(Exception):
    """Raised if there is no job to read. ``hint`` gives the reason and the way out."""

    def __init__(self, hint: str) -> None:
        self.hint = hint
        super().__init__(hint)


class LibraryMismatch(NoJob):
    """Raised for a machine whose library of the driver, of this version, is not that of the kernel module."""


class Node:
    """A node of a job. None: the first node of the newest job."""

    def __init__(self, node: int = 0, pid: int | None = None) -> None:
        self._node = node
        self._pid = pid

    def read(self) -> Reading:
        """Read the node at this moment. Raises NoJob, UnsafeDirectory."""
        job, position = self._job()
        try:
            run = _run_of(job.config_text(), job.run, job.attempt)
            return reading(run, job, position.at(time.monotonic()), self._node)
        except (ValueError, OverflowError) as error:  # errors of pydantic, the catalog and datetime
            reason = str(error).partition("\n")[0]
            raise NoJob(f"the job with process {job.pid} is of another version: {reason}") from None

    def _job(self) -> tuple[PublishedJob, Position]:
        damaged: list[str] = []
        jobs = running_jobs(damaged)
        for job, position in jobs:
            if self._pid in (None, *job.pids):
                return job, position
        if damaged:
            way_out = "It may be of another version: remove it, and start the job again with --publish"
            raise NoJob(f"{damaged[0]}. {way_out}")
        if self._pid is None:
            raise NoJob(
                "no fake-torchrun job of this user that has been started with --publish is running "
                "(python train.py --publish)"
            )
        pids = ", ".join(str(job.pid) for job, _ in jobs) or "none"
        raise NoJob(f"no published job has process {self._pid}; there are: {pids}")


@lru_cache(maxsize=1)
def _run_of(config: str, number: int, attempt: int | None) -> Run:
    run = Run(RunConfig.model_validate_json(config), number)
    if attempt is None:
        return run
    from accelerate_sim.faults.planned import run_in_attempt

    return run_in_attempt(run, attempt)


def reading(run: Run, job: PublishedJob, clock_s: float, node: int = 0) -> Reading:
    """The reading of node ``node`` at the simulated second ``clock_s`` of ``job``. Raises NoJob, LibraryMismatch."""
    board, layout = board_of(run.gpu), run.layout
    if board is None:
        raise NoJob(f"the job runs on {run.gpu.product}, which NVIDIA's driver knows nothing of")
    if node >= layout.nodes:
        raise NoJob(f"the job has {layout.nodes} nodes: --node takes 0 to {layout.nodes - 1}")
    second = clock_s - (job.origin_s + run.startup.total)
    step = run.step_at(second)
    conditions = run.conditions(second)
    second = run.timeline_s(second, step)
    sample = run.telemetry.sample(second, step)
    slowed = {incident.rank for incident in run.incidents.during(step, step) if incident.kind == "hot"}
    first = node * layout.gpus_per_node
    if (other := conditions.get(first)) and other.library:
        raise LibraryMismatch(other.library)
    if other and other.driver:
        board = board.model_copy(update={"driver": Driver(version=other.driver, cuda=other.cuda)})
    ranks = range(first, min(first + layout.gpus_per_node, layout.world_size))
    pcie = _pcie_kb_per_s(run, second, step)
    times = cache(lambda: slowed_times(run, second, step))
    gpus = tuple(_gpu(run, job, board, sample, rank, rank in slowed, pcie, times, conditions) for rank in ranks)
    moment = datetime.fromisoformat(job.start) + timedelta(seconds=clock_s)
    read = Reading(moment, board, len(gpus), gpus, run.config.cluster.fabric)
    if job.generic_names:
        from accelerate_sim.monitoring.nvidia_smi.generic_reading import with_generic_names

        return with_generic_names(read)
    return read


def _pcie_kb_per_s(run: Run, second: float, step: int) -> int:
    """Traffic of one GPU over PCIe in each direction, in KB/s; texts and polling alone are a few hundred."""
    if run.telemetry.timeline.phase_at(second) != "step":
        return IDLE_PCIE_KB_PER_S
    traffic = Traffic.of(run.model.architecture, run.gpu, run.layout, run.method)
    share = run.tokens_of(step) / run.layout.tokens_per_step
    step_s = run.stage_step_s(run.batches.number_at(step))
    return IDLE_PCIE_KB_PER_S + round(traffic.pcie_bytes * share / step_s / 1000)


def _gpu(
    run: Run,
    job: PublishedJob,
    board: Board,
    sample: GpuSample,
    rank: int,
    slowed: bool,
    pcie_kb_per_s: int,
    slowed_times: Callable[[], Mapping[int, SlowedTime]],
    conditions: Mapping[int, Condition],
) -> Gpu:
    node, local = divmod(rank, run.layout.gpus_per_node)
    spec, config = run.gpu, run.config
    power, temperature = float(sample.power_w[rank]), float(sample.temperature_c[rank])
    utilization = int(sample.utilization_pct[rank])
    condition = conditions.get(rank, HEALTHY_CONDITION)
    return Gpu(
        index=local,
        name=spec.product,
        uuid=devices.uuid(config, node, local),
        serial=devices.serial(config, node, local),
        pci=pci_address(local),
        bus_id=driver_bus_id(local),
        board=board,
        utilization_pct=utilization,
        memory_utilization_pct=int(sensors.memory_utilization_pct(spec, utilization, power)),
        total_mib=spec.memory_bytes >> 20,
        used_mib=int(sample.memory_used_bytes[rank]) >> 20,
        temperature_c=round(temperature),
        memory_temperature_c=int(sensors.memory_temperature_c(spec, temperature, power)),
        slowdown_c=round(spec.slowdown_temperature_c),
        power_w=power,
        power_limit_w=spec.power_limit_w,
        clock_mhz=round(float(sample.sm_clock_mhz[rank])),
        max_clock_mhz=spec.max_clock_mhz,
        reasons=condition.reasons or _reasons(run, utilization, temperature, power, slowed),
        pcie_kb_per_s=pcie_kb_per_s,
        nvlinks=round((spec.nvlink_bytes_per_s or 0) / NVLINK_BYTES_PER_S[spec.generation]),
        pid=job.pid_of(rank),
        command=job.command,
        brand=board.brand,
        architecture=board.architecture,
        health=Health.of(condition) if rank in conditions else HEALTHY,
        slowed_time=lambda: slowed_times().get(rank, SlowedTime()).plus(condition),
    )


def _reasons(run: Run, utilization_pct: int, temperature_c: float, power_w: float, slowed: bool) -> int:
    if slowed:
        # As in the job's own warning: far from the thermal limit it is the server that slows the GPU.
        return THERMAL if is_thermal(run, temperature_c) else SLOWDOWN | BRAKE
    if not utilization_pct:
        return IDLE
    return POWER_CAP if power_w >= 0.995 * run.gpu.power_limit_w else 0
