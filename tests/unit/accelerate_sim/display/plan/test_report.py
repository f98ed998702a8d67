"""Output of --plan."""

import re

import numpy as np
import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.cluster import ClusterConfig, ParallelConfig
from accelerate_sim.config.sections.output import CheckpointConfig
from accelerate_sim.config.sections.play import ImposeConfig
from accelerate_sim.config.sections.train import EvalConfig, TrainConfig
from accelerate_sim.display.plan.plan_report import plan_report
from accelerate_sim.display.style import Style, columns
from accelerate_sim.sim.run import Run

DEFAULT = Run(RunConfig())
IMPOSED = Run(
    RunConfig(
        train=TrainConfig(global_batch=2048, micro_batch=4, sequence_length=4096),
        impose=ImposeConfig(step_time_s=(0.03, 0.08), memory_share=(0.88, 0.97), first_loss=(8, 12)),
    )
)
HUGE = Run(
    RunConfig(
        model="llama-3.1-405b",
        cluster=ClusterConfig(nodes=2048),
        parallel=ParallelConfig(pipeline=16),
        train=TrainConfig(global_batch=2048),
    )
)
EXPERTS = Run(RunConfig(model="mixtral-8x7b", parallel=ParallelConfig(tensor=2, expert=8)))


def text_of(run: Run) -> str:
    return "\n".join(plan_report(run, 120, Style()))


def number(pattern: str, text: str) -> float:
    """The number that the pattern's group finds."""
    found = re.search(pattern, text)
    assert found, pattern
    return float(found[1].replace(",", ""))


@pytest.mark.parametrize("run", [DEFAULT, IMPOSED, HUGE, EXPERTS], ids=["default", "imposed", "huge", "experts"])
@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_it_fits(run: Run, width: int) -> None:
    plain = plan_report(run, width, Style())
    assert max(map(columns, plain)) <= width - 1
    assert not any(line.endswith(" ") for line in plain)
    assert "\n".join(plan_report(run, width, Style(ascii=True))).isascii()
    painted = plan_report(run, width, Style(color=True))
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in painted] == plain


def test_the_layout_and_batch_are_spelled_out() -> None:
    text = text_of(DEFAULT)
    assert "64 GPUs = DP 8 × TP 8 × PP 1 × CP 1; FSDP" in text
    assert "128 sequences = micro batch 1 × DP 8 × accumulation 16" in text
    assert "1,048,576 = 128 × 8,192" in text
    assert "3,000 = 3 epochs × 1,000" in text
    assert "70,553,706,496 (70.55B)" in text
    assert "0.24% of FineWeb-Edu" in text


def test_a_reader_with_a_calculator_agrees() -> None:
    text = text_of(DEFAULT)
    rate, seconds = number(r"([\d,]+) tokens/s =", text), number(r"1,048,576 / ([\d.]+) s", text)
    assert rate == pytest.approx(1_048_576 / seconds, rel=1e-4)
    flops = rate * number(r"work per token +([\d.]+) GFLOP", text) * 1e9
    assert number(r"MFU +([\d.]+)%", text) / 100 == pytest.approx(flops / (64 * 989e12), rel=3e-3)
    for heading, unit in (("Memory of the fullest GPU", " GiB"), ("Time of a step", " s")):
        section = text.split(heading)[1].split("\n\n")[0]
        sizes = [float(size) for size in re.findall(rf"([\d.]+){unit} +[\d.]+%", section)]
        assert sum(sizes[:-1]) == pytest.approx(sizes[-1], abs=0.03)


def test_the_parts_of_the_run_add_up() -> None:
    section = text_of(DEFAULT).split("The whole run")[1].split("\n\n")[0]
    clocks = [
        sum(int(part) * 60**place for place, part in enumerate(reversed(clock.split(":"))))
        for clock in re.findall(r"\d+:\d\d:\d\d", section)
    ]
    assert sum(clocks[:-1]) == pytest.approx(clocks[-1], abs=3)
    mean_w = number(r"([\d.]+) kW on average", section) * 1e3
    assert number(r"([\d.]+) kWh", section) * 3.6e6 == pytest.approx(mean_w * clocks[-1], rel=2e-3)


def test_the_whole_run_is_disturbed_and_a_single_step_is_not() -> None:
    """The steps' time is that of all of them, one by one: more than their number times an undisturbed one's."""
    text = text_of(DEFAULT)
    assert re.search(r"throughput .* s, in a step that nothing disturbs", text)
    steps = DEFAULT.step_times.seconds(np.arange(DEFAULT.total_steps))
    mean, share = number(r"3,000 steps × ([\d.]+) s", text), number(r"3,000 steps × [\d.]+ s ([+-][\d.]+)%", text)
    assert mean == pytest.approx(DEFAULT.mean_step_s, abs=1e-3)
    assert 3000 * mean * (1 + share / 100) == pytest.approx(steps.sum(), rel=1e-3)
    assert number(r"disturbed by +a first step of ([\d.]+) s", text) == pytest.approx(steps[0], abs=1e-3)


def test_imposed_figures_are_called_so() -> None:
    text = text_of(IMPOSED)
    assert "70.1 GiB to 77.3 GiB (impose.memory_share)" in text
    assert "30.0 ms to 80.0 ms, mean 55.0 ms (impose.step_time_s)" in text
    assert "loss 8–12 at first" in text
    assert re.search(r"MFU +n/a: the imposed step time needs 1,08\d\.\d times the peak", text)
    assert "imposed" not in text_of(DEFAULT)


def test_near_layouts_are_signed_and_it_is_said_if_none_is_faster() -> None:
    tuned = RunConfig(
        model="llama-3.1-405b", cluster=ClusterConfig(nodes=2048),
        parallel=ParallelConfig(pipeline=16, virtual_stages=8),
        train=TrainConfig(global_batch=2048, recompute="none", stack="megatron-2024"),
    )  # fmt: skip
    for run in (DEFAULT, Run(tuned)):
        _, heading, rows = re.split(r"(Near layouts.*)\n", text_of(run))
        signs = [float(found) for found in re.findall(r"^  ([+-][\d.]+)%", rows.split("\n\n")[0], re.M)]
        assert signs == sorted(signs, reverse=True) and signs
        assert ("none is faster" in heading) == (signs[0] < 0.1), heading
    assert signs[0] < 0


def test_experts_are_described() -> None:
    assert "2 of 8 per token in 32 layers" in text_of(EXPERTS)
    assert "12.88B active per token" in text_of(EXPERTS)
    assert "EP 8" in text_of(EXPERTS)


@pytest.mark.parametrize("eval_every", ["epoch", 7, 12, 30])
@pytest.mark.parametrize("checkpoint_every", [0, 13, 90, 1000])
def test_checkpoints_and_validations_are_counted_as_they_will_happen(
    eval_every: str | int, checkpoint_every: int
) -> None:
    run = Run(
        RunConfig(
            train=TrainConfig(epochs=3, steps_per_epoch=30),
            eval=EvalConfig(every=eval_every),
            checkpoint=CheckpointConfig(every=checkpoint_every),
        )
    )
    steps = np.arange(run.total_steps)
    calendar = run.timeline.calendar
    validations, checkpoints = int(calendar.validates_after(steps).sum()), int(calendar.saves_after(steps).sum())
    text = text_of(run)
    assert f" {validations} validation" in text
    assert (f" {checkpoints} checkpoint" if checkpoints else "no checkpoints") in text
