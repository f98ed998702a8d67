"""``fake-torchrun ctl`` as somebody whose runs are those of one test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher

LIMIT_S = 60


def user_in(directory: Path) -> dict[str, str]:
    """The environment of somebody whose runtime directory, in ``directory``, is empty."""
    runtime = directory / "runtime"
    runtime.mkdir(mode=0o700)
    return os.environ | {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def ctl(user: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Give a command to a run of this user."""
    directory = Path(user["XDG_RUNTIME_DIR"])
    return run_launcher(["ctl", *words], env=user, cwd=directory, timeout=LIMIT_S, training=False)
