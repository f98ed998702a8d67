"""GPU telemetry as nvidia-smi would show it."""

from __future__ import annotations

import time
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.disturbances.incidents import Incident
from accelerate_sim.sim.gpus.chips import clock_share
from accelerate_sim.sim.gpus.telemetry import GpuSample
from accelerate_sim.sim.memory.memory import memory_use
from accelerate_sim.sim.run import Run

LAST_STEP = 402


@cache
def run(seed: int = 42) -> Run:
    """Like configs/llama70b.yaml, shorter."""
    return played(
        {"train": {"steps_per_epoch": 134, "micro_batch": 2}, "checkpoint": {"every": 60}, "run": {"seed": seed}}
    )


def played(raw: dict[str, Any]) -> Run:
    return Run(RunConfig.model_validate(raw))


def look(step: int, one: Run | None = None, before_end_s: float = 0.5) -> GpuSample:
    """All GPUs shortly before the end of a step."""
    one = one or run()
    return one.telemetry.sample(one.timeline.step_end_s(step) - before_end_s, step)


def well(one: Run, *steps: int) -> np.ndarray:
    """Ranks with which nothing is wrong at these steps."""
    troubled = {incident.rank for step in steps for incident in one.incidents.during(step, step)}
    return np.array([rank for rank in range(one.layout.world_size) if rank not in troubled])


def ranked(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values))


def test_neighbouring_ticks_are_alike() -> None:
    """A second later temperatures differ by less than a kelvin or two, memory not at all."""
    one = run()
    for step in (20, 150, 300):
        end_s, gpus = one.timeline.step_end_s(step), well(one, step)
        first, second = (one.telemetry.sample(end_s - offset, step) for offset in (2.0, 1.0))
        assert np.abs(first.temperature_c - second.temperature_c)[gpus].max() < 0.5
        assert np.array_equal(first.memory_used_bytes[gpus], second.memory_used_bytes[gpus])
        assert np.abs(first.power_w / second.power_w - 1).max() < 0.2
        assert np.mean(first.power_w != second.power_w) > 0.9


def test_hot_slots_stay_hot() -> None:
    """The order of the temperatures hardly changes in hours; that of the powers neither, beneath their noise."""
    one, gpus = run(), well(run(), 30, 380)
    first, last = look(30), look(380)
    order = np.corrcoef(ranked(first.temperature_c[gpus]), ranked(last.temperature_c[gpus]))[0, 1]
    assert order > 0.8
    means = [np.mean([look(step).power_w for step in range(start, start + 30)], axis=0) for start in (30, 350)]
    assert np.corrcoef(means[0][gpus], means[1][gpus])[0, 1] > 0.8
    assert one.chips.resistance_gain[0] != one.chips.resistance_gain[1]


def test_every_gpu_is_different() -> None:
    sample = look(100)
    assert len(np.unique(sample.temperature_c)) > 40
    assert len(np.unique(sample.power_w)) > 55
    assert len(np.unique(sample.memory_used_bytes)) > 25
    assert 2 < sample.temperature_c.std() < 6


def test_second_row_is_warmer() -> None:
    """It breathes the first row's air: three to five kelvins, in the mean over many machines."""
    sample = look(60, played({"cluster": {"nodes": 128}, "train": {"global_batch": 1024}}))
    by_slot = sample.temperature_c.reshape(128, 8).mean(axis=0)
    assert 1 < by_slot[4:].mean() - by_slot[:4].mean() < 6


def test_temperature_follows_power_with_a_lag() -> None:
    """In a checkpoint power drops at once, temperature over a minute; then both come back."""
    one = run()
    step = 59  # a checkpoint follows
    end_s, length = one.timeline.step_end_s(step), one.checkpoint_seconds(step)
    training, saving, saved = (one.telemetry.sample(end_s + offset, step) for offset in (-1.0, 3.0, length - 0.5))
    assert np.median(saving.power_w) < 0.5 * np.median(training.power_w)
    assert 0 <= np.median(training.temperature_c - saving.temperature_c) < 5
    fall = np.median(training.temperature_c - saved.temperature_c)
    assert 3 < fall < 25
    later = look(step + 12)
    assert np.median(later.temperature_c) == pytest.approx(np.median(training.temperature_c), abs=1.5)
    assert np.median(saving.utilization_pct) < 50 < 95 < np.median(training.utilization_pct)


