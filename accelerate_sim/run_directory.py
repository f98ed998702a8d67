"""What lies where below ``--output-dir``, for one run: ``run.json``, checkpoints, ``latest``, ``final``.

The first run of a session has the directory itself; the next ones ``run-2``, ``run-3`` and so on below it.
metrics.jsonl is the session's. A run without an output directory has the same names and nothing behind them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts import atomic, manifest
from accelerate_sim.artifacts.file_image import FileImage
from accelerate_sim.artifacts.manifest import Damaged, manifest_image
from accelerate_sim.run_state import NAME as STATE
from accelerate_sim.run_state import RunState

RUN_FILE = "run.json"
LATEST = "latest"
_CHECKPOINT = re.compile(r"checkpoint-(\d{1,12})")
_LATER_RUN = re.compile(r"run-([2-9]|[1-9]\d{1,8})")


def path_of_run(output_dir: Path, run: int) -> Path:
    return output_dir if run == 1 else output_dir / f"run-{run}"


def checkpoint_step(path: Path) -> int | None:
    """The step in a checkpoint's name; None for any other name."""
    found = _CHECKPOINT.fullmatch(path.name)
    return int(found[1]) if found else None


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run."""

    path: Path

    def checkpoints(self) -> list[Path]:
        """Directories with a checkpoint's name, the newest first, whatever is in them."""
        steps = {path: step for path in self._entries() if (step := checkpoint_step(path)) is not None}
        return sorted(steps, key=lambda path: steps[path], reverse=True)

    def _entries(self) -> Iterator[Path]:
        return (path for path in self.path.iterdir() if path.is_dir()) if self.path.is_dir() else iter(())

    # --- Writing; all raise OutputError ---------------------------------------------------------

    def begin(self, state: RunState) -> None:
        """The run begins."""
        with atomic.explained(self.path / RUN_FILE, "Nothing was played."):
            self.path.mkdir(parents=True, exist_ok=True)
            self._write_run_file(state, None)

    def finish(self, state: RunState, clock_s: float, metrics_bytes: int) -> None:
        """The run is over, and all of it is on the disk."""
        with atomic.explained(self.path / RUN_FILE, "The run's other files are complete."):
            self._write_run_file(state, {"clock_s": clock_s, "metrics_bytes": metrics_bytes})

    def _write_run_file(self, state: RunState, end: dict[str, Any] | None) -> None:
        document = json.loads(state.image().head) | {"end": end}
        atomic.write_file(self.path / RUN_FILE, json.dumps(document, indent=2).encode() + b"\n")

    def write_checkpoint(self, state: RunState, images: Sequence[FileImage]) -> None:
        """``checkpoint-<step>``, then ``latest``."""
        target = self.path / f"checkpoint-{state.step}"
        whole = [*images, state.image()]
        about = {"run": state.run, "step": state.step}
        with atomic.explained(target, self.intact()):
            atomic.write_directory(target, [*whole, manifest_image(whole, about)])
            atomic.write_file(self.path / LATEST, f"{target.name}\n".encode())

    def write_final(self, path: Path, images: Sequence[FileImage], run: int) -> None:
        """The finished model."""
        with atomic.explained(path, self.intact()):
            atomic.write_directory(path, [*images, manifest_image(images, {"run": run})])

    def delete(self, name: str) -> None:
        """Delete a checkpoint. One that somebody else has removed, or made a link of, is left alone."""
        path = self.path / name
        if path.is_dir() and not path.is_symlink():
            with atomic.explained(path, self.intact()):
                atomic.delete_directory(path)

    def intact(self) -> str:
        """What a failed write has not touched, and what to do."""
        for path in self.checkpoints():
            try:
                manifest.verify(path)
            except Damaged:
                continue
            return f"{path.name} is intact: put things right and go on with --resume auto."
        return "No checkpoint was there before: put things right and begin again."


def state_of_checkpoint(path: Path) -> RunState:
    """The state in a checkpoint that is complete; raises :class:`Damaged`."""
    about = manifest.verify(path)
    state = RunState.of(manifest.read_json(path / STATE))
    if state.step != about.get("step") or state.step != checkpoint_step(path):
        raise Damaged(f"is of step {state.step}, which is not in its name")
    return state


def holds_run(directory: Path) -> bool:
    """Whether something in ``directory`` would be overwritten."""
    names = {RUN_FILE, LATEST, "metrics.jsonl", "final"}
    return any(path.name in names or _CHECKPOINT.fullmatch(path.name) for path in directory.iterdir())


def latest_run(output_dir: Path) -> int | None:
    """Number of the latest run that has begun below ``output_dir``."""
    if not output_dir.is_dir():
        return None
    later = [int(found[1]) for path in output_dir.iterdir() if (found := _LATER_RUN.fullmatch(path.name))]
    begun = [run for run in (1, *later) if (path_of_run(output_dir, run) / RUN_FILE).exists()]
    return max(begun, default=None)


def begin_of_run(directory: Path) -> tuple[RunState, dict[str, Any] | None]:
    """How the run began, and its end if it is over; raises :class:`Damaged`."""
    document = manifest.read_json(directory / RUN_FILE)
    end = document.get("end")
    if end is not None and not (isinstance(end, dict) and {"clock_s", "metrics_bytes"} <= end.keys()):
        raise Damaged(f"has a {RUN_FILE} that is not of this program")
    return RunState.of(document), end
