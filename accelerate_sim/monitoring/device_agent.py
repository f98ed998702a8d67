"""``DeviceAgent``: readings of all GPUs of a job, as a monitoring agent like dcgm-exporter takes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from accelerate_sim.config.host_names import host_name
from accelerate_sim.monitoring.nvidia_smi.boards import board_of
from accelerate_sim.records import DeviceIdentity, DeviceRecord
from accelerate_sim.sim.gpus import devices, sensors
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.speed.traffic import Traffic
from accelerate_sim.sim.timeline import Phase
from fake_torch_dist.nccl.pci_addresses import driver_bus_id


class DeviceAgent:
    """Takes readings of the GPUs of one run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._board = board_of(run.gpu)
        self._traffic = Traffic.of(run.model.architecture, run.gpu, run.layout, run.method)
        self._identities: tuple[DeviceIdentity, ...] = ()

    def read(
        self, elapsed_s: float, spent_s: Mapping[Phase, float], steps_j: float, tokens: int
    ) -> DeviceRecord | None:
        """The GPUs at a number of seconds after the first step began; None if they are not NVIDIA's.

        ``spent_s`` are the seconds spent in each phase except steps; in the steps a mean GPU has used ``steps_j``
        joules, and the job has trained on ``tokens``.
        """
        run, gpu, board, telemetry = self.run, self.run.gpu, self._board, self.run.telemetry
        if board is None:
            return None
        step = run.step_at(elapsed_s)
        second = run.timeline_s(elapsed_s, step)
        sample = telemetry.sample(second, step)
        phase = telemetry.timeline.phase_at(second)
        total_mib = gpu.memory_bytes >> 20
        used_mib = sample.memory_used_bytes >> 20
        whole_steps = tokens / run.layout.tokens_per_step
        step_s = run.stage_step_s(run.batches.number_at(step))
        share = run.tokens_of(step) / run.layout.tokens_per_step
        stepping_j = telemetry.phase_w["step"] * (steps_j / telemetry.mean_power_w("step"))
        return DeviceRecord(
            identities=self._identities_of_all(),
            product=gpu.product,
            driver_version=board.driver.version,
            utilization_pct=sample.utilization_pct.astype(np.int64),
            memory_utilization_pct=sensors.memory_utilization_pct(gpu, sample.utilization_pct, sample.power_w),
            memory_busy_share=sensors.memory_busy_share(gpu, sample.utilization_pct, sample.power_w),
            memory_used_mib=used_mib,
            memory_reserved_mib=np.minimum(board.reserved_mib, total_mib - used_mib),
            memory_total_mib=total_mib,
            temperature_c=np.round(sample.temperature_c).astype(np.int64),
            memory_temperature_c=sensors.memory_temperature_c(gpu, sample.temperature_c, sample.power_w),
            power_w=sample.power_w,
            energy_j=np.sum(
                [stepping_j, *(telemetry.phase_w[each] * seconds for each, seconds in spent_s.items())], axis=0
            ),
            sm_clock_mhz=sample.sm_clock_mhz.astype(np.int64),
            memory_clock_mhz=board.memory_clock_mhz,
            tensor_active=0.0 if run.is_halted(elapsed_s) else self._tensor_active(phase, step),
            # NVML's counter adds both directions.
            nvlink_bytes=round(2 * self._traffic.nvlink_bytes * whole_steps),
            pcie_bytes_per_s=round(self._traffic.pcie_bytes * share / step_s) if phase == "step" else 0,
            conditions=run.conditions(elapsed_s) if run.fault_facts else None,
        )

    def _tensor_active(self, phase: Phase, step: int) -> float:
        """Mean share of cycles in which the tensor cores work, in a step like this one or in a validation."""
        run = self.run
        if phase == "validation":
            return run.validation_activity.tensor_pipes
        if phase != "step":
            return 0.0
        stage = run.batches.number_at(step)
        # Imposed step times may be shorter than the computation takes.
        return min(1.0, run.activity(stage).tensor_pipes * run.stage_parts(stage).total / run.stage_step_s(stage))

    def _identities_of_all(self) -> tuple[DeviceIdentity, ...]:
        if not self._identities:
            config, layout = self.run.config, self.run.layout
            places = (divmod(rank, layout.gpus_per_node) for rank in range(layout.world_size))
            self._identities = tuple(
                DeviceIdentity(
                    host_name(config.cluster.host, node),
                    local,
                    devices.uuid(config, node, local),
                    driver_bus_id(local),
                )
                for node, local in places
            )
        return self._identities
