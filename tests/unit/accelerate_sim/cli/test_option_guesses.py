"""Errors for options that other programs have, and for no option at all, name the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelerate_sim.cli.command import refuse_mistakes
from accelerate_sim.cli.option_guesses import GPUS, GUESSES
from accelerate_sim.config.keys import field_at
from accelerate_sim.config.problems import ConfigError

OPTIONS = {
    "-c": "FILE|NAME", "--config": "FILE|NAME", "--set": "KEY=VALUE", "--speed": "X|max", "--seed": "N",
    "--output-dir": "DIR", "--plan": "", "--list": "WHAT", "-h": "", "--help": "",
}  # fmt: skip


def refusal(*words: str) -> str:
    with pytest.raises(ConfigError) as error:
        refuse_mistakes(words, OPTIONS)
    return str(error.value)


@pytest.mark.parametrize(
    "words, way_out",
    [
        (["--model", "gpt2"], "--set model=gpt2."),
        (["--model=gpt2"], "--set model=gpt2."),
        (["--model"], "--set model=VALUE."),
        (["--nodes", "4"], "--set cluster.nodes=4."),
        (["--nnodes=4"], "--set cluster.nodes=4."),
        (["--gpus", "64"], "--set cluster.nodes=8 --set cluster.gpus_per_node=8 for 64 GPUs."),
        (["--num_gpus", "6"], "--set cluster.nodes=3 --set cluster.gpus_per_node=2 for 6 GPUs."),
        (["--gpu", "A100-SXM"], "--set cluster.gpu=A100-SXM."),
        (["--steps", "100"], "--max-steps 100."),
        (["--lr", "3e-4"], "--set train.lr=3e-4."),
        (["--learning-rate", "3e-4"], "--set train.lr=3e-4."),
        (["--batch-size", "256"], "--set train.global_batch=256."),
        (["--epochs", "2"], "--set train.epochs=2."),
        (["--train.lr", "3e-4"], "--set train.lr=3e-4."),
        (["--tensor-model-parallel-size", "4"], "--set parallel.tensor=4."),
        (["--tp", "4"], "--set parallel.tensor=4."),
        (["--fast"], "--speed max."),
        (["--wandb"], "--log-with wandb."),
        (["--out", "here"], "--output-dir here."),
        (["--save-dir", "my dir"], "--output-dir 'my dir'."),
        (["--cfg", "debug"], "--config debug."),
        (["--dry-run"], "--plan."),
        (["--steps", "--plan"], "--max-steps N."),
        (["--rampup-batch-size", "8"], "--set train.batch_ramp='{start: N, increment: N, samples: N}'."),
    ],
)
def test_an_option_of_another_program(words: list[str], way_out: str) -> None:
    name = words[0].partition("=")[0]
    said = refusal(*words)
    assert said.startswith(f"{name}: no such option. Use {way_out}")


@pytest.mark.parametrize(
    "word, meant",
    [("--sped", "--speed"), ("--Seed", "--seed"), ("--output_dir", "--output-dir"), ("--confg=debug", "--config")],
)
def test_an_option_that_is_nearly_right(word: str, meant: str) -> None:
    assert refusal(word) == f"{word.partition('=')[0]}: no such option. Did you mean {meant}?"


@pytest.mark.parametrize(
    "word, meant",
    [
        ("configs/llama8b.yaml", "--config configs/llama8b.yaml"),
        ("mine.yml", "--config mine.yml"),
        ("llama70b", "--config llama70b"),
        ("lama70b", "--config llama70b"),
        ("gpt2", "--set model=gpt2"),
        ("train.lr=3e-4", "--set train.lr=3e-4"),
        ("lr=3e-4", "--set train.lr=3e-4"),
    ],
)
def test_a_word_without_an_option(word: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal("--plan", word) == f"'{word}' follows no option that takes it. Did you mean {meant}?"


@pytest.mark.parametrize(
    "words, message",
    [
        (["zzzzzz"], "'zzzzzz' follows no option that takes it. A config goes after --config, a key after --set"),
        (["--zzzzzz"], "--zzzzzz: no such option. --help shows all options; --set KEY=VALUE changes any key."),
        (["--\x1b[31m"], "--\\x1b[31m: no such option."),
        (["--config"], "--config: needs a value. Use --config FILE|NAME."),
        (["--config", "--plan"], "--config: needs a value. Use --config FILE|NAME."),
        (["-c"], "-c: needs a value. Use -c FILE|NAME."),
        (["--plan=yes"], "--plan: takes no value, and 'yes' is given. Leave out '=yes'."),
        (["-hx"], "-x: no such option."),
    ],
)
def test_other_mistakes(words: list[str], message: str) -> None:
    assert refusal(*words).startswith(message)


@pytest.mark.parametrize(
    "words", [[], ["--"], ["-cdebug", "-h"], ["--config=a", "--seed", "-1"], ["--set", "a=b=c", "--plan", "--speed=5"]]
)
def test_no_mistake(words: list[str]) -> None:
    refuse_mistakes(words, OPTIONS)


def test_every_way_out_is_there() -> None:
    """The table names keys of the config, and each guess once."""
    keys = [meant.split()[1].partition("=")[0] for meant in GUESSES if meant.startswith("--set ")]
    assert [key for key in keys if field_at(tuple(key.split("."))) is None] == []
    guesses = [guess for others in GUESSES.values() for guess in others] + list(GPUS)
    assert len(guesses) == len(set(guesses))
