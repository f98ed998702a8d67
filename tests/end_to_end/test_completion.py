"""Completion of options in bash: what Tab offers, of ``train.py`` and of ``fake-torchrun``."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.support.repository import ROOT

OF_TRAIN = [str(ROOT / "train.py"), "--show-completion"]
OF_LAUNCHER = ["-m", "fake_torch_dist.run", "--show-completion"]
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


@pytest.fixture(scope="module")
def scripts() -> str:
    """Both scripts, in the order of somebody who uses both."""
    parts = [[sys.executable, *command] for command in (OF_TRAIN, OF_LAUNCHER)]
    return "".join(subprocess.run(part, cwd=ROOT, capture_output=True, text=True, check=True).stdout for part in parts)


def offered(scripts: str, function: str, *words: str) -> list[str]:
    """Words that Tab offers at the end of the last of ``words``."""
    count = len(words) - 1
    ask = f'COMP_CWORD={count}; COMP_WORDS=("$@"); {function}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    command = ["bash", "--norc", "-c", f"{scripts}{ask}", "bash", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["train.py", "--sp"], ["--speed"]),
        (["train.py", "--config", "llama7"], ["llama70b"]),
        (["train.py", "-c", "de"], ["debug"]),
        (["train.py", "--list", ""], ["models", "gpus", "datasets", "configs", "trackers", "voices", "faults"]),
        (["train.py", "--log-with", "w"], ["wandb"]),
        (["train.py", "--output-dir", ""], []),
    ],
)
def test_training(scripts: str, words: list[str], wanted: list[str]) -> None:
    assert offered(scripts, "_complete_train_py", *words) == wanted


@pytest.mark.parametrize("script, wanted", [("./train.py", ["--seed"]), ("other.py", [])])
def test_training_by_python(scripts: str, script: str, wanted: list[str]) -> None:
    assert offered(scripts, "_complete_train_py_by_python", "python", script, "--see") == wanted


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["fake-torchrun", "--nno"], ["--nnodes"]),
        (["fake-torchrun", "--start-method", "fork"], ["fork", "forkserver"]),
        (["fake-torchrun", "--nnodes", "2", "train.py", "--config", "llama7"], ["llama70b"]),
        (["fake-torchrun", "other.py", "--nno"], []),
    ],
)
def test_launcher(scripts: str, words: list[str], wanted: list[str]) -> None:
    assert offered(scripts, "_complete_fake_torchrun", *words) == wanted
