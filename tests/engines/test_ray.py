"""The Ray script in ``configs/launchers``, as it stands, in a network namespace that has a loopback only."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import CONFIGS, ROOT

NAMESPACES = [
    "unshare",
    *([] if os.geteuid() == 0 else ["--map-root-user"]),
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
]
LIMIT_S = 280.0


def can_isolate() -> bool:
    """The kernel lets this user make namespaces, with which all processes of Ray end."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*NAMESPACES, "true"], capture_output=True, timeout=60, check=False).returncode == 0


@pytest.fixture(scope="module", autouse=True)
def isolation() -> None:
    """Skip the tests of this module where they cannot run."""
    if not can_isolate():
        pytest.skip("needs unshare, ip and namespaces")


pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray[train]"),
]


@pytest.mark.timeout(LIMIT_S + 20)
def test_actors_and_workers_of_ray_train_are_ranks(tmp_path: Path):
    words = [*NAMESPACES, "bash", "-c", 'ip link set lo up; exec "$@"', "bash"]
    variables = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "RAY_DEDUP_LOGS": "0", "RAY_TMPDIR": "/tmp"}
    ended = subprocess.run(
        [*words, sys.executable, str(CONFIGS / "launchers" / "ray_ranks.py"), "4"], cwd=tmp_path,
        env=dict(os.environ) | variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert "sums: [6.0, 6.0, 6.0, 6.0]" in ended.stdout
    assert said.count("train.py on 1 node x 4 GPUs = 4 ranks") == 1
    assert said.count("Training finished successfully") == 1
