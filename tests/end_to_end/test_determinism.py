"""The run is a score: the same config, seed and start time are the same bytes, whoever plays them, and how often."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.cluster import ParallelConfig
from accelerate_sim.config.sections.output import LogConfig
from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim.run import Run
from tests.support.reading import Event, Play, Played, Train

START = ("--start-time", "2026-01-01T00:00:00", "--speed", "max")
LLAMA = (
    "--config", "configs/llama70b.yaml", "--seed", "178",
    "--set", "train.steps_per_epoch=134", "--set", "checkpoint.every=60",
)  # fmt: skip
"""As the fixture ``llama``."""
ANY_STEP = st.integers(0, 1200)


def metrics(run: Played) -> bytes:
    return (run.directory / "metrics.jsonl").read_bytes().replace(str(run.directory).encode(), b"OUT")


def text(run: Played) -> str:
    return run.text.replace(str(run.directory), "OUT")


def test_same_run_is_the_same_bytes(llama: Played, new_python: Train, tmp_path_factory: pytest.TempPathFactory) -> None:
    """On the pipe and in the file; only the directory has another name, which is as long because it is shown."""
    directory = tmp_path_factory.mktemp("run099", numbered=False) / "out"
    done = new_python(*LLAMA, *START, "--output-dir", str(directory))
    assert (done.returncode, done.stderr) == (0, "")
    again = Played(done.stdout, directory)
    assert text(again) == text(llama)
    assert metrics(again) == metrics(llama)


def test_drawn_run_is_the_same_bytes(train: Train, new_python: Train) -> None:
    command = ("--seed", "5", "--max-steps", "30", *START)
    first, second = train(*command), new_python(*command)
    assert first.stdout == second.stdout
    assert "Training finished" in first.stdout


def test_how_it_is_shown_changes_no_number(llama: Played, play: Play) -> None:
    """A walking pace, other lines, no bars: the metrics stay."""
    other = play(*LLAMA, "--max-steps", "40", "--no-progress", "--ascii", "--set", "log.every=3")
    assert other.of("step") == llama.of("step")[:40]
    assert other.text.isascii()
    assert not other.bars


def test_another_seed_is_another_run(llama: Played, play: Play) -> None:
    other = play(*LLAMA, "--max-steps", "40", "--seed", "43")
    for figure in ("loss", "grad_norm", "step_time_s"):
        pairs = zip(other.of("step"), llama.of("step"), strict=False)
        assert all(ours[figure] != theirs[figure] for ours, theirs in pairs)
    assert [event["lr"] for event in other.of("step")] == [event["lr"] for event in llama.of("step")[:40]]
    assert other.of("gpu")[0]["power_w"] != llama.of("gpu")[0]["power_w"]


@pytest.mark.parametrize("steps", [1, 60, 300])
def test_short_run_is_the_beginning_of_the_long_one(llama: Played, play: Play, steps: int) -> None:
    short = play(*LLAMA, "--max-steps", str(steps))
    assert short.of("step") == llama.of("step")[:steps]
    for kind in ("nccl", "warning"):
        assert short.of(kind) == [event for event in llama.of(kind) if event["step"] <= steps]
    assert short.stepping_gpus == [event for event in llama.stepping_gpus if event["step"] <= steps]


TIMES_AND_NUMBERS = ("run", "time", "timestamp", "start_time", "config")
"""Keys of an event in which two runs of a session differ."""


def test_second_run_of_a_session_is_the_first_with_the_next_seed(play: Play) -> None:
    """Except for its number and its times."""
    small = ("--config", "configs/debug.yaml", "--set", "run.seed=11")
    both, alone = play(*small, "--runs", "2"), play(*small, "--seed", "12")

    def told(event: Event) -> Event:
        kept = {key: value for key, value in event.items() if key not in TIMES_AND_NUMBERS}
        return {
            key: re.sub(r".*/out/(run-2/)?", "", value) if isinstance(value, str) else value
            for key, value in kept.items()
        }

    second = [told(event) for event in both.events if event["run"] == 2]
    assert second == [told(event) for event in alone.events]
    assert second[0]["seed"] == 12


# --- One process for all ranks, or one for each ---------------------------------------------------


@cache
def world() -> Run:
    return Run(
        RunConfig(
            parallel=ParallelConfig(tensor=4, pipeline=2),
            train=TrainConfig(steps_per_epoch=400, micro_batch=2),
            log=LogConfig(every=1),
        )
    )


@settings(max_examples=25)
@given(step=ANY_STEP)
def test_a_rank_alone_has_the_loss_that_the_world_has(step: int) -> None:
    """Each process of a real job would compute its own micro-batches only, at a step that it meets first."""
    together = world().micro_losses(step)
    alone = Run(world().config)
    for replica in (0, 3, alone.layout.data - 1):
        deviation = alone.loss.micro_deviation(np.array([step]), alone.layout.data, alone.layout.accumulation)
        own = alone.block_of(step).loss[step % 256] + deviation[0, :, replica]
        assert together[:, replica].tolist() == own.tolist()


@settings(max_examples=25)
@given(first=ANY_STEP, second=ANY_STEP)
def test_a_step_does_not_depend_on_those_before_it(first: int, second: int) -> None:
    """A run that begins anywhere, or jumps, plays the same notes."""
    jumping, fresh = Run(world().config), Run(world().config)
    jumping.micro_losses(first)
    jumping.timing(first)
    for figure in ("lr", "grad_norm_at", "timing", "checkpoint_seconds"):
        assert getattr(jumping, figure)(second) == getattr(fresh, figure)(second)
    assert jumping.micro_losses(second).tolist() == fresh.micro_losses(second).tolist()


@settings(max_examples=25)
@given(step=ANY_STEP, length=st.integers(1, 40))
def test_blocks_are_what_single_steps_are(step: int, length: int) -> None:
    """Every curve over many steps at once has the bits that it has step by step."""
    run, steps = world(), np.arange(step, step + length)
    residual = run.loss.residual(steps)
    curves = {
        "loss": run.loss.train,
        "residual": run.loss.residual,
        "step time": run.step_times.seconds,
        "micro": lambda steps: run.loss.micro_deviation(steps, 8, 4),
        "norm": lambda steps: run.grad_norm.values(steps, residual[steps - step]),
    }
    for name, curve in curves.items():
        whole = np.asarray(curve(steps))
        for offset in {0, length // 2, length - 1}:
            single = np.asarray(curve(steps[offset : offset + 1]))
            assert whole[offset : offset + 1].tolist() == single.tolist(), name


@settings(max_examples=25)
@given(second=st.floats(-500, 30_000))
def test_anyone_can_look_at_the_gpus_at_any_second(second: float) -> None:
    """Without having looked before."""
    watching, other = world().telemetry, Run(world().config).telemetry
    for array, same in zip(vars_of(watching.sample(second, 3)), vars_of(other.sample(second, 3)), strict=True):
        assert array == same


def vars_of(sample: object) -> list[object]:
    return [np.asarray(figures).tolist() for figures in vars(sample).values()]
