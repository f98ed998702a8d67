"""The fit finds what the runs know and leaves the rest alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accelerate_sim import catalog
from accelerate_sim.calibration.columns import Measured
from accelerate_sim.calibration.fitting import Fit, predicted_tokens_per_s, read_by
from accelerate_sim.calibration.held_out import DEALS, dealt, held_out
from accelerate_sim.calibration.run_table import read_runs
from accelerate_sim.sim.speed.kernels import Kernels
from accelerate_sim.sim.speed.throughput import Throughput
from tests.support.repository import REFERENCE

OWN = REFERENCE / "measured_runs.csv"
LOOSE = ("gemm_share_bf16.ampere", "recompute_cost", "launch_s.fused")


def runs() -> list[Measured]:
    return [run for run in read_runs(OWN).runs if not run.model.moe][::3]


def table(*loose: str) -> dict[str, catalog.Constant]:
    """All constants fixed but these, which start from their values."""
    return {
        name: constant._replace(prior=constant.value, trust=0.5 if name in loose else 0.0)
        for name, constant in catalog.constant_table().items()
    }


def test_it_recovers_the_constants_that_made_the_runs() -> None:
    truth = dict(catalog.constants()) | {"gemm_share_bf16.ampere": 0.75, "recompute_cost": 0.7}
    made = [replace(run, tokens_per_s_per_gpu=predicted_tokens_per_s(run, truth)) for run in runs()]
    found = Fit(made, table(*LOOSE)).improve()
    assert found["gemm_share_bf16.ampere"] == pytest.approx(0.75, rel=0.02)
    assert found["recompute_cost"] == pytest.approx(0.7, rel=0.04)
    # No run waits for the host: nothing is learned of it.
    assert found["launch_s.fused"] == pytest.approx(truth["launch_s.fused"], rel=0.02)


def test_constants_that_a_run_does_not_read_do_not_move_its_prediction() -> None:
    constants = dict(catalog.constants())
    run = runs()[0]
    read = read_by(run, constants)
    assert 10 < len(read) < len(constants)
    doubled = {name: value if name in read else 2 * value for name, value in constants.items()}
    assert predicted_tokens_per_s(run, doubled) == predicted_tokens_per_s(run, constants)


def test_a_constant_at_its_bound_does_not_hold_up_the_others() -> None:
    """The runs ask for a value beyond the bound; the search stops there and still finds the rest."""
    truth = dict(catalog.constants()) | {"gemm_share_bf16.ampere": 0.75, "recompute_cost": 0.7}
    made = [replace(run, tokens_per_s_per_gpu=predicted_tokens_per_s(run, truth)) for run in runs()]
    loose = table(*LOOSE)
    loose["recompute_cost"] = loose["recompute_cost"]._replace(low=0.8)
    fit = Fit(made, loose)
    found = fit.improve()
    assert found["recompute_cost"] == pytest.approx(0.8)
    alone = Fit(
        made, table(LOOSE[0], LOOSE[2]) | {"recompute_cost": loose["recompute_cost"]._replace(value=0.8, trust=0)}
    )
    assert found["gemm_share_bf16.ampere"] == pytest.approx(alone.improve()["gemm_share_bf16.ampere"], rel=1e-3)


def test_one_run_that_is_far_off_does_not_bend_it() -> None:
    truth = dict(catalog.constants())
    made = [replace(run, tokens_per_s_per_gpu=predicted_tokens_per_s(run, truth)) for run in runs()]
    made[0] = replace(made[0], tokens_per_s_per_gpu=made[0].tokens_per_s_per_gpu / 3)
    found = Fit(made, table(*LOOSE)).improve()
    assert found["gemm_share_bf16.ampere"] == pytest.approx(truth["gemm_share_bf16.ampere"], rel=0.05)


def test_a_family_that_is_left_out_is_not_learned_from() -> None:
    truth = dict(catalog.constants())
    made = [
        replace(run, family="new" if run.gpu.generation == "ampere" else "known",
                tokens_per_s_per_gpu=predicted_tokens_per_s(run, truth | {"gemm_share_bf16.ampere": 0.7}))
        for run in runs()
    ]  # fmt: skip
    fit = Fit(made, table("gemm_share_bf16.ampere"))
    assert fit.improve()["gemm_share_bf16.ampere"] == pytest.approx(0.7, rel=0.02)
    without = fit.without(["new"])["new"]
    assert without["gemm_share_bf16.ampere"] == pytest.approx(truth["gemm_share_bf16.ampere"], rel=0.03)


def test_constants_are_within_their_bounds_and_say_where_they_come_from() -> None:
    for name, constant in catalog.constant_table().items():
        assert constant.low <= constant.value <= constant.high, name
        assert constant.low <= constant.prior <= constant.high, name
        assert len(constant.source) > 15 and len(constant.holds_for) > 15, name


def test_every_constant_is_used() -> None:
    """Over the runs that come with the project and the other GPUs and stacks of the catalog."""
    from accelerate_sim.sim.memory.fit import memory_uncertainty
    from accelerate_sim.sim.memory.memory import peak_memory_use

    class Noting(dict[str, float]):
        read: set[str] = set()  # noqa: RUF012 - all copies note in one set

        def __getitem__(self, name: str) -> float:
            self.read.add(name)
            return super().__getitem__(name)

        def get(self, name: str, default: float | None = None) -> float:
            return self[name]

    constants = Noting(catalog.constants())
    for run in [*read_runs(OWN).runs, read_runs(REFERENCE / "hybrid_runs.csv").runs[0]]:
        for name in catalog.stack_names():
            for gpu in ("A100-80-SXM", "H100-SXM", "GB300", "MI300X"):
                for precision in ("fp8", "mxfp8", "nvfp4"):
                    stack, spec = catalog.stack(name), catalog.gpu(gpu)
                    behind, compiled = precision == "fp8", precision == "nvfp4"
                    method = replace(
                        run.method, stack=stack, precision=precision, expert_overlap=behind, compiled=compiled
                    )
                    Throughput(run.model, spec, run.layout, run.network, method, constants).step()
                    peak_memory_use(run.model, run.layout, method, constants)
                    Kernels(run.model, spec, run.layout, method, constants)
                    memory_uncertainty(run.model, constants)
                    if len(Noting.read) == len(constants):
                        return
    assert constants.keys() - Noting.read == set()


def test_rows_that_are_set_aside_are_not_learned_from() -> None:
    truth = dict(catalog.constants())
    slow = truth | {"gemm_share_bf16.ampere": 0.7}
    chosen = [run.gpu.generation == "ampere" for run in runs()]
    made = [
        replace(run, tokens_per_s_per_gpu=predicted_tokens_per_s(run, slow if odd else truth))
        for run, odd in zip(runs(), chosen, strict=True)
    ]
    fit = Fit(made, table("gemm_share_bf16.ampere"))
    assert fit.improve()["gemm_share_bf16.ampere"] == pytest.approx(0.7, rel=0.02)
    without = fit.without_rows(chosen)["gemm_share_bf16.ampere"]
    assert without == pytest.approx(truth["gemm_share_bf16.ampere"], rel=0.03)


def test_every_row_is_set_aside_once_a_deal() -> None:
    deals = [dealt(10, deal) for deal in range(2)]
    for folds in deals:
        assert [sum(column) for column in zip(*folds, strict=True)] == [1] * 10
        assert {sum(fold) for fold in folds} == {2, 3}
    assert deals[0] != deals[1] and deals[0] == dealt(10, 0)


def test_errors_of_rows_set_aside_are_small_where_the_model_made_them() -> None:
    truth = dict(catalog.constants())
    made = [replace(run, tokens_per_s_per_gpu=predicted_tokens_per_s(run, truth)) for run in runs()]
    fit = Fit(made, table("gemm_share_bf16.ampere"))
    fit.improve()
    found = held_out(fit, made, lambda text: None)
    assert found.totals["speed, dense"].count == DEALS * len(made)
    assert found.totals["speed, dense"].p90 < 0.01
    assert "speed, dense: median 0.0%" in "\n".join(found.lines())
