"""Options for films and lessons: a typed command line, a first part at full speed, names of nobody."""

import json
import re
from pathlib import Path

import pytest

from tests.support.emulator import Terminal, environment, warm_train
from tests.support.repository import ROOT
from tests.support.warm_train import run_warm

DEBUG = ("--config", "debug", "--start-time", "2026-01-01", "--runs", "1")
REAL_NAMES = (
    "NVIDIA", "H100", "A100", "Tesla", "AMD", "Instinct", "Llama", "Mixtral", "Mistral", "GPT", "Meta-", "OpenAI",
    "Hugging", "NCCL", "CUDA", "NVL", "FineWeb", "Pile", "C4 (", "tiktoken", "SentencePiece", "safetensors", "torch",
    "Megatron", "EleutherAI", "openai-community", "allenai", "rack-17", "RedPajama", "Dolma",
)  # fmt: skip
"""Names of companies, models, products and hosts that a generic screen never shows."""
GENERIC = ("--brand", "generic", "--speed", "max", "--runs", "1", "--set", "cluster.host=rack-17")


def frames(path: Path) -> list[tuple[float, str]]:
    """Time and text of each frame of a recording."""
    return [(event[0], event[2]) for event in map(json.loads, path.read_text().splitlines()[1:])]


@pytest.mark.parametrize("config", ["llama70b", "mixtral8x7b", "gpt3-175b", "debug"])
def test_no_real_name_is_shown(config: str):
    done = run_warm(["--config", config, "--max-steps", "50", *GENERIC, "--explain"], environment(), ROOT)
    assert done.returncode == 0
    text = (done.stdout + done.stderr).lower()
    assert [name for name in REAL_NAMES if name.lower() in text] == []
    assert "lm-" in text
    assert "accelerator" in text


@pytest.mark.parametrize(
    "more",
    [
        ("--config", "llama70b", "--plan"),
        ("--config", "gpt3-175b", "--plan"),
        ("--config", "llama70b", "--max-steps", "12", "--fault", "kill rank=13 at=step:6"),
        ("--config", "llama70b", "--max-steps", "12", "--fault", "xid rank=13 at=step:6"),
        ("--config", "llama70b", "--max-steps", "12", "--fault", "hang rank=13 at=step:6"),
        ("--config", "llama8b", "--max-steps", "12", "--voice", "megatron@0.15"),
        ("--config", "llama8b", "--max-steps", "12", "--voice", "mlperf"),
    ],
    ids=lambda more: more[-1],
)
def test_no_real_name_is_shown_by_plans_faults_and_voices(more: tuple[str, ...]):
    done = run_warm([*more, *GENERIC], environment(), ROOT)
    assert done.returncode == 0
    text = (done.stdout + done.stderr).lower().replace("compile", "build")  # which has a dataset's name in it
    assert [name for name in REAL_NAMES if name.lower() in text] == []
    assert text


@pytest.mark.parametrize(
    "more", [("--plan",), pytest.param(("--max-steps", "4", "--speed", "max", "--runs", "1"), marks=pytest.mark.slow)]
)
def test_a_report_names_the_model_and_the_gpus_as_the_screen_does(tmp_path: Path, more: tuple[str, ...]):
    pytest.importorskip("matplotlib")
    page = tmp_path / "report.html"
    done = run_warm(["--config", "debug", "--brand", "generic", *more, "--report", str(page)], environment(), ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    title = re.search("<title>(.*)</title>", page.read_text())
    assert title
    assert re.search(r": LM-\d+M on \d+ × Accelerator \d+GB$", title[1]), title[1]


def test_a_dashboard_has_no_real_names_either():
    with Terminal(
        warm_train("--config", "llama70b", "--brand", "generic", "--dashboard", "--prompt"), 120, 40
    ) as terminal:
        terminal.wait_until(lambda: "LM-71B" in terminal.lines[0], "the heading", 60)
        shown = terminal.raw.decode(errors="replace").lower()
        assert [name for name in REAL_NAMES if name.lower() in shown] == []


def test_another_brand_is_refused():
    done = run_warm([*DEBUG, "--brand", "acme"], environment(), ROOT)
    assert (done.returncode, done.stderr.startswith("--brand: ")) == (2, True)


def test_the_command_line_is_typed_before_the_first_line(tmp_path: Path):
    cast = tmp_path / "typed.cast"
    done = run_warm([*DEBUG, "--prompt", "--record", str(cast)], environment(), ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    texts = [text for _, text in frames(cast)]
    whole = next(number for number, text in enumerate(texts) if "$ python train.py --config debug" in text)
    assert 10 < whole < next(number for number, text in enumerate(texts) if "Run 1: " in text)
    assert "--record" not in "".join(texts)
    assert "--prompt" not in "".join(texts)


@pytest.mark.parametrize("part, step", [("step=12", 12), ("time=33s", 0)])
def test_the_first_part_takes_no_time_and_the_rest_takes_its_own(tmp_path: Path, part: str, step: int):
    changes = ("--set", "log.every=1", "--set", "run.speed=1", "--set", "run.startup_speed=1")
    lines = []
    for number, more in enumerate([(), ("--fast-forward", part)]):
        cast = tmp_path / f"{number}.cast"
        done = run_warm([*DEBUG, *changes, *more, "--record", str(cast)], environment(), ROOT)
        assert (done.returncode, done.stderr) == (0, "")
        lines.append(
            {int(found[1]): time for time, text in frames(cast) for found in re.finditer(r"step (\d+) \| l", text)}
        )
    usual, fast = lines
    assert fast[1] < usual[1]
    saved = usual[20] - fast[20]
    assert saved > 3.0
    if part.startswith("step"):
        assert fast[step] < 1.0
        assert fast[20] - fast[step + 1] == pytest.approx(usual[20] - usual[step + 1], abs=0.2)
    else:
        assert saved == pytest.approx(33.0, abs=0.2)


@pytest.mark.parametrize("text", ["step=0", "time=0s", "3", "step=x"])
def test_a_first_part_that_is_none_is_refused(text: str):
    done = run_warm([*DEBUG, "--fast-forward", text], environment(), ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("--fast-forward: ")
