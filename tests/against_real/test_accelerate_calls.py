"""The same calls give the same values with Accelerate on CPUs and here, in two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("accelerate_calls.py")
DEADLINE_S = 240.0


def found(library: str, directory: Path) -> list[dict[str, Any]]:
    command = [
        sys.executable,
        "-m",
        "fake_torch_dist.run",
        "--nproc-per-node",
        "2",
        str(SCRIPT),
        library,
        str(directory),
    ]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return [json.loads((directory / f"{library}-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.real
def test_values_are_those_of_accelerate(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    theirs, ours = found("accelerate", tmp_path), found("accelerate_sim", tmp_path)
    for rank in range(2):
        assert ours[rank].keys() == theirs[rank].keys()
        differing = [
            f"rank {rank}, {name}: {ours[rank][name]!r}, Accelerate: {theirs[rank][name]!r}"
            for name in theirs[rank]
            if ours[rank][name] != theirs[rank][name]
        ]
        assert not differing, "\n".join(differing)
