"""A full disk behind standard output is named in one line, with exit code 1; behind standard error no code changes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from accelerate_sim.display.slow_reader import OutputFull
from tests.conftest import environment
from tests.support.processes import Children
from tests.support.repository import ROOT
from tests.support.warm_train import run_train

FULL = "/dev/full"
SAID = "standard output can't be written: No space left on device. Free some space, or send it elsewhere.\n"

pytestmark = pytest.mark.skipif(not os.path.exists(FULL), reason="no /dev/full here")


def ended_on_a_full_disk(arguments: Sequence[str], home: Path, descriptor: int) -> tuple[int, str]:
    """The exit code of train.py with one descriptor on a full disk, and what it prints on the other."""

    def body(pipe: int) -> None:
        full = os.open(FULL, os.O_WRONLY)
        out, err = (full, pipe) if descriptor == 1 else (pipe, full)
        run_train(arguments, environment(home), ROOT, out, err)

    with Children() as children:
        child = children.fork(body, pipes=1)
        (code,) = children.wait()
        return code, child.text(0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--config", "debug", "--speed", "max", "--max-steps", "2"), ("--help",), ("--version",), ("--list", "gpus"),
        ("--config", "debug", "--print-config"), ("--config", "debug", "--plan"), ("--show-completion",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_full_disk_is_named_in_one_line(arguments: Sequence[str], home: Path) -> None:
    assert ended_on_a_full_disk(arguments, home, 1) == (1, SAID)


def test_a_mistake_keeps_its_exit_code_where_nobody_can_be_told(home: Path) -> None:
    assert ended_on_a_full_disk(("--config", "no-such-config"), home, 2) == (2, "")


def test_fake_nvidia_smi_takes_a_closed_output_and_names_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate_sim.monitoring.nvidia_smi.__main__ import _write

    monkeypatch.setattr(sys, "stdout", None)
    _write("nothing happens")
    with open(FULL, "wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(full, write_through=True))
        with pytest.raises(OutputFull, match="No space left on device"):
            _write("lost")
