"""Figures of curves, and the table that puts those of published logs beside ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from accelerate_sim.calibration.__main__ import main
from accelerate_sim.calibration.curves import FIGURES, Series, figures_of, read
from tests.support.repository import REFERENCE

OWN = REFERENCE / "measured_curves.yaml"
SMALL = {
    "run": "small", "source": "nowhere", "every": 1, "steps": 300,
    "config": {
        "model": "gpt2", "cluster": {"nodes": 1, "gpus_per_node": 2}, "parallel": {"tensor": 1, "sharding": "ddp"},
        "train": {"epochs": 1, "steps_per_epoch": 300, "global_batch": 64, "sequence_length": 1024, "micro_batch": 8},
    },
    "measured": {"s/step": 0.5, "@100": 7.0, "norm@10": 4.5},
}  # fmt: skip


def series(count: int = 2000) -> Series:
    """A log whose figures are known: a fall by a thousandth of a nat a step, and 1 % of noise in the times."""
    steps = np.arange(1, count + 1)
    times = np.exp(0.01 * np.random.default_rng(1).standard_normal(count))
    return Series(steps, 7.0 - 0.001 * steps, 1.0 / steps, times)


def test_figures_are_those_of_the_log() -> None:
    found = figures_of(series())
    assert set(found) <= set(FIGURES)
    assert found["<5.5"] == pytest.approx(1501, abs=1)
    assert found["@100"] == pytest.approx(6.9)
    assert found["norm@10"] == pytest.approx(0.1)
    assert found["core %"] == pytest.approx(1.0, rel=0.1)
    assert abs(found["r(1)"]) < 0.1
    assert found["p99/p50"] == pytest.approx(1.024, abs=0.006)


def test_a_log_gives_no_figures_of_what_it_lacks() -> None:
    """Neither of steps that it does not reach, nor of a loss that it never had."""
    log = series(300)
    found = figures_of(Series(log.step, np.full(300, np.nan), log.grad_norm, log.step_s))
    assert "@100" not in found and "<5.5" not in found
    assert "n@5000" not in found
    assert "s/step" in found


def test_the_packages_runs_can_be_compared() -> None:
    """Their configs are valid, their figures known; each says where its log is."""
    runs = read(OWN)
    assert len(runs) > 12
    assert len({each["run"] for each in runs}) == len(runs)
    assert all("@" in each["source"] and each["measured"] for each in runs)


def test_both_figures_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text(yaml.safe_dump([SMALL]))
    assert main(["curves", str(path)]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "run"
    assert "0.5 | " in row and "7 | " in row and "4.5 | " in row
    assert row.count(" | ") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no list of runs"),
        ("- {run: a}", "run 1 lacks source, config, every, steps, measured"),
        ("[1", "cannot be read"),
        ("- {run: a, source: b, every: 1, steps: 9, measured: {}, config: {train: {lr: -1}}}", "train.lr"),
        ("- {run: a, source: b, every: 1, steps: 9, measured: {speed: 1}, config: {}}", "unknown figures speed"),
    ],
)
def test_bad_files_are_explained(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text(text)
    assert main(["curves", str(path)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and str(path) in printed.err
    assert "Traceback" not in printed.err


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["curves", "nowhere.yaml"]) == 2
    assert "nowhere.yaml: cannot be read" in capsys.readouterr().err
