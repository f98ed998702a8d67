"""Puts ``nvidia-smi`` on a test's PATH, and gives its jobs a runtime directory of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def private(directory: Path) -> Path:
    """Make a directory that only this user can read, as a runtime directory has to be."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def install(directory: Path) -> dict[str, str]:
    """Make ``bin/nvidia-smi`` below ``directory``. Returns the variables with which it is found, and finds jobs."""
    program = directory / "bin" / "nvidia-smi"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m accelerate_sim.monitoring.nvidia_smi "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "XDG_RUNTIME_DIR": str(private(directory / "runtime"))}