@pytest.mark.parametrize("gpu", ["H100-SXM", "A100-80-SXM", "B200"])
def test_figures_are_possible_in_every_phase(gpu: str) -> None:
    """Between idle and the limit; between the room and the slowdown temperature; no more memory than there is."""
    one = played({"cluster": {"gpu": gpu}, "train": {"steps_per_epoch": 134}, "checkpoint": {"every": 60}})
    seconds = [-30.0, 0.5, one.timeline.end_s() + 100.0]
    seconds += [one.timeline.step_end_s(step) + offset for step in (0, 59, 133, 300, 401) for offset in (-0.5, 5, 60)]
    for second in seconds:
        sample = one.telemetry.sample(second, 20)
        assert (0.88 * one.gpu.idle_w < sample.power_w).all()
        assert (sample.power_w <= 1.02 * one.gpu.power_limit_w).all()
        assert ((sample.temperature_c > 15) & (sample.temperature_c < one.gpu.slowdown_temperature_c + 1)).all()
        assert ((sample.utilization_pct >= 0) & (sample.utilization_pct <= 100)).all()
        assert ((sample.memory_used_bytes > 0) & (sample.memory_used_bytes <= one.gpu.memory_bytes)).all()


def test_power_of_a_busy_h100_is_what_is_measured() -> None:
    """A cluster that trains well draws most of the 700 W of each GPU, and one that idles 70 to 120 W."""
    assert 400 < np.median(look(100).power_w) < 700
    assert 60 < np.median(run().telemetry.sample(-20.0, 0).power_w) < 140


def test_energy_is_the_integral_of_the_power() -> None:
    """Summed over looks at every two seconds, through steps, a checkpoint and a validation."""
    one = run()
    begin_s, end_s = one.timeline.step_end_s(120), one.timeline.step_end_s(136)
    seconds = np.arange(begin_s, end_s, 2.0)
    integral = sum(one.telemetry.sample(float(second), 125).power_w.sum() for second in seconds) * 2.0
    pauses = one.evaluation_batch_s * 100
    assert one.timeline.calendar.saves_after(np.arange(121, 137)).sum() == 0
    energy = one.energy_j((end_s - begin_s - pauses) * one.telemetry.mean_power_w("step"), 0.0, pauses, 0.0)
    assert integral == pytest.approx(energy, rel=0.01)


def test_memory_fills_in_the_first_steps_and_stays() -> None:
    used = [run().telemetry.memory_used_bytes(0, step) for step in range(40)]
    assert used == sorted(used)
    assert 0.9 < used[0] / used[-1] < 1
    assert len(set(used[10:])) == 1
    planned = run().memory_per_gpu_bytes
    assert np.median(look(100).memory_used_bytes) == pytest.approx(planned, rel=0.02)


def test_memory_is_what_has_been_loaded_so_far() -> None:
    """A context, then weights, then in the first step activations, gradients and at its end the optimizer's state."""
    one = played({
        "model": "llama-3-8b", "cluster": {"nodes": 16}, "parallel": {"tensor": 2, "sharding": "zero1"},
        "train": {"global_batch": 512, "micro_batch": 1, "recompute": "selective", "sequence_length": 8192},
    })  # fmt: skip
    assert one.memory.total < 0.9 * one.gpu.memory_bytes
    use, times = memory_use(one.model.architecture, one.layout, one.method), one.startup
    step_s, first = one.timeline.step_end_s(0), one.layout.accumulation

    def used(second: float) -> float:
        return float(np.median(one.telemetry.sample(second, 0).memory_used_bytes))

    assert used(-times.total - 1) < 2**24
    assert used(-times.total) < 0.3 * use.context
    loading = used(-times.total + 0.3 * times.weights)
    assert 0.3 * use.weights < loading < 0.35 * use.weights + use.context
    before = used(-0.01)
    assert before == pytest.approx(use.weights + use.context, rel=0.02)
    kept, grown = use.activations + use.logits + use.buffers, used(step_s / first / 3)
    assert grown - before == pytest.approx(kept, rel=0.1)
    backward = use.gradients + use.working + use.in_flight
    assert used(0.9 * step_s) - grown == pytest.approx(backward, rel=0.1)
    assert used(step_s - 1e-3) - used(0.9 * step_s) == pytest.approx(use.optimizer, rel=0.1)
    seconds = np.linspace(-times.total - 5, step_s - 1e-3, 400)
    filling = [used(float(second)) for second in seconds]
    assert filling == sorted(filling)


