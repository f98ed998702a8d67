"""``Checkpoints``: size, time and files of a run's training states, and the restart from one.

What it does not do: keep weights. The files have true names, sizes and headers; the data of each tensor is a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from accelerate_sim.checkpoints.state import Saved, loading_s, superseded
from accelerate_sim.checkpoints.trainer_state import TrainerHistory
from accelerate_sim.process.clock import Clock
from accelerate_sim.records import (
    CheckpointRecord,
    DeletedRecord,
    LitterRecord,
    Record,
    RestoredRecord,
    RestoringRecord,
    SavingRecord,
)
from accelerate_sim.reporting.ledger import Ledger, LedgerMark
from accelerate_sim.sim.memory.memory import OPTIMIZER_BYTES, WEIGHT_BYTES
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking.outputs import Outputs

if TYPE_CHECKING:
    from accelerate_sim.artifacts.file_image import FileImage
    from accelerate_sim.artifacts.model_files import Sizes
    from accelerate_sim.checkpoints.attempt_file import AttemptEnd
    from accelerate_sim.checkpoints.files import CheckpointFiles
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.checkpoints.state import RunState


class Mark(NamedTuple):
    """A moment between two steps from which the run can be continued."""

    step: int
    clock_s: float
    metrics: tuple[int, int]
    """Length of metrics.jsonl in bytes, and its checksum."""
    ledger: LedgerMark


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
        self.saved: list[Saved] = []
        self._mark: Mark | None = None
        self._begun_at: tuple[int, int] = (0, 0)
        """Length of metrics.jsonl in bytes when the run began, and its checksum."""
        self._written_step: int | None = None
        """Step of the newest checkpoint on the disk."""
        self._has_warned = False

    @property
    def on_disk(self) -> bool:
        return self.outputs.directory is not None

    @property
    def last(self) -> Path | None:
        """Path of the newest checkpoint."""
        return self.project_dir / self.saved[-1].name if self.saved else None

    # --- Saving ---------------------------------------------------------------------------------

    def mark(self, step: int) -> None:
        """Mark the present moment as one to save: all records of the first ``step`` steps have been reported."""
        if self.on_disk:
            self._mark = Mark(step, self.clock.now_s, self.outputs.metrics_length(), self.ledger.mark())
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
        self._keep(name, step)
        self.mark(step)
        return path

    def save_at_last_mark(self) -> str:
        """Save the latest moment that was marked, before the process ends; returns a phrase that says so."""
        mark = self._mark
        if mark is None or not mark.step:
            return f"{self.last} is already there" if self.saved else "nothing to save yet"
        name = f"checkpoint-{mark.step}"
        if mark.step == self._written_step:  # the signal may have come while the clock waited for the write
            if name not in [saved.name for saved in self.saved]:
                self.saved.append(Saved(name, None))
            return f"{self.project_dir / name} is already there"
        self._write(mark, planned=False)
        self.saved.append(Saved(name, None))
        self._delete_superseded()
        return f"saved {self.last}"

    def _record(self, path: Path, step: int) -> CheckpointRecord:
        return CheckpointRecord(
            self.run.number, step, str(path), self.run.checkpoint_bytes, self.run.checkpoint_seconds(step - 1)
        )

    def _keep(self, name: str, step: int) -> None:
        self.saved = [saved for saved in self.saved if saved.name != name]
        self.saved.append(Saved(name, self.history.validation_loss(step)))
        self._delete_superseded()

    def _delete_superseded(self) -> None:
        """Delete the checkpoints that are not kept. The one that replaces them is complete by now."""
        for old in superseded(self.saved, self.run.config.checkpoint):
            if self.on_disk and (error := self._directory.delete(old.name)):
                self._warn_of_litter(error)
            kept = self.run.config.checkpoint
            self.report(DeletedRecord(str(self.project_dir / old.name), kept.keep_last, kept.keep_best))
            self.saved.remove(old)

    def _warn_of_litter(self, error: OSError) -> None:
        if not self._has_warned:
            self.report(LitterRecord(str(self.project_dir), error.strerror or str(error)))
        self._has_warned = True

    # --- On the disk ----------------------------------------------------------------------------

    @cached_property
    def _directory(self) -> Any:
        from accelerate_sim.checkpoints.directory import RunDirectory

        return RunDirectory(self.project_dir)

    def begin(self) -> None:
        """Write the run.json of a run that begins."""
        if self.on_disk:
            self._begun_at = self.outputs.metrics_length()
            self.mark(0)
            assert self._mark and self.outputs.directory
            self._directory.begin(self.state(self._mark), self.outputs.directory)

    def finish(self) -> None:
        """Remove unfinished files, and write the run.json of a run that is over."""
        if self.on_disk:
            from accelerate_sim.artifacts import atomic
            from accelerate_sim.checkpoints.run_file import RunEnd

            self.outputs.sync()
            self._delete_superseded()
            atomic.remove_unfinished(self.project_dir, self._warn_of_litter)
            assert self._mark
            end = RunEnd(self.clock.now_s, *self.outputs.metrics_length())
            self._directory.finish(self.state(self._mark), end)

    def export(self, path: Path, images: Sequence[FileImage]) -> None:
        """Write the finished model, if there is an output directory. Raises OutputError."""
        if self.on_disk:
            self._directory.write_final(path, images, self.run.number)

    def state(self, mark: Mark, *, planned: bool = True) -> RunState:
        """The state with which a new process continues at ``mark``."""
        from accelerate_sim.checkpoints.state import RunState

        return RunState(
            run=self.run.number,
            step=mark.step,
            config=self.run.config.model_dump(mode="json"),
            start_time=self.clock.start.isoformat(),
            origin_s=self.origin_s,
            clock_s=mark.clock_s,
            metrics_bytes=mark.metrics[0],
            metrics_crc32=mark.metrics[1],
            begin_bytes=self._begun_at[0],
            begin_crc32=self._begun_at[1],
            planned=planned,
            ledger=self.ledger.state_dict(mark.ledger),
            saved=tuple(self.saved),
            attempt=self.attempt,
        )

    def attempt_end(self, step: int, *, saves: bool = False) -> AttemptEnd:
        """The state that the next attempt goes on from, at the checkpoint after ``step`` steps; 0: from none.

        ``saves``: that checkpoint is written now, as a signal that ends the process has it.
        """
        if saves and self.on_disk:
            self.mark(step)
            self.save_at_last_mark()
        elif saves and step:
            self.saved.append(Saved(f"checkpoint-{step}", None))
        from accelerate_sim.checkpoints.attempt_file import AttemptEnd

        size_bytes, crc32 = self.outputs.metrics_length()
        return AttemptEnd(
            run=self.run.number, attempt=self.attempt, step=step, start_time=self.clock.start.isoformat(),
            origin_s=self.origin_s, metrics_bytes=size_bytes, metrics_crc32=crc32, begin_bytes=self._begun_at[0],
            begin_crc32=self._begun_at[1], config=self.run.config.model_dump(mode="json"),
            ledger=self.ledger.state_dict(self.ledger.mark()),
            saved=tuple(saved for saved in self.saved if saved.step <= step),
            history=self.history.trainer_state(step) if step else {},
        )  # fmt: skip

    def keep_attempt_end(self, end: AttemptEnd) -> None:
        """Write the state that the next attempt goes on from to the disk. Raises OutputError."""
        from accelerate_sim.checkpoints import attempt_file

        self.outputs.sync()
        attempt_file.write(self.project_dir, end)

    def go_on_after(self, end: AttemptEnd) -> None:
        """Take over the sums of the attempts before, before the first step of another one."""
        self.ledger.load_state_dict(end.ledger, end.origin_s)
        self._begun_at = end.begin_bytes, end.begin_crc32
        self.saved = [Saved(*saved) for saved in end.saved]
        if end.step:
            self.history.go_on_with(end.history)
            self._written_step = end.step if self.on_disk else None
        self.mark(end.step)

    def _write(self, mark: Mark, *, planned: bool) -> None:
        self.outputs.sync()
        self._directory.write_checkpoint(self.state(mark, planned=planned), self._files.images(mark.step))
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
        if resumption.ended:
            self.report(RestoringRecord(str(path), self.run.checkpoint_bytes))
            clock.advance(load_s)
            self.mark(state.step)
            self.report(RestoredRecord(state.step, load_s))
            return
        self.report(RestoringRecord(str(path), self.run.checkpoint_bytes))
        clock.advance(load_s)
        clock.jump_to(state.clock_s)
        self.ledger.load_state_dict(state.ledger, self.origin_s)
        self._begun_at = state.begin_bytes, state.begin_crc32
        if self.is_main_process:
            try:
                self.history.go_on_with(read_json(path / "trainer_state.json"))
            except Damaged as damage:  # it was complete when --resume chose it
                raise OutputError(f"{path} is damaged: it {damage}. Go on with --resume auto.") from None
        self.saved = [Saved(*saved) for saved in state.saved]
        if state.planned:
            record = self._record(self.project_dir / path.name, state.step)
            clock.jump_to(state.clock_s + record.seconds)
            self.ledger.observe(record)
            self.outputs.observe(record)
        self._keep(path.name, state.step)
        if self.on_disk:
            self._put_right(path.name, state.step)
        self.mark(state.step)
        self._written_step = state.step
        self.report(RestoredRecord(state.step, load_s))

    def _put_right(self, name: str, step: int) -> None:
        """Repair ``latest``, and adopt later checkpoints that a signal caused, after a process that had come further.

        Later planned checkpoints are written again when the run reaches them.
        """
        if (self.project_dir / name).is_dir():
            self._directory.repair_latest(name)
        every, known = self.run.config.checkpoint.every, {saved.name for saved in self.saved}
        for path in self._directory.checkpoints():
            later = Saved(path.name, None)
            if later.step > step and path.name not in known and not (every and later.step % every == 0):
                self.saved.insert(-1, later)
