"""The conditions of GPUs at any second, and that an exporter and nvidia-smi tell of them in the same way."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.faults.attempt_run import AttemptRun
from accelerate_sim.faults.planned import run_in_attempt
from accelerate_sim.gpu_condition import BRAKE, POWER_CAP, SLOWDOWN, THERMAL, Condition
from accelerate_sim.monitoring.device_agent import DeviceAgent
from accelerate_sim.monitoring.nvidia_smi.node import LibraryMismatch, reading
from accelerate_sim.monitoring.nvidia_smi.overview import table
from accelerate_sim.monitoring.nvidia_smi.reading import Reading
from accelerate_sim.monitoring.published_job import PublishedJob
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking.dcgm_text import DeviceText
from tests.support.repository import ROOT

CHANGES = ("cluster.nodes=2", "cluster.gpus_per_node=2", "checkpoint.every=5", "log.trackers=[]")


@cache
def attempt(*faults: str, number: int = 0) -> AttemptRun:
    source = ConfigSource.read(Path(ROOT / "configs/debug.yaml"), CHANGES).with_faults(faults, "--fault")
    return run_in_attempt(Run(source.resolve()), number)


def scrape(run: AttemptRun, second: float) -> dict[str, dict[str, float]]:
    """Values of each metric by host and GPU."""
    record = DeviceAgent(run).read(second, {"startup": 10.0}, 1000.0, 10**6)
    assert record
    found: dict[str, dict[str, float]] = {}
    for line in DeviceText().lines(record):
        if match := re.match(r'(\w+)\{gpu="(\d)".*Hostname="(\w+)".* (\S+)$', line):
            found.setdefault(match[1], {})[f"{match[3]}:{match[2]}"] = float(match[4])
    return found


def smi(run: AttemptRun, second: float, node: int) -> Reading:
    config = run.config.model_dump(mode="json")
    job = PublishedJob(1, 42, config, 0.0, "2026-01-01T00:00:00", (4711,), 1, "python", attempt=0)
    return reading(run, job, run.startup.total + second, node)


def test_before_a_strike_all_are_healthy_and_after_it_one_is_not() -> None:
    run = attempt("xid gpu=1:0 code=94 effect=none at=step:6")
    second = run.attempt.occurrences[0].second
    assert run.conditions(second - 0.01) == {}
    assert run.conditions(second + 0.01)[2].xid == 94
    assert set(scrape(run, second - 0.01)["DCGM_FI_DEV_XID_ERRORS"].values()) == {0.0}
    after = scrape(run, second + 0.01)
    assert after["DCGM_FI_DEV_XID_ERRORS"] == {"node0:0": 0, "node0:1": 0, "node1:0": 94, "node1:1": 0}
    assert after["DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"]["node1:0"] == 1
    assert after["DCGM_FI_DEV_ROW_REMAP_PENDING"]["node1:0"] == 1
    gpu = smi(run, second + 0.01, 1).gpus[0]
    assert (gpu.health.volatile.uncorrected, gpu.health.remapping_pending) == (1, True)


def test_a_lost_gpu_has_no_series_but_its_xid() -> None:
    run = attempt("xid gpu=1:0 code=79 at=step:6")
    after = scrape(run, run.attempt.occurrences[0].second + 0.01)
    assert len(after["DCGM_FI_DEV_GPU_TEMP"]) == 3
    assert after["DCGM_FI_DEV_XID_ERRORS"]["node1:0"] == 79
    assert smi(run, run.attempt.occurrences[0].second + 0.01, 1).gpus[0].health.lost


def test_a_gpu_that_needs_it_is_reset_while_the_job_is_down() -> None:
    run = attempt("ecc gpu=1:0 type=dbe at=step:6", "xid gpu=0:0 code=31 at=step:8", number=2)
    now = run.conditions(run.attempt.begin_s + 0.1)
    assert now[2] == Condition(aggregate=now[2].aggregate, remapped_uncorrectable=1)
    assert now[2].aggregate.uncorrected == 1
    assert now[0] == Condition(xid=31), "the driver goes on, and so does what it has counted"


@pytest.mark.parametrize(
    "why, reasons, metric",
    [
        ("thermal", THERMAL, "DCGM_FI_DEV_THERMAL_VIOLATION"),
        ("power", POWER_CAP, "DCGM_FI_DEV_POWER_VIOLATION"),
        ("brake", SLOWDOWN | BRAKE, "DCGM_FI_DEV_BOARD_LIMIT_VIOLATION"),
        ("unknown", 0, None),
        ("cpu", 0, None),
    ],
)
def test_a_slow_gpu_shows_its_cause(why: str, reasons: int, metric: str | None) -> None:
    run = attempt(f"slow gpu=0:1 why={why} factor=1.4 at=step:5 for=3steps")
    strike = run.attempt.occurrences[0]
    before, during = scrape(run, strike.second - 0.01), scrape(run, strike.second + 0.05)
    after = scrape(run, strike.end_s + 1.0)
    assert run.conditions(strike.second + 0.05).get(1, Condition()).reasons == reasons
    assert smi(run, strike.second + 0.05, 0).gpus[1].reasons == reasons or not reasons
    clocks = [each["DCGM_FI_DEV_SM_CLOCK"]["node0:1"] for each in (before, during, after)]
    assert clocks[0] == clocks[2]
    assert (clocks[1] < 0.75 * clocks[0]) == (why != "cpu")
    hot = during["DCGM_FI_DEV_GPU_TEMP"]["node0:1"] > 80
    assert hot == (why == "thermal")
    if metric:
        assert 0 < during[metric]["node0:1"] < after[metric]["node0:1"]
        assert after[metric]["node0:0"] == 0
        assert after[metric] == scrape(run, strike.end_s + 2.0)[metric]


def test_sensors_of_a_gpu_whose_firmware_hangs_cannot_be_read() -> None:
    run = attempt("xid gpu=1:1 code=119 at=step:6")
    second = run.attempt.occurrences[0].second + 0.01
    shown = table(smi(run, second, 1))
    assert shown.count("ERR!") == 4
    assert {len(line) for line in shown.splitlines()[1:-1] if line.startswith(("|", "+"))} == {91}
    assert len(scrape(run, second)["DCGM_FI_DEV_POWER_USAGE"]) == 3


def test_a_run_without_faults_has_the_default_metrics_alone() -> None:
    source = ConfigSource.read(Path(ROOT / "configs/debug.yaml"), CHANGES)
    record = DeviceAgent(Run(source.resolve())).read(1.0, {"startup": 10.0}, 1000.0, 10**6)
    assert record and record.conditions is None
    assert not [line for line in DeviceText().lines(record) if "VIOLATION" in line or "ECC_" in line]


def test_gpus_that_wait_for_a_rank_that_hangs_are_used_and_need_little_power() -> None:
    run = attempt("xid gpu=1:1 code=119 at=step:6")
    second = run.attempt.occurrences[0].second
    before, during = scrape(run, second - 0.01), scrape(run, second + 300.0)
    assert during["DCGM_FI_DEV_GPU_UTIL"]["node0:0"] > 95
    assert during["DCGM_FI_DEV_POWER_USAGE"]["node0:0"] < 0.6 * before["DCGM_FI_DEV_POWER_USAGE"]["node0:0"]
    assert (
        during["DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"]["node0:0"] == 0 < before["DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"]["node0:0"]
    )


def test_between_two_attempts_no_process_is_on_the_gpus_and_what_has_failed_stays_so() -> None:
    faults = "xid gpu=1:0 code=79 at=step:6"
    ended, following = attempt(faults), attempt(faults, number=1)
    pause = scrape(following, ended.attempt.end_s + 60.0)
    assert set(pause["DCGM_FI_DEV_GPU_UTIL"].values()) == {0.0}
    assert len(pause["DCGM_FI_DEV_GPU_UTIL"]) == 3
    assert pause["DCGM_FI_DEV_XID_ERRORS"]["node1:0"] == 79
    again = scrape(following, following.attempt.begin_s + 0.1)
    assert len(again["DCGM_FI_DEV_GPU_UTIL"]) == 4


# --- A machine with other versions --------------------------------------------------------------


def drivers(run: AttemptRun, second: float) -> set[tuple[str, str]]:
    """(host, driver) in the labels of an exporter."""
    record = DeviceAgent(run).read(second, {"startup": 10.0}, 1000.0, 10**6)
    assert record
    label = re.compile(r'DCGM_FI_DEV_POWER_USAGE\{.*Hostname="(\w+)".*DCGM_FI_DRIVER_VERSION="([\d.]+)"')
    return {match.groups() for line in DeviceText().lines(record) if (match := label.match(line))}


def test_an_old_driver_is_stated_from_the_start_of_the_attempt_to_the_next_one() -> None:
    run = attempt("mismatch node=1 what=driver", number=1)
    first, now = run_in_attempt(Run(run.config), 0), run.attempt
    for second in (first.attempt.start_s, first.attempt.occurrences[0].second, now.start_s - 1.0):
        played = run if second > first.attempt.end_s else first
        assert drivers(played, second) == {("node0", "550.90.12"), ("node1", "520.61.05")}
        said = table(smi(played, second, 1))
        assert "| NVIDIA-SMI 520.61.05 " in said and "Driver Version: 520.61.05 " in said and "Version: 11.8 " in said
        assert "Driver Version: 550.90.12" in table(smi(played, second, 0))
    assert drivers(run, now.start_s + 1.0) == {("node0", "550.90.12"), ("node1", "550.90.12")}
    assert "Driver Version: 550.90.12" in table(smi(run, now.start_s + 1.0, 1))


def test_a_machine_whose_library_is_not_its_modules_cannot_be_read() -> None:
    run = attempt("mismatch node=1 what=library")
    second = run.attempt.occurrences[0].second
    assert {host for host, _ in drivers(run, second)} == {"node0"}
    with pytest.raises(LibraryMismatch) as caught:
        smi(run, second, 1)
    assert caught.value.hint == "570.124.06"
    assert smi(run, second, 0).board.driver.version == "550.90.12"


@pytest.mark.parametrize("words", ["what=nccl", "what=mount", "what=python"])
def test_other_parts_that_differ_leave_the_driver_alone(words: str) -> None:
    run = attempt(f"mismatch node=1 {words}")
    second = run.attempt.occurrences[0].second
    assert run.conditions(second) == {}
    assert drivers(run, second) == {("node0", "550.90.12"), ("node1", "550.90.12")}


def test_a_reset_gpu_is_whole_when_the_processes_of_the_next_attempt_start() -> None:
    run = attempt("xid gpu=1:0 code=79 at=step:6", number=1)
    assert run.conditions(run.attempt.start_s - 0.01)[2].lost
    assert run.conditions(run.attempt.start_s) == {}