def test_memory_is_given_back_when_the_process_ends() -> None:
    one = run()
    after_s = one.timeline.end_s() + one.export_times.total
    exporting, leaving, gone = (
        one.telemetry.sample(after_s + offset, LAST_STEP - 1).memory_used_bytes for offset in (-0.5, 1.0, 60.0)
    )
    assert np.median(exporting) == pytest.approx(one.memory_per_gpu_bytes, rel=0.02)
    assert np.median(leaving) == pytest.approx(one.memory.context, rel=0.1)
    assert gone.max() <= 2**24


def test_trouble_ends_with_the_run() -> None:
    """Whatever was wrong in the last step, an idle GPU holds no memory and is no hotter than the others."""
    found = 0
    for last in range(300, 3000, 20):
        one = played({"train": {"max_steps": last, "micro_batch": 2}, "impose": {"memory_share": [0.9, 0.99]}})
        if one.incidents.during(last - 1, last - 1):
            found += 1
            idle = one.telemetry.sample(one.timeline.end_s() + 1e5, last - 1)
            assert idle.memory_used_bytes.max() <= 2**24
            assert idle.temperature_c.max() < 50
    assert found


def test_temperature_changes_smoothly() -> None:
    """A body that cools with 40 s loses at first a fortieth of the whole fall every second, and never more."""
    one = played({"train": {"steps_per_epoch": 134}, "checkpoint": {"every": 60},
                  "cluster": {"storage_gbytes_per_s": 2}})  # fmt: skip
    end_s, length = one.timeline.step_end_s(59), one.checkpoint_seconds(59)
    assert length > 200
    curve = np.array([one.telemetry.sample(end_s + second, 59).temperature_c.mean() for second in range(200)])
    fall = curve[0] - curve[-1]
    assert fall > 15
    steps = -np.diff(curve)
    assert steps.max() < 1.15 * fall / 40
    assert steps[:40].min() > 0.25 * fall / 40
    expected = curve[-1] + fall * np.exp(-np.arange(200) / 40)
    assert np.abs(curve - expected).max() < 0.05 * fall


