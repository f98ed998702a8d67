"""``FakeRun``: a finished run of a separate process, with its exit code, output and files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate_sim.testing.output import json_lines, lines_of

TIMEOUT_S = 300.0


@dataclass(frozen=True)
class FakeRun:
    """A run that is over."""

    directory: Path
    """Its output directory."""
    exit_code: int
    stdout: str
    stderr: str

    def lines(self, rank: int | None = None, stream: str = "stdout") -> list[str]:
        """The lines of ``stdout`` or ``stderr``; with ``rank`` those that name it."""
        return lines_of(self.stdout if stream == "stdout" else self.stderr, rank)

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The events of metrics.jsonl, in order."""
        return json_lines(self.directory / "metrics.jsonl")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind: start, step, gpu, nccl, warning, eval, checkpoint, export, summary."""
        return [event for event in self.records if event["event"] == kind]

    @cached_property
    def truth(self) -> list[dict[str, Any]]:
        """The transitions of all faults, as faults.jsonl has them; empty for a clean run."""
        return [event for event in json_lines(self.directory / "faults.jsonl") if event["event"] == "fault"]

    @cached_property
    def files(self) -> dict[str, Path]:
        """Every file that the run wrote, by its path in the output directory."""
        return {
            str(path.relative_to(self.directory)): path for path in sorted(self.directory.rglob("*")) if path.is_file()
        }


def played(
    directory: Path,
    config: str | Path,
    *arguments: str,
    faults: Sequence[str] = (),
    voice: str | None = None,
    hazards: Sequence[str] = (),
    seed: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> FakeRun:
    """Play a run at full speed into ``directory``. ``arguments`` are further ones of ``fake-train``.

    A run that fails, or whose arguments are wrong, is returned like any other: its exit code and its error text say so.
    """
    words = [
        sys.executable, "-m", "accelerate_sim", "--config", str(config), "--speed", "max", "--output-dir",
        str(directory), "--runs", "1", *run_options(faults, voice, hazards, seed), *arguments,
    ]  # fmt: skip
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", errors="replace",
        timeout=timeout_s, check=False, env=os.environ | {"PYTHONUTF8": "1"},
    )  # fmt: skip
    return FakeRun(directory, done.returncode, done.stdout, done.stderr)


def run_options(faults: Sequence[str], voice: str | None, hazards: Sequence[str], seed: int | None) -> list[str]:
    """The options of the command line for these."""
    words = [word for fault in faults for word in ("--fault", fault)]
    words += [word for hazard in hazards for word in ("--log-hazard", hazard)]
    words += ["--voice", voice] if voice is not None else []
    return words + (["--seed", str(seed)] if seed is not None else [])
