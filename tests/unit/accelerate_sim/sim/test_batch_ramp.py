"""The batch grows by Megatron-LM's rule, and everything that depends on it follows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.train import TrainConfig
from accelerate_sim.sim.batch_ramp import BatchSchedule
from accelerate_sim.sim.curves.schedule import useful_steps
from accelerate_sim.sim.plan import Plan
from accelerate_sim.sim.run import Run

RAMP = {"start": 16, "increment": 16, "samples": 4000}
STEPS = np.arange(600)


def run(**train: object) -> Run:
    """Llama 3 70B on 64 H100s, with the batch growing from 16 to 128 in the first 95 steps."""
    return Run(RunConfig.model_validate({"train": {"micro_batch": 2, "batch_ramp": RAMP, **train}}))


def by_rule(start: int, increment: int, samples: int, whole: int, steps: int) -> list[int]:
    """Batches by the rule, applied before each step to the samples that were consumed until then."""
    batches, consumed, increments = [], 0, (whole - start) // increment
    for _ in range(steps):
        grown = consumed * increments // samples  # samples / increments make one increment
        batches.append(whole if consumed > samples else min(start + grown * increment, whole))
        consumed += batches[-1]
    return batches


@given(
    start=st.integers(1, 40),
    increment=st.integers(1, 40),
    increments=st.integers(0, 30),
    samples=st.integers(1, 20_000),
)
def test_batches_are_those_of_the_rule(start: int, increment: int, increments: int, samples: int) -> None:
    whole = start + increment * increments
    ramp = {"start": start, "increment": increment, "samples": samples}
    schedule = BatchSchedule.of(TrainConfig.model_validate({"global_batch": whole, "batch_ramp": ramp}))
    expected = by_rule(start, increment, samples, whole, 400)
    assert [schedule.batch(step) for step in range(400)] == expected
    assert np.broadcast_to(schedule.batches(np.arange(400)), 400).tolist() == expected
    assert [schedule.sequences_before(step) for step in range(401)] == [0, *np.cumsum(expected).tolist()]
    assert [step for step in range(400) if schedule.begins(step)] == (np.flatnonzero(np.diff(expected)) + 1).tolist()
    counts = schedule.steps_in(400)
    assert sum(counts) == 400
    assert sum(count * stage.batch for count, stage in zip(counts, schedule.stages, strict=True)) == sum(expected)


def test_gpt_3s_ramp() -> None:
    """Megatron-LM's example for 175B: from 16 by 16 over 5,859,375 samples of 2,048 tokens, 12 billion, to 1,536."""
    ramp = {"start": 16, "increment": 16, "samples": 5_859_375}
    schedule = BatchSchedule.of(TrainConfig.model_validate({"global_batch": 1536, "batch_ramp": ramp}))
    assert len(schedule.stages) == 96
    assert schedule.whole.first_sequence == pytest.approx(5_859_375, abs=1536)
    # Each increment lasts equally many samples, so the steps are a harmonic sum.
    steps = sum(5_859_375 / 95 / batch for batch in range(16, 1536, 16))
    assert schedule.whole.first_step == pytest.approx(steps, abs=96)


def test_no_ramp_is_one_stage() -> None:
    assert (
        BatchSchedule.of(TrainConfig(global_batch=64)).stages
        == BatchSchedule.of(
            TrainConfig.model_validate({"global_batch": 64, "batch_ramp": {"start": 64, "increment": 8, "samples": 10}})
        ).stages
    )


def test_after_the_ramp_steps_are_those_of_a_run_without() -> None:
    """In the mean: the noise is another run's."""
    ramped, plain = run(), run(batch_ramp=None)
    assert ramped.mean_step_s == plain.mean_step_s
    assert ramped.step_parts == plain.step_parts
    late = np.arange(200, 600)
    assert ramped.timeline.block(1).step_s.mean() == pytest.approx(plain.timeline.block(1).step_s.mean(), rel=0.05)
    assert ramped.tokens_before(600) - ramped.tokens_before(200) == len(late) * plain.layout.tokens_per_step


def test_smaller_batches_take_less_time_and_more_of_it_in_vain() -> None:
    """A pipeline that is filled and drained for a few micro-batches idles for most of the step."""
    config = {"train": {"batch_ramp": RAMP, "micro_batch": 1}, "parallel": {"pipeline": 8, "sharding": "zero1"}}
    one = Plan(RunConfig.model_validate(config))
    stages = range(len(one.batches.stages))
    seconds = [one.stage_step_s(stage) for stage in stages]
    rates = [one.batches.stages[stage].batch / seconds[stage] for stage in stages]
    bubbles = [one.stage_parts(stage).pipeline_bubble / seconds[stage] for stage in stages]
    assert seconds == sorted(seconds)
    assert rates == sorted(rates)
    assert bubbles == sorted(bubbles, reverse=True)
    assert bubbles[0] > 0.2 > bubbles[-1]


