"""``play``: the records of a run, one after the other, as metrics.jsonl would hold them.

Records are computed as they are asked for. The order of what happens in a run is that of ``train.py``; figures come
from the same simulation, so a run that is iterated here and one that is played by the script agree to the digit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.api.source import Config, planned_run
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

PLACES: dict[str, str] = {"eval": "validation", "checkpoint": "checkpoint", "export": "export", "exit": "export"}
"""Phases of the run in which the faults of these phases strike; all others strike before a step."""


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault strikes. metrics.jsonl holds none of these; faults.jsonl has more about each."""

    run: int
    id: str
    occurrence: int
    """Number of the strike of this fault, from 0."""
    kind: str
    attempt: int
    """Number of the attempt, from 0."""
    step: int
    phase: str
    elapsed_s: float
    """Seconds since the first step of the run began."""
    ranks: tuple[int, ...]
    ends_attempt: bool
    """True if the job ends by it: it goes on from a checkpoint, or not at all."""


def play(
    config: Config,
    changes: Sequence[str] = (),
    *,
    seed: int | None = None,
    speed: float | str = "max",
    start: datetime | None = None,
    faults: Sequence[str] = (),
) -> Iterator[Record | FaultRecord]:
    """Iterate the records of a run from its start to its summary.

    ``config`` is a file, the name of a shipped config, or nested keys and values; ``changes`` are as those of
    ``--set``, ``faults`` as those of ``--fault``. A run whose restarts are used up ends without a summary. ``speed`` is
    the number of simulated seconds in a real one; ``"max"`` never waits. ``start`` is the simulated date and time at
    which the run begins; None: now. Raises ConfigError, before the first record.
    """
    run = planned_run(config, [*changes, f"run.speed={speed}", "run.startup_speed=null"], seed=seed, faults=faults)
    pace = run.config.run.speed
    return _Playback(run, Clock(start or datetime.now().replace(microsecond=0), pace, _sleep)).records()


def _sleep(seconds: float) -> None:
    if seconds > 0.0:  # a sleep of no time gives the processor to others
        time.sleep(seconds)


class _Playback:
    """One run being iterated. ``_due`` holds the records that have been reported and not yet been handed over."""

    def __init__(self, run: Run, clock: Clock) -> None:
        self.run, self.clock = run, clock
        self.directory = Path("outputs", run.model.name)
        self.ledger = Ledger(run, clock)
        self.monitor = Monitor(run, self._report, None)
        self.origin_s = run.startup.total
        """Second of the clock at which the first step begins."""
        self._due: list[Record | FaultRecord] = []
        self._strikes: list[Occurrence] = []
        """Faults of the present attempt that have yet to strike."""
        self._data_rank = run.layout.data_rank(np.arange(run.layout.world_size))

    def _report(self, record: Record) -> None:
        self.ledger.observe(record)
        self._due.append(record)

    def records(self) -> Iterator[Record | FaultRecord]:
        for _ in self._moments():
            due, self._due = self._due, []
            yield from due

    def _moments(self) -> Iterator[None]:
        """Play the run; each time control comes back, what has been reported so far is handed over."""
        self._report(start_record(self.run, self.clock.time()))
        yield
        faults = self.run.config.faults
        if not (faults.play or (faults.drawn == "play" and faults.rate)):
            self.clock.advance_to(self.origin_s)
            yield from self._attempt(0)
            return
        for attempt in self._attempts():
            yield from self._attempt(attempt.attempt.first_step)

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
                self._report(AttemptRecord(run.number, attempt.first_step, self.clock.time(), self._elapsed_s()))
            self.clock.advance_to(self.origin_s + (attempt.number and run.start_s + run.startup.total))
            yield run

    def _elapsed_s(self) -> float:
        return round(self.clock.now_s - self.origin_s, 6)

    def _attempt(self, first_step: int) -> Iterator[None]:
        """Play the steps after ``first_step``, to the end of the run or of the attempt."""
        run, clock = self.run, self.clock
        if not first_step and self._begin_phase("startup", 0):
            return
        yield
        for step in range(first_step + 1, run.last_step + 1):
            if self._strikes and self._strike(step, "step"):
                yield
                return
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

    def _begin_phase(self, phase: Phase, step: int) -> bool:
        """Report the GPUs in a phase that follows ``step`` steps; True if a fault ends the attempt there."""
        self.monitor.begin_phase(phase, step)
        return bool(self._strikes) and self._strike(step + 1, phase)

    def _strike(self, step: int, place: str) -> bool:
        """Let the faults strike that are next at this place before ``step`` is complete; True if one ends it all."""
        while self._strikes and self._is_here(self._strikes[0], step, place):
            strike = self._strikes.pop(0)
            self.clock.advance_to(self.origin_s + strike.second)
            self._due.append(
                FaultRecord(
                    self.run.number, strike.fault.id, strike.number, strike.fault.kind, strike.attempt, strike.step,
                    strike.phase, round(strike.second, 6), strike.hit.ranks, strike.ending is not None,
                )
            )  # fmt: skip
            if strike.ending:
                self.clock.advance_to(self.origin_s + strike.second + strike.ending.after_s)
                return True
        return False

    @staticmethod
    def _is_here(strike: Occurrence, step: int, place: str) -> bool:
        if place == "step":  # a place that the run passes without a stop is made up for before the next step
            return strike.step < step or (strike.step == step and strike.phase not in PLACES)
        return strike.step == step and PLACES.get(strike.phase) == place

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

    def _validate(self, step: int) -> bool:
        """The validation after a step; False if a fault ends the attempt in it."""
        run, count = self.run, self.run.config.eval.batches
        begin_s = self.clock.now_s
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
        self.clock.advance(seconds)
        path = str(self.directory / f"checkpoint-{step}")
        self._report(CheckpointRecord(run.number, step, path, run.checkpoint_bytes, seconds))
        return True

    def _export(self) -> bool:
        """The export of the model; False if a fault ends the job in it."""
        from accelerate_sim.artifacts.model_files import model_images

        run = self.run
        if self._begin_phase("export", run.last_step):
            return False
        self.clock.advance(run.export_times.total)
        shards = storage.shards(run.model.architecture)
        companions = [(image.name, image.size_bytes) for image in model_images(run.model, "sparse")[1]]
        total = sum(size for _, size in shards)
        path, files = str(self.directory / "final"), (*shards, *companions)
        self._report(ExportRecord(run.number, path, files, total, run.export_times.total, len(shards)))
        return True
