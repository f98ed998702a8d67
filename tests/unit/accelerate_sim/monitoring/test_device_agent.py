"""An exporter and nvidia-smi, asked at the same moment, say the same of every GPU."""

from __future__ import annotations

import re

import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.monitoring.device_agent import DeviceAgent
from accelerate_sim.monitoring.nvidia_smi.fields.gpu_fields import GPU_FIELDS
from accelerate_sim.monitoring.nvidia_smi.node import reading
from accelerate_sim.monitoring.published_job import PublishedJob
from accelerate_sim.records import DeviceRecord
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking.dcgm_text import DeviceText
from tests.support.reading import Played

SAME = {
    "DCGM_FI_DEV_SM_CLOCK": "clocks.current.sm", "DCGM_FI_DEV_MEM_CLOCK": "clocks.current.memory",
    "DCGM_FI_DEV_MEMORY_TEMP": "temperature.memory", "DCGM_FI_DEV_GPU_TEMP": "temperature.gpu",
    "DCGM_FI_DEV_POWER_USAGE": "power.draw", "DCGM_FI_DEV_GPU_UTIL": "utilization.gpu",
    "DCGM_FI_DEV_MEM_COPY_UTIL": "utilization.memory", "DCGM_FI_DEV_FB_FREE": "memory.free",
    "DCGM_FI_DEV_FB_USED": "memory.used", "DCGM_FI_DEV_FB_RESERVED": "memory.reserved",
}  # fmt: skip
SAME_LABELS = {
    "gpu": "index", "UUID": "uuid", "pci_bus_id": "pci.bus_id", "modelName": "name",
    "DCGM_FI_DRIVER_VERSION": "driver_version",
}  # fmt: skip
SPENT = {"startup": 30.0, "checkpoint": 0.0, "validation": 0.0}
STEPPING_S = 100.0


def played_run(played: Played) -> Run:
    return Run(RunConfig.model_validate(played.start["config"]), played.start["run"])


def look(agent: DeviceAgent, second: float) -> DeviceRecord:
    run = agent.run
    tokens = round(STEPPING_S / run.mean_step_s) * run.layout.tokens_per_step
    record = agent.read(second, SPENT, STEPPING_S * run.telemetry.mean_power_w("step"), tokens)
    assert record
    return record


@pytest.mark.parametrize("name", ["small", "llama", "experts"])
def test_exporter_and_nvidia_smi_agree(name: str, request: pytest.FixtureRequest) -> None:
    played: Played = request.getfixturevalue(name)
    run, start = played_run(played), played.start
    job = PublishedJob(start["run"], start["seed"], start["config"], 0.0, start["start_time"], (4711,), 1, "python")
    agent, end_s = DeviceAgent(run), run.timeline.end_s()
    for second in (-5.0, 0.3, 0.37 * end_s, run.timeline.step_end_s(2) + 1e-3, end_s - 0.1, end_s + 1e4):
        text = list(DeviceText().lines(look(agent, second)))
        readings = [reading(run, job, run.startup.total + second, node) for node in range(run.layout.nodes)]
        for metric, field in SAME.items():
            lines = [line for line in text if line.startswith(metric + "{")]
            asked = [(each, gpu) for each in readings for gpu in each.gpus]
            assert len(lines) == len(asked) == run.layout.world_size
            for line, (node_reading, gpu) in zip(lines, asked, strict=True):
                assert float(line.rpartition(" ")[2]) == float(str(GPU_FIELDS[field].value(node_reading, gpu)))
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                for label, of_smi in SAME_LABELS.items():
                    assert labels[label] == str(GPU_FIELDS[of_smi].value(node_reading, gpu))


def test_traffic_is_what_links_can_carry(llama: Played, experts: Played) -> None:
    for played in (llama, experts):
        run = played_run(played)
        agent = DeviceAgent(run)
        stepping, saving = look(agent, 0.5), look(agent, run.timeline.step_end_s(run.last_step - 1) + 1e-3)
        assert 0 < stepping.pcie_bytes_per_s < min(run.network.nic_bytes_per_s, run.gpu.pcie_bytes_per_s)
        # Both directions.
        assert 0 < stepping.nvlink_bytes < 2 * run.network.nvlink_bytes_per_s * STEPPING_S
        assert (saving.pcie_bytes_per_s, saving.nvlink_bytes) == (0, stepping.nvlink_bytes)


def test_tensor_cores_work_as_long_as_the_operations_take(llama: Played) -> None:
    run = played_run(llama)
    agent = DeviceAgent(run)
    flops = run.model.architecture.flops_per_token(run.layout.sequence_length, causal=True)
    share = run.layout.tokens_per_step / run.mean_step_s * flops / (run.layout.world_size * run.gpu.bf16_flops)
    # Flash attention computes its scores once more, selective recomputation its whole core.
    assert share < look(agent, 0.5).tensor_active < 1.15 * share
    assert look(agent, -5.0).tensor_active == 0.0


def test_gpus_of_another_maker_are_not_read(llama: Played) -> None:
    config = RunConfig.model_validate({"model": "gpt2", "cluster": {"gpu": "MI300X", "nodes": 1, "gpus_per_node": 8}})
    assert DeviceAgent(Run(config)).read(0.5, SPENT, 0.0, 0) is None
