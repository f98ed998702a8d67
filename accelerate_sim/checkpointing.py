"""``Checkpoints``: size, time and files of a run's training states, and the restart from one.

What it does not do: keep weights. The files have true names, sizes and headers; the data of each tensor is a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.checkpoints.kept import KeptCheckpoints
from accelerate_sim.checkpoints.state import loading_s
from accelerate_sim.checkpoints.state_capture import Mark, StateCapture
from accelerate_sim.checkpoints.trainer_state import TrainerHistory
from accelerate_sim.process.clock import Clock
from accelerate_sim.records import CheckpointRecord, Record, RestoredRecord, RestoringRecord, SavingRecord
from accelerate_sim.reporting.ledger import Ledger
from accelerate_sim.sim.memory.memory import OPTIMIZER_BYTES, WEIGHT_BYTES
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking.outputs import Outputs

if TYPE_CHECKING:
    from accelerate_sim.artifacts.file_image import FileImage
    from accelerate_sim.artifacts.model_files import Sizes
    from accelerate_sim.checkpoints.attempt_file import SavedAttemptEnd
    from accelerate_sim.checkpoints.directory import RunDirectory
    from accelerate_sim.checkpoints.files import CheckpointFiles
    from accelerate_sim.checkpoints.resume import Resumption


@dataclass
class Checkpoints:
    """The checkpoints of one run. Without an output directory they are reported and not written."""

    run: Run
    project_dir: Path
    origin_s: float
    """Simulated second at which the run began."""
    clock: Clock
    outputs: Outputs
    report: Callable[[Record], None]
    ledger: Ledger
    history: TrainerHistory
    is_main_process: bool = True
    attempt: int = 0
    """Number of the attempt, in a run in which faults happen."""

    def __post_init__(self) -> None:
        self._kept = KeptCheckpoints(self.project_dir, self.run.config.checkpoint, self._delete, self.report)
        self._mark: Mark | None = None
        self._capture = StateCapture(
            self.run, self.origin_s, self.clock, self.outputs, self.ledger, self.history, self.attempt
        )
        self._written_step: int | None = None
        """Step of the newest checkpoint on the disk."""

    @property
    def on_disk(self) -> bool:
        return self.outputs.directory is not None

    @property
    def last(self) -> Path | None:
        """Path of the newest checkpoint."""
        return self._kept.last

    # --- Saving ---------------------------------------------------------------------------------

    def mark(self, step: int) -> None:
        """Mark the present moment as one to save: all records of the first ``step`` steps have been reported."""
        if self.on_disk:
            self._mark = self._capture.mark(step)
            self.history.thin(step)

    def save(self, name: str, step: int) -> Path:
        """Write the state after ``step`` steps, then delete what is not kept any longer. Raises OutputError."""
        path, parameters = self.project_dir / name, self.run.model.architecture.parameters
        self.report(SavingRecord(step, str(path), WEIGHT_BYTES * parameters, OPTIMIZER_BYTES * parameters))
        record = self._record(path, step)
        if self.on_disk:
            if name != f"checkpoint-{step}":
                raise ValueError(f"{name!r}: checkpoints are called checkpoint-<step>, and {step} steps are done")
            self.mark(step)
            assert self._mark
            self._write(self._mark, planned=True)
        self.clock.advance(record.seconds)
        self.report(record)
        self._kept.keep(name, self.history.validation_loss(step))
        self.mark(step)
        return path

    def save_at_last_mark(self) -> str:
        """Save the latest moment that was marked, before the process ends; returns a phrase that says so."""
        mark = self._mark
        if mark is None or not mark.step:
            return f"{self.last} is already there" if self.last else "nothing to save yet"
        name = f"checkpoint-{mark.step}"
        if mark.step == self._written_step:  # the signal may have come while the clock waited for the write
            if name not in self._kept.names:
                self._kept.add_unplanned(name)
            return f"{self.project_dir / name} is already there"
        self._write(mark, planned=False)
        self._kept.add_unplanned(name)
        self._kept.delete_superseded()
        return f"saved {self.last}"

    def _record(self, path: Path, step: int) -> CheckpointRecord:
        return CheckpointRecord(
            self.run.number, step, str(path), self.run.checkpoint_bytes, self.run.checkpoint_seconds(step - 1)
        )

    # --- On the disk ----------------------------------------------------------------------------

    @cached_property
    def _directory(self) -> RunDirectory:
        from accelerate_sim.checkpoints.directory import RunDirectory

        return RunDirectory(self.project_dir)

    def _delete(self, name: str) -> OSError | None:
        return self._directory.delete(name) if self.on_disk else None

    def begin(self) -> None:
        """Write the run.json of a run that begins."""
        if self.on_disk:
            self._capture.begin()
            self.mark(0)
            assert self._mark and self.outputs.directory
            self._directory.begin(self._capture.state(self._mark, self._kept.saved), self.outputs.directory)

    def finish(self) -> None:
        """Remove unfinished files, and write the run.json of a run that is over."""
        if self.on_disk:
            from accelerate_sim.artifacts import atomic
            from accelerate_sim.checkpoints.run_file import RunEnd

            self.outputs.sync()
            self._kept.delete_superseded()
            atomic.remove_unfinished(self.project_dir, self._kept.warn_of_litter)
            assert self._mark
            end = RunEnd(self.clock.now_s, *self.outputs.metrics_length())
            self._directory.finish(self._capture.state(self._mark, self._kept.saved), end)

    def export(self, path: Path, images: Sequence[FileImage]) -> None:
        """Write the finished model, if there is an output directory. Raises OutputError."""
        if self.on_disk:
            self._directory.write_final(path, images, self.run.number)

    def attempt_end(self, step: int, *, saves: bool = False) -> SavedAttemptEnd:
        """The state that the next attempt goes on from, at the checkpoint after ``step`` steps; 0: from none.

        ``saves``: that checkpoint is written now, as a signal that ends the process has it.
        """
        if saves and self.on_disk:
            self.mark(step)
            self.save_at_last_mark()
        elif saves and step:
            self._kept.add_unplanned(f"checkpoint-{step}")
        return self._capture.attempt_end(step, self._kept.saved)

    def keep_attempt_end(self, end: SavedAttemptEnd) -> None:
        """Write the state that the next attempt goes on from to the disk. Raises OutputError."""
        from accelerate_sim.checkpoints import attempt_file

        self.outputs.sync()
        attempt_file.write(self.project_dir, end)

    def go_on_after(self, end: SavedAttemptEnd) -> None:
        """Take over the sums of the attempts before, before the first step of another one."""
        self.ledger.load_state_dict(end.ledger, end.origin_s)
        self._capture.go_on(end.begin_bytes, end.begin_crc32)
        self._kept.restore(end.saved)
        if end.step:
            self.history.go_on_with(end.history)
            self._written_step = end.step if self.on_disk else None
        self.mark(end.step)

    def _write(self, mark: Mark, *, planned: bool) -> None:
        self.outputs.sync()
        state = self._capture.state(mark, self._kept.saved, planned=planned)
        self._directory.write_checkpoint(state, self._files.images(mark.step))
        self._written_step = mark.step

    @cached_property
    def _files(self) -> CheckpointFiles:
        from accelerate_sim.checkpoints.files import CheckpointFiles

        return CheckpointFiles(self.run, self.history, self.project_dir if self.on_disk else None, self.report)

    @property
    def sizes(self) -> Sizes:
        """Shapes of the tensors on disk. Raises OutputError."""
        return self._files.sizes

    # --- Going on -------------------------------------------------------------------------------

    def restore(self, resumption: Resumption) -> None:
        """Restore the state of a checkpoint, and report the checkpoint, as the process that wrote it did."""
        from accelerate_sim.artifacts.damage import Damaged
        from accelerate_sim.artifacts.manifest import read_json
        from accelerate_sim.artifacts.output_error import OutputError

        state, path = resumption.state, resumption.checkpoint
        assert path
        clock = self.clock
        load_s = loading_s(self.run, state)
        self.report(RestoringRecord(str(path), self.run.checkpoint_bytes))
        clock.advance(load_s)
        if resumption.ended:
            self.mark(state.step)
            self.report(RestoredRecord(state.step, load_s))
            return
        clock.jump_to(state.clock_s)
        self.ledger.load_state_dict(state.ledger, self.origin_s)
        self._capture.go_on(state.begin_bytes, state.begin_crc32)
        if self.is_main_process:
            try:
                self.history.go_on_with(read_json(path / "trainer_state.json"))
            except Damaged as damage:  # it was complete when --resume chose it
                raise OutputError(f"{path} is damaged: it {damage}. Go on with --resume auto.") from None
        self._kept.restore(state.saved)
        if state.planned:
            record = self._record(self.project_dir / path.name, state.step)
            clock.jump_to(state.clock_s + record.seconds)
            self.ledger.observe(record)
            self.outputs.observe(record)
        self._kept.keep(path.name, self.history.validation_loss(state.step))
        if self.on_disk:
            self._put_right(path.name, state.step)
        self.mark(state.step)
        self._written_step = state.step
        self.report(RestoredRecord(state.step, load_s))

    def _put_right(self, name: str, step: int) -> None:
        """Repair ``latest``, and adopt later checkpoints that a signal caused, after a process that had come further.

        Later planned checkpoints are written again when the run reaches them.
        """
        from accelerate_sim.checkpoints.directory import checkpoint_step

        if (self.project_dir / name).is_dir():
            self._directory.repair_latest(name)
        every, known = self.run.config.checkpoint.every, self._kept.names
        for path in self._directory.checkpoints():
            later = checkpoint_step(path) or 0
            if later > step and path.name not in known and not (every and later % every == 0):
                self._kept.adopt(path.name)
