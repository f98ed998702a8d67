"""Figures that are not finite are printed as each program prints them, and end a job as it does."""

from __future__ import annotations

from datetime import datetime

from accelerate_sim.faults.words import numbers

NAN = float("nan")
STEP = numbers.Step(rank=13, node="node1", device=5, iteration=400)


def test_megatron_prints_capitals_and_reruns_a_rejected_step() -> None:
    assert numbers.megatron_figure(NAN) == "NAN" and numbers.megatron_figure(float("inf")) == "INF"
    assert numbers.megatron_figure(2.5) == "2.500000E+00"
    assert numbers.unexpected(STEP, NAN, numbers.NAN_LOSS) == (
        "Unexpected result nan on rank 13 at iteration #400 invocation #1 (message='found NaN in local forward loss "
        "calculation')"
    )
    assert numbers.megatron_counts(1, 0) == "number of skipped iterations:   1 | number of nan iterations:   0 |"


def test_the_exit_code_follows_from_the_reruns() -> None:
    lines, code = numbers.first_rerun(STEP, NAN, NAN)
    assert (
        code == 16 and "is reproducible within the tolerance (nan = nan). Need to rerun on a different GPU" in lines[0]
    )
    lines, code = numbers.first_rerun(STEP, NAN, 2.4)
    assert code == 17 and lines[1] == "Rank 13, node node1, device 5, iteration #400: Possible transient error!!"
    assert numbers.second_rerun(STEP, 9.9, 2.4)[1] == 17
    lines, code = numbers.second_rerun(STEP, 9.9, 9.9)
    assert code == 0 and "Correct result (but possible Application error)" in lines[1]


def test_deepspeed_uses_up_its_hysteresis_before_it_halves_the_scale() -> None:
    time = datetime(2026, 11, 3, 9, 1, 5, 123456)
    first, second = (numbers.deepspeed_overflow(time, 4294967296, hysteresis=count) for count in (2, 1))
    assert first.startswith("[2026-11-03 09:01:05,123] [INFO] [loss_scaler.py:")
    assert first.endswith("Attempted loss scale: 4294967296, but hysteresis is 2. Reducing hysteresis to 1")
    assert second.endswith("Attempted loss scale: 4294967296, reducing to 2147483648")


def test_the_trainer_hides_a_loss_that_is_not_finite_unless_told_otherwise() -> None:
    assert numbers.trainer_log(NAN, NAN, 1e-4, 0.5).startswith("{'loss': 0.0, 'grad_norm': nan, ")
    assert numbers.trainer_log(NAN, NAN, 1e-4, 0.5, hides_nan=False).startswith("{'loss': nan, ")
    assert numbers.torchtitan_figures(NAN, NAN) == "loss:      nan  grad_norm:     nan"
