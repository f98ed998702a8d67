"""``SpokenPlayback``: a playback with the run's lines of text among its records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelerate_sim.api.playback import Playback
from accelerate_sim.api.words import PROGRAM, Words
from accelerate_sim.checkpoints.kept import Saved, superseded
from accelerate_sim.process.clock import Clock
from accelerate_sim.records import (
    BatchRecord,
    DeletedRecord,
    EvalRecord,
    ExportFileRecord,
    ExportingRecord,
    LaunchRecord,
    ModelLoadedRecord,
    Record,
    RestoredRecord,
    RestoringRecord,
    ResumeRecord,
    SavingRecord,
    TightMemoryRecord,
    TokenizerRecord,
)
from accelerate_sim.reporting.build import data_record, epoch_of, model_record
from accelerate_sim.reporting.connect import connect
from accelerate_sim.sim.memory.fit import tightness
from accelerate_sim.sim.memory.memory import OPTIMIZER_BYTES, WEIGHT_BYTES
from accelerate_sim.sim.run import Run

if TYPE_CHECKING:
    from accelerate_sim.faults.occurrence import Attempt, Occurrence


class SpokenPlayback(Playback):
    """A run being iterated, each record followed by what the run prints about it."""

    def __init__(self, run: Run, clock: Clock) -> None:
        super().__init__(run, clock)
        self._words = Words(run, clock)
        self._kept: list[Saved] = []
        """Checkpoints that have not been deleted."""
        self._validated: tuple[int, float] = 0, 0.0
        """Step and loss of the last validation."""
        self._epoch_loss, self._epoch_steps = 0.0, 0
        """Sum of the losses of the present epoch, and the number of its steps, as train.py counts them."""

    def _report(self, record: Record) -> None:
        super()._report(record)
        self._words.follow(self.run)
        self._say(record)
        if isinstance(record, EvalRecord):
            self._validated = record.step, record.loss

    def _say(self, record: Record) -> None:
        self._due.extend(self._words.of_record(record))

    def _script(self, text: str) -> None:
        self._due.extend(self._words.of_script(text))

    # --- Before the training ------------------------------------------------------------------------

    def _launch(self, attempt: int) -> None:
        self._say(LaunchRecord(PROGRAM, attempt))
        if warning := tightness(self.run):
            self._say(TightMemoryRecord(warning))
        if attempt:
            step = self._kept[-1].step if self._kept else 0
            self._say(ResumeRecord(str(self.directory / f"checkpoint-{step}") if step else None, ()))

    def _start_up(self) -> None:
        """Report each part that is loaded or connected, at its moment."""
        run, clock, startup = self.run, self.clock, self.run.startup
        self._reach("launch")
        self._say(model_record(run))
        clock.advance(startup.weights)
        self._reach("load")
        self._say(ModelLoadedRecord(startup.weights, run.config.train.start))
        clock.advance(startup.tokenizer)
        self._say(TokenizerRecord(run.tokenizer_name, run.model.tokenizer_vocab))
        clock.advance(startup.dataset)
        self._say(data_record(run))
        connect(run, clock, self._say, self._reach, self.directory)

    def _begin_training(self, first_step: int) -> None:
        run, train = self.run, self.run.config.train
        self._epoch_loss, self._epoch_steps = 0.0, 0
        self._script(f"Training {run.config.model_name}: {train.epochs} epochs, {run.last_step} steps")

    def _restore(self, step: int) -> None:
        if not step:
            return
        run, path = self.run, str(self.directory / f"checkpoint-{step}")
        per_epoch = run.config.train.steps_per_epoch
        load_s = run.storage.seconds(run.checkpoint_bytes, "load", step)
        self._say(RestoringRecord(path, run.checkpoint_bytes))
        self.clock.advance(load_s)
        self._say(RestoredRecord(step, load_s))
        for passed in range(step // per_epoch * per_epoch + 1, step + 1):
            self._begin_step(passed)  # the loader passes over the batches of these

    # --- Steps and pauses -----------------------------------------------------------------------------

    def _begin_step(self, step: int) -> None:
        run = self.run
        if run.batches.begins(step - 1):
            self._say(BatchRecord(step, run.batches.batch(step - 1), run.accumulation(step - 1)))

    def _end_step(self, step: int, loss: float) -> None:
        train = self.run.config.train
        self._epoch_loss, self._epoch_steps = self._epoch_loss + loss, self._epoch_steps + 1
        if step == self.run.last_step or not step % train.steps_per_epoch:
            mean, epoch = self._epoch_loss / self._epoch_steps, epoch_of(self.run, step)
            self._script(f"Epoch {epoch}/{train.epochs} | average loss {mean:.4f} over {self._epoch_steps} steps")
            self._epoch_loss, self._epoch_steps = 0.0, 0

    def _begin_validation(self, step: int) -> None:
        epoch, batches = epoch_of(self.run, step), self.run.config.eval.batches
        self._script(f"Validation after step {step} (epoch {epoch}): {batches} batches a rank")

    def _begin_saving(self, step: int, path: str) -> None:
        parameters = self.run.model.architecture.parameters
        self._say(SavingRecord(step, path, WEIGHT_BYTES * parameters, OPTIMIZER_BYTES * parameters))

    def _saved(self, step: int) -> None:
        kept, (validated, loss) = self.run.config.checkpoint, self._validated
        self._kept.append(Saved(f"checkpoint-{step}", loss if validated == step else None))
        for old in superseded(self._kept, kept):
            self._say(DeletedRecord(str(self.directory / old.name), kept.keep_last, kept.keep_best))
            self._kept.remove(old)

    # --- Faults -------------------------------------------------------------------------------------

    def _struck(self, strike: Occurrence) -> None:
        self._due.extend(self._words.of_strike(strike))

    def _ended(self, attempt: Attempt) -> None:
        """Report how the launcher ends the attempt, and the checkpoint with which the next one begins."""
        strike = attempt.ended_by
        assert strike and strike.ending
        self._due.extend(self._words.of_end(attempt))
        step = attempt.saved[-1] if attempt.saved else 0
        if strike.ending.saves and step and step not in [each.step for each in self._kept]:
            self._kept.append(Saved(f"checkpoint-{step}", None))
        self._kept = [each for each in self._kept if each.step <= step]

    # --- Export -------------------------------------------------------------------------------------

    def _begin_export(self, path: str) -> None:
        self._say(ExportingRecord(self.run.model.title, path))

    def _write_export(self, shards: Sequence[tuple[str, int]]) -> None:
        """Report the files that are written, each shard when its part of the time has passed."""
        times, clock, written = self.run.export_times, self.clock, 0
        clock.advance(times.merge + times.optimize + times.serialize)
        begin_s, total = clock.now_s, self.run.export_bytes
        for number, (name, size) in enumerate(shards, 1):
            written += size
            clock.advance_to(begin_s + times.write * written / total)
            self._say(ExportFileRecord(name, size, number, len(shards)))

    def _write_companions(self, companions: Sequence[tuple[str, int]], num_shards: int) -> None:
        for name, size in companions:
            self._say(ExportFileRecord(name, size, 0, num_shards))