def test_pipeline_stages_differ() -> None:
    """The first has most activations in flight, and its GPUs use most memory."""
    one = played({"parallel": {"tensor": 8, "pipeline": 4, "sharding": "zero1"}})
    stage = one.layout.stage(np.arange(64))
    used = look(50, one).memory_used_bytes
    means = [used[stage == number].mean() for number in range(4)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 1.2 * means[3]


@pytest.mark.parametrize("kind", ["hot", "slow"])
def test_trouble_shows_in_the_gpu_concerned_and_in_no_other(kind: str) -> None:
    runs = (played({"train": {"micro_batch": 2}, "run": {"seed": seed}}) for seed in range(80))
    found = list(islice(((one, incident) for one in runs if (incident := of_kind(one, kind))), 4))
    assert len(found) == 4
    for one, incident in found:
        step = (incident.start + incident.stop) // 2
        sample = look(step, one)
        others = np.delete(np.arange(64), incident.rank)
        if kind == "hot":
            limit = one.gpu.slowdown_temperature_c
            assert limit - 3 < sample.temperature_c[incident.rank] <= limit + 1
            assert sample.temperature_c[others].max() < limit - 8
        else:
            assert sample.sm_clock_mhz[incident.rank] < sample.sm_clock_mhz[others].min()
            assert sample.power_w[incident.rank] < np.quantile(sample.power_w[others], 0.1)
            assert incident.slowdown > 1.05
        assert sample.utilization_pct.min() > 95  # those who wait for it have a kernel resident, too


def of_kind(one: Run, kind: str) -> Incident | None:
    """The run's first incident of a kind that bites."""
    found = one.incidents.during(0, one.last_step - 1)
    return next(
        (
            each
            for each in found
            if each.kind == kind and (kind == "hot" or each.slowdown > 1.1) and each.stop < one.last_step
        ),
        None,
    )


def test_full_memory_is_one_figure() -> None:
    """The rank's own report and the look at all GPUs agree, also while something is wrong."""
    seen = 0
    for seed in range(24):
        one = played({"train": {"micro_batch": 2}, "run": {"seed": seed}, "impose": {"memory_share": [0.9, 0.99]}})
        tight = [incident for incident in one.incidents.during(0, 2999) if incident.kind == "memory"]
        seen += len(tight)
        for incident in tight:
            step = incident.noticed
            used = look(step, one).memory_used_bytes
            assert used[incident.rank] == used.max() == one.telemetry.memory_used_bytes(incident.rank, step)
    assert seen


def test_imposed_ranges_hold() -> None:
    """Also while something is wrong, which shows within them."""
    impose = {"utilization_pct": [90, 98], "temperature_c": [70, 80], "memory_share": [0.875, 0.975]}
    kinds = set()
    for seed in range(6):
        one = played({"impose": impose, "run": {"seed": seed}})
        for incident in one.incidents.during(0, 2999):
            sample = look(incident.noticed, one)
            kinds.add(incident.kind)
            assert 70 <= sample.temperature_c.min() < 72 < 78 < sample.temperature_c.max() <= 80
            assert 90 <= sample.utilization_pct.min() < sample.utilization_pct.max() <= 98
            share = sample.memory_used_bytes / one.gpu.memory_bytes
            assert 0.875 - 1e-4 <= share.min() < share.max() <= 0.975 + 1e-4
            concerned = {
                "hot": sample.temperature_c[incident.rank] == sample.temperature_c.max(),
                "slow": sample.sm_clock_mhz[incident.rank] < np.median(sample.sm_clock_mhz),
                "memory": share[incident.rank] == share.max(),
            }
            assert concerned[incident.kind]
    assert kinds == {"hot", "slow", "memory"}


def test_no_healthy_board_passes_its_limit() -> None:
    """Also one that could draw more: it is held there, by a lower clock."""
    one = played({"impose": {"step_time_s": [1, 2]}, "cluster": {"gpu": "H100-SXM"}})
    hungry = one.chips.clocks(1.2 * one.gpu.power_limit_w)
    assert hungry.max() < 1
    assert (one.chips.allowed_w(1.2 * one.gpu.power_limit_w) <= one.gpu.power_limit_w).all()
    for step in range(30, 60):
        assert (look(step, one).power_w <= one.gpu.power_limit_w).all()


def test_warm_aisles_throttle_and_slow_everyone() -> None:
    """A cool room slows nobody; the warmer it is, the lower the slowest chip's clock and the longer every step."""
    factors, seconds, clocks = [], [], []
    for ambient_c in (20, 35, 45, 52):
        one = played({"cluster": {"ambient_c": ambient_c}, "train": {"micro_batch": 2}})
        factors.append(one.step_times.throttling)
        seconds.append(float(np.median(one.step_times.seconds(np.arange(100, 200)))))
        assert look(300, one).temperature_c.max() < one.gpu.slowdown_temperature_c + 2
        clocks.append(look(300, one).sm_clock_mhz.min())
        # Matrix products keep the clock below its boost where it is cool, too; heat lowers it where it slows steps.
        assert 0.7 * one.gpu.max_clock_mhz < clocks[0] < one.gpu.max_clock_mhz
        assert clocks[-1] <= clocks[0]
    assert clocks[-1] < clocks[0]
    assert factors[0] == 1
    assert factors == sorted(factors)
    assert factors[-1] > 1.02
    assert seconds[-1] / seconds[0] == pytest.approx(1 + one.compute_share * (factors[-1] - 1), rel=0.002)


def test_power_gives_a_lower_clock_by_the_published_exponent() -> None:
    """A board of 500 W instead of 700 W has about 0.84 of the matrix rate."""
    assert clock_share((500 - 70) / (700 - 70)) == pytest.approx(0.84, abs=0.015)


def test_phases_show_in_power_and_utilization() -> None:
    one = run()
    end_s = one.timeline.end_s()
    moments = {"startup": -20.0, "step": one.timeline.step_end_s(100) - 1, "export": end_s + 1, "idle": end_s + 1e6}
    power = {phase: np.median(one.telemetry.sample(second, 100).power_w) for phase, second in moments.items()}
    assert power["idle"] < power["export"] <= 1.1 * power["startup"] < power["step"]
    assert one.telemetry.sample(moments["idle"], 400).utilization_pct.max() <= 1
    assert one.telemetry.sample(moments["idle"], 400).sm_clock_mhz.max() == 345


@pytest.mark.slow
def test_a_look_at_a_hundred_thousand_gpus_is_quick() -> None:
    """Six milliseconds on the machine that this was written on; five times that is what it may take."""
    one = played({"cluster": {"nodes": 12_500}, "train": {"global_batch": 12_500, "micro_batch": 1}})
    taken = []
    for step in range(50, 60):
        second = one.timeline.step_end_s(step)
        begin = time.perf_counter()
        one.telemetry.sample(second, step)
        taken.append(time.perf_counter() - begin)
    assert min(taken) < 0.03
