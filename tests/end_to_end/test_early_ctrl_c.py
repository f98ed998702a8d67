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
IMPORTED = "import time:"
"""Before each line that Python writes under ``-X importtime``, when a module has been imported."""


def interrupted_after(module: str, command: list[str], cwd: Path) -> tuple[int, str]:
    """Exit code of a command that gets SIGINT when it has imported ``module``, and what else it has printed."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", *command], cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr
        for line in process.stderr:
            if line.startswith(IMPORTED) and line.rpartition("|")[2].strip() == module:
                break
        else:
            pytest.fail(f"{module} was not imported")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out + "".join(line for line in err.splitlines(True) if not line.startswith(IMPORTED))


@pytest.mark.parametrize("module", ["argparse", "fake_torch_dist.launcher.commandline.choices", "selectors"])
def test_the_launcher(module: str, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("import time\ntime.sleep(60)\n")
    assert interrupted_after(module, ["-m", "fake_torch_dist.run", "waits.py"], tmp_path) == (-signal.SIGINT, "")


@pytest.mark.parametrize("module", ["dataclasses", "yaml", "pydantic"])
def test_the_viewer(module: str, tmp_path: Path) -> None:
    command = ["-m", "accelerate_sim.monitoring.nvidia_smi", "-l"]
    assert interrupted_after(module, command, tmp_path) == (-signal.SIGINT, "")


def test_importing_a_library_leaves_ctrl_c_to_its_program(tmp_path: Path) -> None:
    viewer = "accelerate_sim.monitoring.nvidia_smi.__main__"
    for package in ("fake_torch_dist", "fake_torch_dist.run", "accelerate_sim", viewer):
        code = f"import signal, {package}; assert signal.getsignal(2) is signal.default_int_handler"
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=LIMIT_S)
