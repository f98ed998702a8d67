"""Expected losses of a config beside those of published logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from accelerate_sim.calibration.__main__ import main
from accelerate_sim.calibration.curves import Series, read
from accelerate_sim.calibration.expected_loss import EXAMPLE, LOSSES, expected, losses_of
from tests.support.repository import REFERENCE, ROOT

OWN = REFERENCE / "measured_losses.yaml"
SMALL = {
    "run": "small", "source": "nowhere@0", "every": 4, "steps": 400,
    "config": {
        "model": "gpt2", "cluster": {"nodes": 1, "gpus_per_node": 2}, "parallel": {"tensor": 1, "sharding": "ddp"},
        "train": {"epochs": 1, "steps_per_epoch": 400, "global_batch": 64, "sequence_length": 1024, "micro_batch": 8},
    },
    "measured": {"@100": 7.0, "end": 5.9},
}  # fmt: skip
NOTHING = np.zeros(0)


def test_figures_are_those_of_the_log() -> None:
    steps = np.arange(1, 2001)
    found = losses_of(Series(steps, 7.0 - 0.001 * steps, NOTHING, NOTHING))
    assert found["<5.5"] == pytest.approx(1501, abs=1)
    assert found["left 30%"] == pytest.approx(1.39, abs=0.01)
    assert found["end"] == pytest.approx(5.01, abs=0.005)
    assert "<4.5" not in found


def test_names_of_the_data_are_all_that_differs() -> None:
    """The first of them are the same however many are asked for, and each has the steps that its logger writes."""
    two, three = (expected(SMALL["config"], 4, 400, names) for names in (2, 3))
    assert two["end"].tolist() == three["end"][:2].tolist()
    assert 0 < np.ptp(three["end"]) < 1.0
    assert set(three) <= set(LOSSES)


def test_the_packages_losses_can_be_compared() -> None:
    """Their configs are valid and their figures known; the help names a file that is there."""
    runs = read(OWN, LOSSES, EXAMPLE)
    assert {"source", "measured"} <= set(runs[0])
    assert all("@" in each["source"] for each in runs)
    assert (ROOT / EXAMPLE).is_file()


def test_log_and_range_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text(yaml.safe_dump([SMALL]))
    assert main(["losses", str(path), "--names", "2"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "run"
    assert "7 | " in row and "5.9 | " in row and row.count("..") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", f"give a file like {EXAMPLE}"),
        ("- {run: a, source: b, every: 1, steps: 9, measured: {core %: 1}, config: {}}", "core %"),
    ],
)
def test_mistakes_are_named(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text(text)
    assert main(["losses", str(path)]) == 2
    assert said in capsys.readouterr().err


def test_no_data_sets_are_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["losses", str(OWN), "--names", "0"])
    assert "give 1 or more" in capsys.readouterr().err
