"""A GPU's power follows from what it computes and moves."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.gpus.activity import LINK_SHARE, MEMORY_SHARE, RESIDENT_SHARE, Activity, drawn_w
from accelerate_sim.sim.run import Run

EIGHT_B: dict[str, Any] = {
    "model": "llama-3-8b", "cluster": {"nodes": 16}, "parallel": {"tensor": 1, "sharding": "fsdp"},
    "train": {"global_batch": 512, "micro_batch": 1, "recompute": "selective", "sequence_length": 8192},
}  # fmt: skip
LONG_OLD = {"sequence_length": 131_072, "global_batch": 128, "recompute": "full", "stack": "llm-foundry"}


def eight_b(cluster: dict[str, Any] | None = None, **train: Any) -> Run:
    more = {"cluster": EIGHT_B["cluster"] | (cluster or {}), "train": EIGHT_B["train"] | train}
    return Run(RunConfig.model_validate(EIGHT_B | more))


def mfu(one: Run) -> float:
    return one.mfu(one.layout.tokens_per_step / one.mean_step_s)


def test_well_tuned_training_draws_most_of_the_limit() -> None:
    """Training draws three quarters of a node's rated 10.2 kW (Latif et al. 2024): about 0.9 of each GPU's limit."""
    for one in (eight_b(), eight_b(micro_batch=2), eight_b({"gpu": "H200-SXM"})):
        assert 0.85 < one.telemetry.mean_power_w("step") / one.gpu.power_limit_w < 0.96


def test_slow_kernels_draw_less_than_fast_ones() -> None:
    """Half the FLOP/s in the same hours: attention that reaches a quarter of the peak does not heat like products."""
    fast, slow = eight_b(), eight_b(**LONG_OLD)
    assert mfu(slow) < 0.55 * mfu(fast)
    assert slow.telemetry.mean_power_w("step") < 0.75 * fast.telemetry.mean_power_w("step")


def test_a_slower_network_slows_steps_and_lowers_power() -> None:
    runs = [eight_b({"nic_gbps": gbps}) for gbps in (400, 100, 50, 25, 10)]
    shares = [mfu(one) for one in runs]
    watts = [one.telemetry.mean_power_w("step") for one in runs]
    assert shares == sorted(set(shares), reverse=True)
    assert watts == sorted(set(watts), reverse=True)


def test_what_is_computed_again_draws_power_too() -> None:
    """It is no work of the model's, but it is work."""
    once, twice = eight_b(recompute="none"), eight_b(recompute="full")
    assert mfu(twice) < mfu(once)
    assert twice.telemetry.mean_power_w("step") >= 0.99 * once.telemetry.mean_power_w("step")


def test_an_operation_in_fp8_costs_less_energy() -> None:
    wide, narrow = eight_b(), eight_b(precision="fp8")
    assert mfu(narrow) > 1.2 * mfu(wide)
    energy = [one.mean_step_s * one.telemetry.mean_power_w("step") for one in (narrow, wide)]
    assert 0.6 < energy[0] / energy[1] < 0.85


@given(
    part=st.sampled_from(sorted(vars(eight_b().step_parts))), factor=st.floats(1, 20),
    raw=st.sampled_from([{}, {"precision": "fp8"}, {"recompute": "full"}, LONG_OLD]),
)  # fmt: skip
def test_the_same_work_in_more_time_never_draws_more(part: str, factor: float, raw: dict[str, Any]) -> None:
    """Whatever it is that takes longer: kernels that are slower, links, bubbles, launches."""
    one = eight_b(**raw)
    parts = one.step_parts
    lost = 0.05 * parts.total * (factor - 1)
    slower = replace(parts, **{part: getattr(parts, part) + lost})
    before, after = (
        Activity.of_step(one.throughput, one.layout.accumulation, each).power_share for each in (parts, slower)
    )
    if part == "optimizer":  # it moves memory for all of its time
        assert after <= max(before, RESIDENT_SHARE + MEMORY_SHARE)
    else:
        assert after <= before


def test_waiting_draws_little() -> None:
    """A GPU that polls for its peers draws 120 to 200 of 700 W."""
    assert 120 < drawn_w(eight_b().gpu, RESIDENT_SHARE + LINK_SHARE) < 220
