"""The arguments of ``python train.py``: their effect, and the error when they are wrong."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from accelerate_sim import catalog
from tests.support.reading import Completed, Play, Train, clock, count, printed
from tests.support.repository import ROOT

SHORT = ("--config", "configs/debug.yaml", "--speed", "max", "--start-time", "2026-01-01T00:00:00")
LLAMA = ("--config", "configs/llama70b.yaml")
OPTIONS = (
    "--config", "--set", "--speed", "--seed", "--runs", "--max-steps", "--duration", "--output-dir", "--start-time",
    "--list", "--plan", "--print-config", "--ascii", "--no-progress", "--version", "--help",
)  # fmt: skip


def said(done: Completed) -> str:
    """Output of a command that must succeed."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


# --- Questions ------------------------------------------------------------------------------------


def test_help_names_every_option_and_says_what_it_is(train: Train) -> None:
    text = said(train("--help"))
    assert said(train("-h")) == text
    assert all(option in text for option in OPTIONS)
    assert "simulated" in text
    assert "nothing is written to disk" in text
    assert text.startswith("Usage: train.py [OPTIONS]")
    assert max(map(len, text.splitlines())) <= 80
    told = " ".join(text.split())
    assert "-c, --config FILE|NAME The run" in told and "-o, --output-dir DIR" in told and "-s, --set KEY=VALUE" in told
    for default in ("the config's run.speed, else 250", "for ever on a terminal, else 1", "120x40", "now"):
        assert f"[default: {default}]" in told


def test_version(train: Train) -> None:
    assert re.fullmatch(r"fake-torchrun \d+\.\d+\.\d+ .*simulated.*\n", said(train("--version")))


@pytest.mark.parametrize(
    "what, names, example",
    [
        ("models", catalog.model_names(), r"llama-3-70b +70\.55B +80 +8192 +8192 +Llama-3-70B"),
        ("gpus", catalog.gpu_names(), r"H100-SXM +989 +79\.6 GiB +700 W +2022 +NVIDIA H100 80GB HBM3"),
        ("datasets", catalog.dataset_names(), r"fineweb-edu +1\.30T .*FineWeb-Edu"),
        ("configs", ["llama70b", "debug"], r"debug +\S.*"),
        ("trackers", ["jsonl", "wandb"], r"wandb +wandb +\S.*"),
        ("voices", ["house"], r"house +\S.*"),
        ("hazards", ["torn-lines", "nan"], r"nan +0\.05 +\S.*"),
    ],
)
def test_lists_are_tables_of_everything(train: Train, what: str, names: list[str], example: str) -> None:
    heading, *rows = said(train("--list", what)).splitlines()
    assert heading.isupper() or "/" in heading
    assert heading.startswith("NAME ")
    assert set(names) <= {row.split()[0] for row in rows}
    assert any(re.fullmatch(example, row) for row in rows)
    assert (
        len(rows)
        >= {"models": 30, "gpus": 12, "datasets": 30, "configs": 7, "trackers": 4, "voices": 1, "hazards": 13}[what]
    )


