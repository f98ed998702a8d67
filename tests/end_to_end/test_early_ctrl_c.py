"""Ctrl-C while a command still imports its modules ends it at once, without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT

LIMIT_S = 60
SITE = """
import os, signal, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

def on_call(frame, event, argument):
    if (frame.f_code.co_name, frame.f_globals.get("__name__")) == ("main", "__main__"):
        os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
if os.environ["INTERRUPTED_AT"] == "main":
    sys.settrace(on_call)
"""
"""Lets an interpreter send itself SIGINT at a moment: from outside, it might be further on."""


def interrupted_at(module: str, command: list[str], cwd: Path) -> tuple[int, str]:
    """Exit code of a command that gets SIGINT at a moment, and what it has printed.

    The moment is the begin of the import of ``module``, or of the call of its ``main``.
    """
    (cwd / "sitecustomize.py").write_text(SITE)
    variables = {"PYTHONPATH": os.pathsep.join([str(cwd), str(ROOT)]), "INTERRUPTED_AT": module}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=os.environ | variables, text=True, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=LIMIT_S, start_new_session=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["argparse", "fake_torch_dist.launcher.commandline.choices", "selectors", "main"])
def test_the_launcher(module: str, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("import time\ntime.sleep(60)\n")
    assert interrupted_at(module, ["-m", "fake_torch_dist.run", "waits.py"], tmp_path) == (-signal.SIGINT, "")


@pytest.mark.parametrize("module", ["dataclasses", "yaml", "pydantic", "main"])
def test_the_viewer(module: str, tmp_path: Path) -> None:
    command = ["-m", "accelerate_sim.monitoring.nvidia_smi", "-l"]
    assert interrupted_at(module, command, tmp_path) == (-signal.SIGINT, "")


def test_importing_a_library_leaves_ctrl_c_to_its_program(tmp_path: Path) -> None:
    packages = (
        "fake_torch_dist",
        "fake_torch_dist.run",
        "accelerate_sim",
        "accelerate_sim.monitoring.nvidia_smi.__main__",
    )
    left = "assert signal.getsignal(2) is signal.default_int_handler"
    code = "\n".join(["import signal", *(f"import {package}; {left}, {package!r}" for package in packages)])
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=LIMIT_S)
