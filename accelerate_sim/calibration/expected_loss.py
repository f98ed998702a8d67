"""``python -m accelerate_sim.calibration losses FILE``: losses of published runs beside those that ours expect.

A file is like that of ``curves``; figures are those in ``LOSSES``. A run's loss depends on the names of its model and
data, so ours are the median and the range over many data sets of other names, without the noise of batches.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accelerate_sim.calibration.curves import Series, aligned, read, short
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim import noise
from accelerate_sim.sim.noise import Floats
from accelerate_sim.sim.run import Run

EXAMPLE = "tests/reference/measured_losses.yaml"
NAMES = 24
"""Data sets of other names that a run of ours is computed for."""


def left(log: Series, share: float) -> float:
    """Nats by which the loss falls from this share of the logged values to the last ones."""
    count, around = len(log.loss), max(3, len(log.loss) // 60)
    place = int(share * (count - 1))
    return float(np.median(log.loss[max(0, place - around) : place + around + 1])) - end(log)


def end(log: Series) -> float:
    """The loss of the last hundredth of the logged values."""
    return float(np.median(log.loss[-max(5, len(log.loss) // 100) :]))


LOSSES: Mapping[str, Callable[[Series], float]] = {
    "<5.5": lambda log: log.below(5.5),
    "<4.5": lambda log: log.below(4.5),
    "@100": lambda log: log.near(log.loss, 100),
    "@1000": lambda log: log.near(log.loss, 1000),
    "left 10%": lambda log: left(log, 0.1),
    "left 30%": lambda log: left(log, 0.3),
    "left 50%": lambda log: left(log, 0.5),
    "left 80%": lambda log: left(log, 0.8),
    "end": end,
}
"""Each figure's name, and how it is made from a log."""


def losses_of(log: Series) -> dict[str, float]:
    """All figures that a log's losses give."""
    found = {name: make(log) for name, make in LOSSES.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def expected(config: Mapping[str, Any], every: int, steps: int, names: int) -> dict[str, Floats]:
    """Each figure of this many runs of a config that differ in the names of their data."""
    found: dict[str, list[float]] = {name: [] for name in LOSSES}
    nothing = np.zeros(0)
    for number in range(names):
        run = Run(RunConfig.model_validate(config))
        run.shape_seed = noise.seed_of(run.shape_seed, number)
        logged = np.arange(every - 1, min(steps, run.total_steps), every)
        log = Series(logged + 1, run.loss.trend(logged), nothing, nothing)
        for name, value in losses_of(log).items():
            found[name].append(value)
    return {name: np.array(values) for name, values in found.items() if values}


def table(runs: Sequence[Mapping[str, Any]], names: int) -> list[str]:
    """One row per run: each figure as the log has it, and the median and range of ours."""
    rows = [["run", *LOSSES]]
    for each in runs:
        ours, real = expected(each["config"], each["every"], each["steps"], names), each["measured"]
        cells = [f"{short(real[name])} | {_spread(ours.get(name))}" if name in real else "-" for name in LOSSES]
        rows.append([str(each["run"]), *cells])
    return aligned(rows)


def _spread(values: Floats | None) -> str:
    if values is None:
        return "-"
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return f"{short(middle)} [{short(low)}..{short(high)}]"


def run(arguments: Sequence[str]) -> int:
    """Print the table of the files that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m accelerate_sim.calibration losses",
        description="Print losses of published logs beside those that our runs of the same config expect: log | median "
        "[10 %..90 %] over data sets of other names. Columns: steps until 5.5 and 4.5 nats, losses at steps 100 and "
        "1000, nats that are left to fall at a share of the run, and the end.",
    )
    parser.add_argument("files", nargs="+", type=Path, help=f"YAML files, e.g. {EXAMPLE}")
    parser.add_argument("--names", type=int, default=NAMES, help=f"number of data sets (default {NAMES})")
    options = parser.parse_args(arguments)
    if options.names < 1:
        parser.error(f"--names is {options.names}; give 1 or more data sets, {NAMES} for a stable median")
    found = [each for path in options.files for each in read(path, LOSSES, EXAMPLE)]
    print(*table(found, options.names), sep="\n")
    return 0