def test_expected_time_is_the_sum_over_stages() -> None:
    one = run()
    each = [one.stage_step_s(one.batches.number_at(step)) for step in range(600)]
    assert one.expected_s(600) == pytest.approx(sum(each))
    assert one.expected_s(40) == pytest.approx(sum(each[:40]))
    measured = np.concatenate([one.timeline.block(index).step_s for index in range(3)])[:600]
    assert measured.sum() == pytest.approx(one.expected_s(600), rel=0.06)
    power = [one.telemetry.mean_step_power_w(step) for step in range(600)]
    assert one.expected_steps_j(600) == pytest.approx(np.dot(each, power))


def test_losses_of_small_batches_are_noisier() -> None:
    """By the root of the ratio: 8 times fewer sequences, 2.8 times the noise."""
    early, late = [], []
    for seed in range(40):
        one = run(batch_ramp={**RAMP, "samples": 20_000}, warmup_steps=0)
        curve = Run(one.config.model_copy(update={"run": one.config.run.model_copy(update={"seed": seed})})).loss
        steps = np.arange(100, 170)
        early.append(curve.train(steps) - curve.trend(steps) - curve.batch.offset(steps))
        steps = np.arange(900, 1000)
        late.append(curve.train(steps) - curve.trend(steps) - curve.batch.offset(steps))
    assert np.median(np.abs(early)) / np.median(np.abs(late)) == pytest.approx(8**0.5, rel=0.2)


def test_micro_losses_of_a_step_add_up_to_its_loss() -> None:
    one = run()
    for step in (0, 1, 40, 80, 94, 95, 96, 300, 3):
        losses = one.micro_losses(step)
        assert losses.shape == (one.accumulation(step), 8)
        assert losses.mean() == pytest.approx(one.block_of(step).loss[step % 256], abs=1e-9)


def test_pipelines_that_idle_draw_less_power() -> None:
    config = {"train": {"batch_ramp": RAMP, "micro_batch": 1}, "parallel": {"pipeline": 8, "sharding": "zero1"}}
    one = Run(RunConfig.model_validate(config))
    begin_s, end_s = one.timeline.step_end_s(3), one.timeline.step_end_s(400)
    early, late = (one.telemetry.sample(second, step) for second, step in ((begin_s, 3), (end_s - 0.1, 400)))
    assert early.power_w.mean() < 0.93 * late.power_w.mean()
    assert one.telemetry.mean_step_power_w(3) == pytest.approx(early.power_w.mean(), rel=0.02)


def test_other_ramps_are_other_data_on_the_same_machines() -> None:
    runs = [run(batch_ramp=ramp) for ramp in (None, RAMP, {**RAMP, "start": 32}, {**RAMP, "samples": 8000})]
    assert len({one.data_seed for one in runs}) == 4
    assert len({one.noise_seed for one in runs}) == 1


def test_small_batches_teach_less_a_step_and_more_a_token() -> None:
    """Below the critical batch a step's worth is its tokens', above it all steps are alike."""
    one, plain = run(batch_ramp={**RAMP, "samples": 20_000}).config.train, run(batch_ramp=None).config.train
    steps = np.arange(0, 3001, 50.0)
    ramped, whole = (useful_steps(each, BatchSchedule.of(each), 3000, steps) for each in (one, plain))
    assert (np.diff(ramped) > 0).all()
    assert (ramped[1:] < whole[1:]).all()
    schedule = BatchSchedule.of(one)
    share = np.array([schedule.sequences_before(int(step)) for step in steps[1:]]) / (128 * steps[1:])
    assert (ramped[1:] / whole[1:] > share).all()
    last = schedule.whole.first_step
    assert np.ptp((whole - ramped)[steps > last]) < 1e-6  # what the ramp has cost, and no more


def test_the_loss_of_a_ramp_falls_later() -> None:
    ramped, plain = run(batch_ramp={**RAMP, "samples": 20_000}).loss, run(batch_ramp=None).loss
    assert (ramped.trend(np.arange(100, 400)) > plain.trend(np.arange(100, 400))).all()
