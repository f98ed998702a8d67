"""``play``: the records of a run, one after the other, as metrics.jsonl would hold them.

Records are computed as they are asked for. The order of what happens in a run is that of ``train.py``; figures come
from the same simulation, so a run that is iterated here and one that is played by the script agree to the digit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from accelerate_sim.api.source import Config, planned_run
from accelerate_sim.process.clock import Clock
from accelerate_sim.records import CheckpointRecord, ExportRecord, Record
from accelerate_sim.reporting.build import eval_record, start_record, step_record
from accelerate_sim.reporting.ledger import Ledger
from accelerate_sim.reporting.monitor import Monitor
from accelerate_sim.sim import storage
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import BLOCK


def play(
    config: Config,
    changes: Sequence[str] = (),
    *,
    seed: int | None = None,
    speed: float | str = "max",
    start: datetime | None = None,
) -> Iterator[Record]:
    """Iterate the records of a run from its start to its summary.

    ``config`` is a file, the name of a shipped config, or nested keys and values; ``changes`` are as those of
    ``--set``. ``speed`` is the number of simulated seconds in a real one; ``"max"`` never waits. ``start`` is the
    simulated date and time at which the run begins; None: now. Raises ConfigError, before the first record.
    """
    run = planned_run(config, [*changes, f"run.speed={speed}", "run.startup_speed=null"], seed=seed)
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
        self._due: list[Record] = []
        self._data_rank = run.layout.data_rank(np.arange(run.layout.world_size))

    def _report(self, record: Record) -> None:
        self.ledger.observe(record)
        self._due.append(record)

    def records(self) -> Iterator[Record]:
        for _ in self._moments():
            due, self._due = self._due, []
            yield from due

    def _moments(self) -> Iterator[None]:
        """Play the run; each time control comes back, what has been reported so far is handed over."""
        run, clock = self.run, self.clock
        self._report(start_record(run, clock.time()))
        yield
        origin_s = run.startup.total
        clock.advance_to(origin_s)
        self.monitor.begin_phase("startup", 0)
        yield
        for step in range(1, run.last_step + 1):
            clock.advance_to(origin_s + run.timeline.step_end_s(step - 1))
            self._report_step(step)
            yield
            validates, saves = self._pauses_after(step)
            if validates:
                self._validate(step)
                yield
            if saves:
                self._save(step)
                yield
        self._export()
        self._report(self.ledger.summary())
        yield

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

    def _validate(self, step: int) -> None:
        run, count = self.run, self.run.config.eval.batches
        begin_s = self.clock.now_s
        self.monitor.begin_phase("validation", step)
        loss = 0.0
        for number in range(count):
            deviation = run.loss.validation_deviation(step, number, run.layout.data)
            loss += float((run.loss.validation(step) + deviation)[self._data_rank].mean())
        self.clock.advance_to(begin_s + count * run.evaluation_batch_s)
        values = {"eval_loss": loss / count, "eval_perplexity": math.exp(loss / count)}
        self._report(eval_record(run, values, step, self.ledger.best_loss))

    def _save(self, step: int) -> None:
        run = self.run
        self.monitor.begin_phase("checkpoint", step)
        seconds = run.checkpoint_seconds(step - 1)
        self.clock.advance(seconds)
        path = str(self.directory / f"checkpoint-{step}")
        self._report(CheckpointRecord(run.number, step, path, run.checkpoint_bytes, seconds))

    def _export(self) -> None:
        from accelerate_sim.artifacts.model_files import model_images

        run = self.run
        self.monitor.begin_phase("export", run.last_step)
        self.clock.advance(run.export_times.total)
        shards = storage.shards(run.model.architecture)
        companions = [(image.name, image.size_bytes) for image in model_images(run.model, "sparse")[1]]
        total = sum(size for _, size in shards)
        path, files = str(self.directory / "final"), (*shards, *companions)
        self._report(ExportRecord(run.number, path, files, total, run.export_times.total, len(shards)))
