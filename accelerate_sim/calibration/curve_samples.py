"""Plays many different runs as numbers alone and writes each as a table, to be compared with real training logs.

    python -m accelerate_sim.calibration.curve_samples DIRECTORY [DRAWING]

DRAWING 2, 3, ... draws all habits and shapes anew, as of models and data with other names: it shows how much a verdict
scatters. Columns: step, loss, grad_norm, lr, step_time_s, tokens_per_s; empty where a logger of that kind writes
nothing. The kinds of runs are in ``curve_kinds``. The classifier that compares them and the public logs are not part of
this repository; accelerate_sim/calibration/CURVES.md names them and has the verdict.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from accelerate_sim.calibration.curve_kinds import KINDS
from accelerate_sim.calibration.logged_kind import Kind
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Draws, Floats
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import BLOCK

COLUMNS = ("step", "loss", "grad_norm", "lr", "step_time_s", "tokens_per_s")
SMOOTHING = 0.9
"""Share of the past in a smoothed loss (nanochat)."""
LOGGER_S = (0.03, 0.08)
"""Range of the standard deviation of the seconds that a benchmark's logger takes for a value: 31 to 75 ms between means
over 32 steps, on five machines of 8 to 72 GPUs whose steps take 0.16 to 0.55 s."""
Row = tuple[str, ...]


@dataclass
class Logger:
    """The state of a logger of one kind between two values."""

    kind: Kind
    run: Run
    clock_s: int = 0
    before_s: float = 0.0
    smoothed: float = 0.0
    seen: int = 0

    def loss(self, step: int, of_interval: Floats) -> str:
        """The loss written after ``step``; ``of_interval`` holds those of the steps since the last value."""
        match self.kind.losses:
            case "none":
                return ""
            case "rank":
                return f"{float(self.run.micro_losses(step)[-1, 0]):.6f}"
            case "mean":
                return f"{float(of_interval.mean()):.4f}"
            case "smoothed":
                for each in range(step + 1 - self.kind.every, step + 1):
                    self.seen += 1
                    own = float(self.run.micro_losses(each)[-1, 0])
                    self.smoothed += (1.0 - SMOOTHING) * (own - self.smoothed)
                return f"{self.smoothed / (1.0 - SMOOTHING**self.seen):.6f}"
        return f"{float(of_interval[-1]):.8g}"

    def seconds(self, of_interval: Floats, end_s: float) -> float:
        """The step time written after a step that ends at ``end_s``; ``of_interval`` holds those of its interval."""
        kind = self.kind
        if kind.times == "interval":
            return round(float(of_interval.mean()), 5)
        if kind.times == "benchmark":
            return float(of_interval.mean()) + self._own_seconds(end_s) / kind.every
        if kind.times == "between":
            now_s = round(end_s, kind.clock_decimals)
            took_s, self.before_s = (now_s - self.before_s) / kind.every, now_s
            return took_s
        if kind.times == "clock":
            took_s, self.clock_s = (int(end_s) - self.clock_s) / kind.every, int(end_s)
            return took_s
        return float(of_interval[-1])

    def _own_seconds(self, end_s: float) -> float:
        """Seconds by which the logger takes longer than usual for the value at ``end_s``; negative if it is faster."""
        seed = self.run.shape_seed
        draws = Draws(seed, "logger")
        return draws.log("seconds", *LOGGER_S) * float(noise.normal(seed, "logger", int(1000 * end_s))[0])


def run_of(one: Kind, seed: int, drawing: int = 1) -> Run:
    """The run of a kind with this seed and drawing."""
    run = Run(RunConfig.model_validate({**one.config, "run": {"seed": seed}}))
    if drawing > 1:
        run.shape_seed = noise.seed_of(run.shape_seed, drawing)
    if one.warmed_up:
        run.step_times = replace(
            run.step_times, habits=replace(run.step_times.habits, first_extra_s=0.0, second_factor=1.0)
        )
    if one.work:
        of_step, total = one.work, run.total_steps
        run.step_times = replace(run.step_times, work_of=lambda steps: of_step(steps, total))
    return run


def played(one: Kind, seed: int, drawing: int = 1) -> Iterator[Row]:
    """The rows of a run as its logger writes them."""
    run = run_of(one, seed, drawing)
    logger = Logger(one, run)
    for first in range(0, run.total_steps, BLOCK * one.every):
        last = min(first + BLOCK * one.every, run.total_steps)
        blocks = [run.block_of(step) for step in range(first, last, BLOCK)]
        loss, norm, lr, step_s, end_s = (
            np.concatenate([getattr(block, name) for block in blocks])[: last - first]
            for name in ("loss", "grad_norm", "lr", "step_s", "step_end_s")
        )
        for row in range(one.every - 1, last - first, one.every):
            if first + row < one.begins:
                continue
            interval = slice(row - one.every + 1, row + 1)
            own = logger.loss(first + row, loss[interval])
            seconds = logger.seconds(step_s[interval], float(end_s[row]))
            timed = one.times != "none" and seconds > 0.0
            times = (f"{seconds:.8g}", f"{run.tokens_of(first + row) / seconds:.8g}") if timed else ("", "")
            norm_text = f"{norm[row]:.8g}" if one.norms else ""
            yield (str(first + row + 1), own, norm_text, f"{lr[row]:.6g}", *times)


def main() -> int:
    """Write all runs below the directory that the command line names."""
    drawing = sys.argv[2] if len(sys.argv) > 2 else "1"
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-") or not drawing.isdigit() or drawing == "0":
        print(__doc__, file=sys.stderr)
        return 2
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    first = 100 * (int(drawing) - 1) + 1
    for one in KINDS:
        for seed in range(first, first + one.seeds):
            path = directory / f"{one.name}-{seed}.csv"
            path.unlink(missing_ok=True)  # rather than to follow it, if it is a link
            with path.open("x", newline="", encoding="utf-8") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(COLUMNS)
                table.writerows(played(one, seed, int(drawing)))
    print(f"{sum(one.seeds for one in KINDS)} runs of {len(KINDS)} configs in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
