"""Programs that read TensorBoard's files find every scalar of a run, and nothing that they fail on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = pytest.mark.real
LIMIT_S = 120
STEPS = 20


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The events of a short run."""
    pytest.importorskip("tensorboard")
    output = tmp_path_factory.mktemp("tensorboard") / "out"
    command = [sys.executable, "train.py", "--config", "debug", "--speed", "max", "--output-dir", str(output)]
    subprocess.run(
        [*command, "--log-with", "tensorboard"], cwd=ROOT, check=True, timeout=LIMIT_S, stdout=subprocess.DEVNULL
    )
    return output / "runs"


def test_tbparse_finds_scalars_text_and_hyperparameters(runs: Path) -> None:
    tbparse = pytest.importorskip("tbparse")
    found = tbparse.SummaryReader(str(runs))
    counts = found.scalars.tag.value_counts().to_dict()
    assert counts["train/loss"] == counts["perf/mfu"] == STEPS and counts["eval/loss"] > 0
    assert set(found.text.tag) == {"simulated"}
    assert dict(zip(found.hparams.tag, found.hparams.value, strict=True))["model"] == "gpt2"


def test_swanlab_types_every_value(runs: Path) -> None:
    """Its converter guesses a type for each value, and reads all of a file or nothing."""
    reader = pytest.importorskip("swanlab.converter.tfb.utils")
    [[path]] = reader.find_tfevents(str(runs)).values()
    types = reader.get_tf_events_tags_type(path)
    assert {tag for tag, kind in types.items() if kind == "text"} == {
        "_hparams_/session_start_info", "simulated/text_summary"
    }  # fmt: skip
    data = reader.get_tf_events_tags_data(path, types)
    assert [step for step, _, _ in data["train/loss"]] == list(range(1, STEPS + 1))
