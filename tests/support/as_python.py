"""Compares a rank with the same script in a plain interpreter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher


def same(directory: Path, *target: str, start_method: str = "fork", **environment: str) -> None:
    """A rank's output and exit code are those of ``python -u``; the launcher's report is left out of the comparison.

    The launcher is a new interpreter if there are variables, which an interpreter may read when it starts.
    """
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    fresh = _python(directory, variables, "-u", *target, "argument")
    words = "--log-dir", os.devnull, "--start-method", start_method, *target, "argument"
    if environment:
        rank = _python(directory, variables, "-m", "fake_torch_dist.run", *words)
    else:
        rank = run_launcher(words, cwd=directory, env=variables, training=False)
    exitcode = re.search(r"exitcode  : (-?\d+)", rank.stderr)
    assert int(exitcode[1] if exitcode else rank.returncode) == fresh.returncode, rank.stderr
    assert _comparable(rank.stdout) == _comparable(fresh.stdout)
    written, _, _ = re.sub(r"(?m)^E\d{4} [\d:.]+ ", "REPORT", rank.stderr).partition("REPORT")
    assert _comparable(written) == _comparable(fresh.stderr)


def _python(directory: Path, variables: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=directory, env=variables, text=True, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def _comparable(text: str) -> str:
    """Without addresses and reference counts, in which any two processes differ."""
    return re.sub(r"0x[0-9a-f]+|(?<=object refcount : )\d+", "0x", text)
