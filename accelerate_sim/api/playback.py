"""``Playback``: one run being iterated, step by step, in the order in which ``train.py`` plays it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.api.fault_places import START_PLACES, StartupEnded, is_here
from accelerate_sim.api.records import FaultRecord, TextRecord, fault_record
from accelerate_sim.api.source import faults_happen
from accelerate_sim.process.clock import Clock
from accelerate_sim.records import AttemptRecord, CheckpointRecord, ExportRecord, Record
from accelerate_sim.reporting.build import eval_record, start_record, step_record
from accelerate_sim.reporting.ledger import Ledger
from accelerate_sim.reporting.monitor import Monitor
from accelerate_sim.sim import storage
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import BLOCK, Phase

if TYPE_CHECKING:
    from accelerate_sim.faults.attempt_run import AttemptRun
    from accelerate_sim.faults.occurrence import Attempt, Occurrence


class Playback:
    """One run being iterated. ``_due`` holds the records that have been reported and not yet been handed over.

    ``SpokenPlayback`` adds lines of text; the methods that do nothing here are the moments at which it has any.
    """

    def __init__(self, run: Run, clock: Clock) -> None:
        self.run, self.clock = run, clock
        self.directory = Path("outputs", run.model.name)
        self.ledger = Ledger(run, clock)
        self.monitor = Monitor(run, self._report, None)
        self.origin_s = run.startup.total
        """Second of the clock at which the first step begins."""
        self._due: list[Record | FaultRecord | TextRecord] = []
        self._strikes: list[Occurrence] = []
        """Faults of the present attempt that have yet to strike."""
        self._data_rank = run.layout.data_rank(np.arange(run.layout.world_size))

    def _report(self, record: Record) -> None:
        self.ledger.observe(record)
        self._due.append(record)

    def records(self) -> Iterator[Record | FaultRecord | TextRecord]:
        for _ in self._moments():
            due, self._due = self._due, []
            yield from due

    def _moments(self) -> Iterator[None]:
        """Play the run; each time control comes back, what has been reported so far is handed over."""
        self._launch(0)
        self._report(start_record(self.run, self.clock.time()))
        yield
        if not faults_happen(self.run):
            self._start_up()
            self.clock.advance_to(self.origin_s)
            yield from self._attempt(0)
            return
        for attempt in self._attempts():
            yield from self._attempt(attempt.attempt.first_step)
        yield

    def _attempts(self) -> Iterator[AttemptRun]:
        """Take over the run in each of its attempts, at the moment at which the training begins or goes on."""
        from accelerate_sim.faults.attempt_run import AttemptRun
        from accelerate_sim.faults.planned import schedule_of

        base = self.run
        earlier: list[Attempt] = []
        for attempt in schedule_of(base, base.config.faults.restarts).attempts():
            run = AttemptRun.of_attempt(base, attempt, earlier)
            earlier.append(attempt)
            self.run = self.ledger.run = run
            self.monitor = Monitor(run, self._report, None)
            self._strikes = list(attempt.occurrences)
            if attempt.number:
                self.clock.advance_to(self.origin_s + run.start_s)
                self._launch(attempt.number)
                self._report(AttemptRecord(run.number, attempt.first_step, self.clock.time(), self._elapsed_s()))
            try:
                self._start_up()
            except StartupEnded:
                pass
            else:
                self.clock.advance_to(self.origin_s + (attempt.number and run.start_s + run.startup.total))
                yield run
            if attempt.ended_by:
                self._ended(attempt)

    def _elapsed_s(self) -> float:
        return round(self.clock.now_s - self.origin_s, 6)

    def _attempt(self, first_step: int) -> Iterator[None]:
        """Play the steps after ``first_step``, to the end of the run or of the attempt."""
        run, clock = self.run, self.clock
        if not first_step:
            self._begin_phase("startup", 0)
        self._begin_training(first_step)
        if self._strikes and self._strike(first_step + 1, "restore"):
            yield
            return
        self._restore(first_step)
        yield
        for step in range(first_step + 1, run.last_step + 1):
            if self._strikes and self._strike(step, "step"):
                yield
                return
            self._begin_step(step)
            clock.advance_to(self.origin_s + run.step_end_s(step - 1))
            self._report_step(step)
            yield
            validates, saves = self._pauses_after(step)
            if (validates and not self._validate(step)) or (saves and not self._save(step)):
                yield
                return
            yield
        if self._export():
            self._report(self.ledger.summary())
        yield

    def _start_up(self) -> None:
        """Pass the places before the first step. Raises StartupEnded if a fault ends the attempt at one."""
        for place in START_PLACES:
            self._reach(place)

    def _reach(self, place: str) -> None:
        """Let the faults of a place in the start-up strike. Raises StartupEnded if one ends the attempt."""
        if self._strike(1, place):
            raise StartupEnded

    def _begin_phase(self, phase: Phase, step: int) -> bool:
        """Report the GPUs in a phase that follows ``step`` steps; True if a fault ends the attempt there."""
        self.monitor.begin_phase(phase, step)
        return bool(self._strikes) and self._strike(step + 1, phase)

    def _strike(self, step: int, place: str) -> bool:
        """Let the faults strike that are next at this place before ``step`` is complete; True if one ends it all."""
        while self._strikes and is_here(self._strikes[0], step, place):
            strike = self._strikes.pop(0)
            self.clock.advance_to(self.origin_s + strike.second)
            self._due.append(fault_record(self.run.number, strike))
            self._struck(strike)
            if strike.ending:
                self.clock.advance_to(self.origin_s + strike.second + strike.ending.after_s)
                return True
        return False

    def _pauses_after(self, step: int) -> tuple[bool, bool]:
        """True for the validation and for the checkpoint that follow a step."""
        times, offset = self.run.timeline.block((step - 1) // BLOCK), (step - 1) % BLOCK
        return times.validation_s[offset] > 0.0, times.checkpoint_s[offset] > 0.0

    def _report_step(self, step: int) -> None:
        run = self.run
        micro_losses = run.micro_losses(step - 1)
        losses = micro_losses.sum(axis=0)[self._data_rank]
        loss = float(losses.mean()) / len(micro_losses)
        values = {
            "loss": loss, "perplexity": math.exp(loss), "grad_norm": run.grad_norm_at(step - 1),
            "lr": run.lr(step - 1),
        }  # fmt: skip
        memory = self.monitor.memory_used_bytes(step)
        self._report(step_record(run, values, step, self.clock.time(), memory))
        self.monitor.after_step(step, run.timing(step - 1).end_s)
        self._end_step(step, loss)

    def _validate(self, step: int) -> bool:
        """The validation after a step; False if a fault ends the attempt in it."""
        run, count = self.run, self.run.config.eval.batches
        begin_s = self.clock.now_s
        self._begin_validation(step)
        if self._begin_phase("validation", step):
            return False
        loss = 0.0
        for number in range(count):
            deviation = run.loss.validation_deviation(step, number, run.layout.data)
            loss += float((run.loss.validation(step) + deviation)[self._data_rank].mean())
        self.clock.advance_to(begin_s + count * run.evaluation_batch_s)
        values = {"eval_loss": loss / count, "eval_perplexity": math.exp(loss / count)}
        self._report(eval_record(run, values, step, self.ledger.best_loss))
        return True

    def _save(self, step: int) -> bool:
        """The checkpoint after a step; False if a fault ends the attempt in it."""
        run = self.run
        if self._begin_phase("checkpoint", step):
            return False
        seconds = run.checkpoint_seconds(step - 1)
        path = str(self.directory / f"checkpoint-{step}")
        self._begin_saving(step, path)
        self.clock.advance(seconds)
        self._report(CheckpointRecord(run.number, step, path, run.checkpoint_bytes, seconds))
        self._saved(step)
        return True

    def _export(self) -> bool:
        """The export of the model; False if a fault ends the job in it."""
        from accelerate_sim.artifacts.model_files import model_images

        run, path, end_s = self.run, str(self.directory / "final"), self.clock.now_s + self.run.export_times.total
        self._begin_export(path)
        if self._begin_phase("export", run.last_step):
            return False
        shards = storage.shards(run.model.architecture)
        companions = [(image.name, image.size_bytes) for image in model_images(run.model, "sparse")[1]]
        self._write_export(shards)
        self.clock.advance_to(end_s)
        self._write_companions(companions, len(shards))
        total = sum(size for _, size in shards)
        files = (*shards, *companions)
        self._report(ExportRecord(run.number, path, files, total, run.export_times.total, len(shards)))
        return True

    # --- Moments of a run at which records are due --------------------------------------------

    def _launch(self, attempt: int) -> None: ...

    def _begin_training(self, first_step: int) -> None: ...

    def _restore(self, step: int) -> None: ...

    def _begin_step(self, step: int) -> None: ...

    def _end_step(self, step: int, loss: float) -> None: ...

    def _struck(self, strike: Occurrence) -> None: ...

    def _ended(self, attempt: Attempt) -> None: ...

    def _begin_validation(self, step: int) -> None: ...

    def _begin_saving(self, step: int, path: str) -> None: ...

    def _saved(self, step: int) -> None: ...

    def _begin_export(self, path: str) -> None: ...

    def _write_export(self, shards: Sequence[tuple[str, int]]) -> None: ...

    def _write_companions(self, companions: Sequence[tuple[str, int]], num_shards: int) -> None: ...
