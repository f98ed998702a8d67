"""The directory of one run below ``--output-dir``: ``run.json``, checkpoints, ``latest``, ``final``.

The first run of a session uses the output directory itself; the next ones use ``run-2``, ``run-3`` and so on below it.
metrics.jsonl belongs to the session. Without an output directory the same names are printed, and nothing is written.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts import atomic, manifest, plain_file
from accelerate_sim.artifacts.damage import Damaged
from accelerate_sim.artifacts.file_image import FileImage
from accelerate_sim.artifacts.manifest import manifest_image
from accelerate_sim.checkpoints import run_file
from accelerate_sim.checkpoints.run_file import RunEnd
from accelerate_sim.checkpoints.state import NAME as STATE
from accelerate_sim.checkpoints.state import RunState, step_in_name

LATEST = "latest"
METRICS = "metrics.jsonl"
TRAINER_STATE = "trainer_state.json"
_LATER_RUN = re.compile(r"run-([2-9]|[1-9][0-9]{1,8})")


def path_of_run(output_dir: Path, run: int) -> Path:
    """The directory of a run: the output directory for the first one, below it for the others."""
    return output_dir if run == 1 else output_dir / f"run-{run}"


def checkpoint_step(path: Path) -> int | None:
    """The step in a checkpoint's name; None for any other name."""
    return step_in_name(path.name)


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run, at ``path``."""

    path: Path

    def checkpoints(self) -> list[Path]:
        """Directories with the name of a checkpoint, the newest first; their content is not checked. Raises OSError."""
        steps = {path: step for path in self._entries() if (step := checkpoint_step(path)) is not None}
        return sorted(steps, key=lambda path: steps[path], reverse=True)

    def _entries(self) -> Iterator[Path]:
        return (path for path in self.path.iterdir() if path.is_dir()) if self.path.is_dir() else iter(())

    # --- Writing; all raise OutputError ---------------------------------------------------------

    def begin(self, state: RunState, output_dir: Path) -> None:
        """Make the directory, and write the run.json of a run that begins."""
        with atomic.explained(self.path / run_file.NAME, "Nothing was played: put things right and begin again."):
            atomic.make_directory(self.path, output_dir)
            run_file.write(self.path, state.beginning())

    def finish(self, state: RunState, end: RunEnd) -> None:
        """Write the run.json of a run that is over, after all its other files."""
        rest = "The run's other files are complete: put things right and go on with --resume auto."
        with atomic.explained(self.path / run_file.NAME, rest):
            run_file.write(self.path, state.beginning(), end)

    def write_checkpoint(self, state: RunState, images: Sequence[FileImage]) -> None:
        """Write ``checkpoint-<step>``, then ``latest``."""
        target = self.path / f"checkpoint-{state.step}"
        whole = [*images, state.image()]
        about = {"run": state.run, "step": state.step}
        with atomic.explained(target, self.intact):
            atomic.write_directory(target, [*whole, manifest_image(whole, about)])
            self._point_at(target.name)

    def repair_latest(self, name: str) -> None:
        """Write this checkpoint's name to ``latest``, unless it is there."""
        with atomic.explained(self.path / LATEST, self.intact):
            try:
                if plain_file.read(self.path / LATEST, 100) == f"{name}\n".encode():
                    return
            except (FileNotFoundError, plain_file.NotPlain):
                pass
            self._point_at(name)

    def _point_at(self, name: str) -> None:
        atomic.write_file(self.path / LATEST, f"{name}\n".encode())

    def write_final(self, path: Path, images: Sequence[FileImage], run: int) -> None:
        """Write the files of the finished model."""
        with atomic.explained(path, self.intact):
            atomic.write_directory(path, [*images, manifest_image(images, {"run": run})])

    def delete(self, name: str) -> OSError | None:
        """Delete a checkpoint; returns the error if files of it are left under another name.

        A checkpoint that a user has removed, or replaced by a link, is left alone.
        """
        if step_in_name(name) is None:
            raise ValueError(f"{name!r} is no checkpoint's name")
        path = self.path / name
        with atomic.explained(path, self.intact):
            return atomic.delete_directory(path) if path.is_dir() and not path.is_symlink() else None

    def intact(self) -> str:
        """A sentence on the newest checkpoint that a failed write has not touched, and on the way to continue."""
        try:
            for path in self.checkpoints():
                try:
                    manifest.verify(path)
                except Damaged:
                    continue
                return f"{path.name} is intact: put things right and go on with --resume auto."
        except OSError:
            return "What was written before is intact: put things right and go on with --resume auto."
        return "There is no checkpoint yet: put things right and play the run from its beginning with --resume auto."


def state_of_checkpoint(path: Path) -> RunState:
    """The state in a checkpoint that is complete and can be resumed; raises :class:`Damaged`."""
    from accelerate_sim.checkpoints.trainer_state import history_of
    from accelerate_sim.reporting.ledger import check_state

    about = manifest.verify(path, required=(STATE, TRAINER_STATE))
    state = RunState.of(manifest.read_json(path / STATE))
    if state.step != about.get("step") or state.step != checkpoint_step(path):
        raise Damaged(f"is of step {state.step}, which is not in its name")
    check_state(state.ledger, state.step, STATE)
    history_of(manifest.read_json(path / TRAINER_STATE), TRAINER_STATE)
    return state


# --- What has begun ---------------------------------------------------------------------------------


def run_directories(output_dir: Path) -> dict[int, Path]:
    """Directories of a session's runs by number, empty ones included; the first is ``output_dir``. Raises OSError."""
    if not output_dir.is_dir():
        return {}
    later = {int(found[1]): path for path in output_dir.iterdir() if (found := _LATER_RUN.fullmatch(path.name))}
    return {1: output_dir} | {run: path for run, path in later.items() if path.is_dir() and not path.is_symlink()}


def latest_run(output_dir: Path) -> int | None:
    """Number of the latest run below ``output_dir`` that has a run.json; None if there is none. Raises OSError."""
    directories = run_directories(output_dir)
    begun = [run for run, path in directories.items() if os.path.lexists(path / run_file.NAME)]
    return max(begun, default=None)


def in_the_way(output_dir: Path) -> str | None:
    """Name of a file that a run in ``output_dir`` would overwrite though no run has begun there. Raises OSError.

    An empty metrics.jsonl does not count: a process that is killed while it starts may leave one.
    """
    if not output_dir.is_dir():
        return None
    names = {LATEST, METRICS, "final"}
    for path in sorted(output_dir.iterdir(), key=lambda path: -(checkpoint_step(path) or 0)):
        if (path.name in names or checkpoint_step(path) is not None) and not _is_empty_metrics(path):
            return path.name
    return None


def _is_empty_metrics(path: Path) -> bool:
    status: Any = path.lstat()
    return path.name == METRICS and stat.S_ISREG(status.st_mode) and status.st_size == 0