def figure(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    assert found, pattern
    return found[1]


def test_plan_is_what_the_run_does(train: Train, play: Play) -> None:
    """Step time, throughput, MFU, memory, sizes and layout, known before the first step and found after the last."""
    short = (*LLAMA, "--set", "train.steps_per_epoch=134", "--set", "checkpoint.every=60")
    text, run = said(train(*short, "--plan")), play(*short)
    steps = sorted(event["step_time_s"] for event in run.of("step"))
    mean = printed(figure(text, r"throughput +[\d,]+ tokens/s = [\d,]+ / ([\d.]+) s"))
    assert mean.low == pytest.approx(steps[len(steps) // 2], rel=0.02)
    assert count(figure(text, r"throughput +([\d,]+) tokens/s")) == pytest.approx(
        run.summary_event["mean_tokens_per_s"], rel=0.04
    )
    assert float(figure(text, r"MFU +([\d.]+)%")) == pytest.approx(100 * run.summary_event["mean_mfu"], rel=0.04)
    assert float(figure(text, r"total +([\d.]+) GiB")) == pytest.approx(
        run.start["memory_per_gpu_bytes"] / 2**30, abs=0.006
    )
    assert printed(figure(text, r"checkpoint +([\d.]+ GB) =")).agrees(run.of("checkpoint")[0]["bytes"])
    assert printed(figure(text, r"export +([\d.]+ GB) =")).agrees(run.of("export")[0]["bytes"])
    assert figure(text, r"in (\d+) shards") == run.match(r"Exported (\d+) weight files.*")[1]
    assert count(figure(text, r"parameters +([\d,]+) \(")) == run.start["params"]
    assert count(figure(text, r"\btokens +([\d,]+) \(")) == run.summary_event["tokens"]
    written = [event["seconds"] for event in run.of("checkpoint")]
    assert float(figure(text, r"about ([\d.]+) s each")) == pytest.approx(sum(written) / len(written), abs=0.06)
    whole = text[text.index("The whole run") :]
    assert clock(figure(whole, r"total +([\d:]+)")) == pytest.approx(run.summary_event["total_time_s"], rel=0.005)
    energy = printed(figure(whole, r"energy +([\d.]+ kWh)")).low * 3.6e3
    assert energy == pytest.approx(run.summary_event["energy_j"], rel=0.01)


def test_printed_config_gives_the_same_run(train: Train, tmp_path: Path) -> None:
    """Printed with all its keys, and with what was set, it says everything about the run."""
    changes = ("--set", "train.lr=2e-4", "--seed", "9", "--max-steps", "7")
    text = said(train("--config", "configs/debug.yaml", *changes, "--print-config"))
    (tmp_path / "again.yaml").write_text(text, encoding="utf-8")
    again = ("--config", str(tmp_path / "again.yaml"))
    assert said(train(*again, "--print-config")) == text
    assert said(train(*again, *SHORT[2:])) == said(train(*SHORT, *changes))
    values = yaml.safe_load(text)
    assert (values["train"]["lr"], values["run"]["seed"], values["train"]["max_steps"]) == (2e-4, 9, 7)


def test_printed_config_explains_every_key(train: Train) -> None:
    """Not one without a comment beside or above it."""
    lines = said(train("--print-config", *LLAMA)).splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\s+\w+:", line):
            assert "#" in line or lines[number - 1].lstrip().startswith("#"), line


# --- Changes --------------------------------------------------------------------------------------


def test_settings_change_keys_and_the_last_one_counts(train: Train) -> None:
    text = said(train(*SHORT, "--set", "train.epochs=1", "--set", "train.steps_per_epoch=3", "--set", "train.epochs=2"))
    assert "Training gpt2: 2 epochs, 6 steps" in text


def test_steps_can_be_cut_short(train: Train) -> None:
    text = said(train(*SHORT, "--max-steps", "7"))
    assert re.search(r"Epoch 1/2 \| average loss [\d.]+ over 7 steps", text)
    assert re.search(r"│ +Steps +7 ", text)
    assert "Training finished successfully" in text


def test_runs_are_counted(train: Train) -> None:
    text = said(train(*SHORT, "--runs", "3", "--max-steps", "2"))
    assert re.findall(r"│ Run (\d):", text) == ["1", "2", "3"]


def test_duration_ends_runs_that_have_no_end(train: Train) -> None:
    """And that is no error."""
    begin = time.monotonic()
    text = said(train(*SHORT, "--runs", "0", "--duration", "1.5s"))
    assert time.monotonic() - begin < 15
    assert text.count("Training finished successfully") >= 2
    assert text.endswith("\n")
    assert re.match(r"Time is up", text.splitlines()[-1])


def test_start_time_is_where_the_clock_begins(train: Train) -> None:
    text = said(train(*SHORT[:4], "--start-time", "1999-12-31T23:59:58", "--max-steps", "2"))
    assert text.startswith("[1999-12-31 23:59:58] ")
    assert "[2000-01-01 00:00:" in text


def test_bars_and_characters_beyond_ascii_can_be_left_out(train: Train) -> None:
    plain = said(train(*SHORT, "--ascii"))
    assert plain.isascii()
    assert "Epoch 1/2: 100%|#" in plain
    assert "step/s" not in said(train(*SHORT, "--no-progress"))


def test_without_a_config_everything_is_drawn(train: Train) -> None:
    """Another seed, another model or cluster; each fits and says what it is."""
    texts = [said(train("--seed", seed, "--max-steps", "2", *SHORT[2:])) for seed in ("1", "2", "3")]
    models = {figure(text, r"Loading model (\S+)") for text in texts}
    assert len(models) >= 2
    for text in texts:
        assert "Training finished successfully" in text


@pytest.mark.parametrize("name", ["debug", "debug.yaml", "configs/debug.yaml"])
def test_a_shipped_config_goes_by_its_name_from_anywhere(train: Train, tmp_path: Path, name: str) -> None:
    assert said(train("-c", name, *SHORT[2:], cwd=tmp_path)) == said(train(*SHORT))


def test_short_options_are_the_long_ones(train: Train, tmp_path: Path) -> None:
    text = said(train("-cdebug", "-s", "train.epochs=1", "-o", "out", *SHORT[2:], cwd=tmp_path))
    assert "Training gpt2: 1 epochs, 10 steps" in text
    assert (tmp_path / "out" / "metrics.jsonl").exists()


# --- Mistakes -------------------------------------------------------------------------------------

MISTAKES = {
    "no such file": (["--config", "configs/lama70b.yaml"], r"configs/lama70b\.yaml"),
    "a directory": (["--config", "configs"], r"configs.*directory"),
    "unknown key": (["--set", "train.leraning_rate=1"], r"leraning_rate"),
    "near miss": (["--set", "train.epoch=1"], r"[Dd]id you mean.*epochs"),
    "no value": (["--set", "train.lr"], r"KEY=VALUE"),
    "not a number": (["--set", "train.lr=fast"], r"train\.lr.*fast"),
    "negative": (["--set", "train.lr=-1e-4"], r"train\.lr.*-"),
    "infinite": (["--set", "train.lr=.inf"], r"train\.lr"),
    "no NaN": (["--set", "train.lr=.nan"], r"train\.lr"),
    "zero GPUs": (["--set", "cluster.nodes=0"], r"cluster\.nodes"),
    "unknown model": (["--set", "model=llama-3-70"], r"llama-3-70b"),
    "unknown GPU": (["--set", "cluster.gpu=H100"], r"H100-SXM"),
    "heads": (["--set", "parallel.tensor=3"], r"parallel\.tensor"),
    "too big": (["--set", "parallel.sharding=ddp", "--set", "parallel.tensor=1"], r"GiB too much.*fit"),
    "escape code": (["--set", "cluster.host=\x1b[31mred"], r"cluster\.host|control"),
    "speed 0": (["--speed", "0"], r"speed.*max"),
    "speed fast": (["--speed", "fast"], r"'fast'.*'max'"),
    "speed NaN": (["--speed", "nan"], r"nan"),
    "seed": (["--seed", "-1"], r"--seed"),
    "seed of letters": (["--seed", "x"], r"--seed"),
    "max steps": (["--max-steps", "0"], r"--max-steps"),
    "runs": (["--runs", "-1"], r"--runs"),
    "duration": (["--duration", "soon"], r"'soon'.*90s"),
    "duration 0": (["--duration", "0s"], r"'0s'"),
    "start time": (["--start-time", "yesterday"], r"'yesterday'.*2026-01-31T"),
    "list": (["--list", "modles"], r"models"),
    "option": (["--sped", "max"], r"--speed"),
    "argument": (["llama70b"], r"llama70b"),
    "other trackers": (["--log-with", "nosuch"], r"^--log-with: holds 'nosuch'"),
    "nowhere to write": (["--log-with", "tensorboard"], r"^--log-with: .*with --output-dir"),
    "huge seed": (["--seed", "1e26"], r"^--seed: 1e26 is above .*9,223,372,036,854,775,807"),
    "no directory": (["--output-dir", ""], r"^--output-dir: '' is empty"),
    "no recording": (["--record", " "], r"^--record: ' ' is empty"),
    "no config": (["--config", ""], r"^--config: '' is empty"),
    "end of time": (["--start-time", "9999-12-31T23:59:59"], r"^--start-time: .*from 1970-01-02 to 2999-12-31"),
    "begin of time": (["--start-time", "0001-01-01"], r"^--start-time: .*from 1970-01-02 to 2999-12-31"),
    "begin of a recording": (
        ["--start-time", "0001-01-01", "--record", "no.cast"], r"^--start-time: .*from 1970-01-02 to 2999-12-31"
    ),
    "longer than the calendar": (
        ["--set", "train.epochs=10", "--set", "train.steps_per_epoch=100000000", "--set", "train.global_batch=12800"],
        r"^--set: train\.steps_per_epoch = 100000000 makes a run of [\d,]+ years: .*Use at most [\d,]+ steps",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_is_explained(case: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2; on stderr what is wrong and what to do instead, nothing on stdout, no traceback."""
    from accelerate_sim import launch
    from train import main

    arguments, wanted = MISTAKES[case]
    given = arguments if "--config" in arguments else [*LLAMA, *arguments]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", [str(ROOT / "train.py"), *given])
    with pytest.raises(SystemExit) as left:
        launch(main)
    out, err = capfd.readouterr()
    assert left.value.code == 2
    assert out == ""
    assert re.search(wanted, err.replace("\n", " ")), err
    assert "Traceback" not in err
    assert "\x1b" not in err


def test_all_mistakes_are_told_at_once(new_python: Train, tmp_path: Path) -> None:
    """Mistakes of the file, with the line, and of the command line are in one message of a real process."""
    path = tmp_path / "wrong.yaml"
    path.write_text("model: llama-3-70b\ntrain:\n  lr: fast\n  epochs: 0\n", encoding="utf-8")
    done = new_python("--config", str(path), "--set", "cluster.nodes=-2", "--speed", "max")
    assert (done.returncode, done.stdout) == (2, "")
    assert all(key in done.stderr for key in ("train.lr", "train.epochs", "cluster.nodes"))
    assert re.search(r"wrong\.yaml:3", done.stderr)
    assert re.search(r"wrong\.yaml:4", done.stderr)
    assert "Traceback" not in done.stderr
