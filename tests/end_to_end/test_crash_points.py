"""train.py is killed, or refused by the system, at each call that changes its output directory; then it goes on.

strace does it: it ends the process in its k-th call of a kind, or lets that call fail. Afterwards the directory is, to
the byte, that of a run that nothing happened to.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
RUN = (
    sys.executable, str(ROOT / "train.py"), "--config", str(ROOT / "configs/debug.yaml"), "--speed", "max",
    "--start-time", "2026-01-01", "--set", "checkpoint.every=3", "--set", "train.steps_per_epoch=4",
    "--no-progress", "--output-dir", "out", "--resume", "auto",
)  # fmt: skip
"""8 steps, 2 checkpoints and their deletions, the model."""
CHANGES = (
    "mkdir", "rename", "link", "unlink", "unlinkat", "rmdir", "ftruncate", "fsync", "syncfs", "flock", "pwrite64",
)  # fmt: skip
ERRORS = {"mkdir": "ENOSPC", "rmdir": "EBUSY", "flock": "EIO"}
"""Others fail with EIO."""
DEADLINE_S = 120.0
HEAD_BYTES = 2**22
"""The rest of a big file is a hole."""


def go(cwd: Path, *strace: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*strace, *RUN], cwd=cwd, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def traced(calls: str, *what: str) -> tuple[str, ...]:
    return (
        "strace",
        "-f",
        "-qq",
        "-o",
        "trace",
        "-e",
        f"trace={calls}",
        *(word for each in what for word in ("-e", each)),
    )


def entries(directory: Path) -> dict[str, tuple[int, bytes] | None]:
    """Everything below ``directory``: size and beginning of files, None for directories."""
    found: dict[str, tuple[int, bytes] | None] = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_dir():
            found[name] = None
            continue
        with path.open("rb") as file:
            found[name] = path.stat().st_size, file.read(HEAD_BYTES)
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, tuple[int, bytes] | None], Counter[str]]:
    """The undisturbed directory, and how often each call was made."""
    directory = tmp_path_factory.mktemp("reference")
    done = go(directory, *traced(",".join((*CHANGES, "write"))))
    if done.returncode and "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = re.findall(r"^\d+ +(\w+)\(", (directory / "trace").read_text(errors="replace"), re.MULTILINE)
    return entries(directory / "out"), Counter(calls)


def moments(count: int) -> Iterator[int]:
    """At most 8 of the calls 1..count, spread evenly, the first and the last among them."""
    return iter(sorted({1 + round((count - 1) * part / 7) for part in range(8)} if count else ()))


@pytest.mark.parametrize("call", CHANGES)
def test_killed_in_any_call_it_goes_on_to_the_same_end(
    call: str, reference: tuple[dict[str, tuple[int, bytes] | None], Counter[str]], tmp_path: Path
) -> None:
    expected, counts = reference
    for moment in moments(counts[call]):
        place = tmp_path / f"{call}-{moment}"
        place.mkdir()
        killed = go(place, *traced(call, f"inject={call}:signal=SIGKILL:when={moment}"))
        assert killed.returncode in (-9, 137), (call, moment, killed.returncode)
        done = go(place)
        assert (done.returncode, done.stderr) == (0, ""), (call, moment)
        assert entries(place / "out") == expected, (call, moment)
        shutil.rmtree(place)


@pytest.mark.parametrize("call", [*CHANGES, "write"])
def test_refused_in_any_call_it_says_so_and_goes_on_to_the_same_end(
    call: str, reference: tuple[dict[str, tuple[int, bytes] | None], Counter[str]], tmp_path: Path
) -> None:
    expected, counts = reference
    for moment in moments(counts[call]):
        place = tmp_path / f"{call}-{moment}"
        place.mkdir()
        failed = go(place, *traced(call, f"inject={call}:error={ERRORS.get(call, 'EIO')}:when={moment}"))
        assert "Traceback" not in failed.stderr, (call, moment, failed.stderr)
        assert failed.returncode in (0, 1, 2, 141), (call, moment, failed.returncode)
        if failed.returncode in (1, 2):
            assert len(failed.stderr.splitlines()) == 1, (call, moment, failed.stderr)
        if call in ("fsync", "syncfs"):
            assert failed.returncode, (call, moment)
        done = go(place)
        assert (done.returncode, done.stderr) == (0, ""), (call, moment)
        assert entries(place / "out") == expected, (call, moment)
        shutil.rmtree(place)
