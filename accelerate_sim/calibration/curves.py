"""``python -m accelerate_sim.calibration curves FILE``: curves of published runs beside ours of the same config.

A file holds a list of runs: ``run`` (a name), ``source`` (where the log is), ``config`` (keys of a config file),
``every`` (steps from one logged value to the next), ``steps`` (the last logged one) and ``measured`` (figures of the
log by their names in ``FIGURES``). The figures of ours are made by the same functions from one run of that config.
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from accelerate_sim.calibration.run_table import BadInput
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.sim.noise import Floats, Steps
from accelerate_sim.sim.run import Run

MOST_STEPS = 20_000
"""Steps of a run of ours that are played at most."""
NEIGHBOURS = 21
"""Values whose median is the level around each of them."""
EXAMPLE = "tests/reference/measured_curves.yaml"
NEEDED = ("run", "source", "config", "every", "steps", "measured")


@dataclass(frozen=True)
class Series:
    """The logged values of a run; ``nan`` where a logger writes none."""

    step: Steps
    loss: Floats
    grad_norm: Floats
    step_s: Floats

    def near(self, values: Floats, step: int) -> float:
        """The value at a step, from 1; beyond step 20 the median of five."""
        if step > self.step[-1]:
            return math.nan
        place = int(np.searchsorted(self.step, step))
        around = 2 if step > 20 else 0
        return float(np.median(values[max(0, place - around) : place + around + 1]))

    def below(self, nats: float) -> float:
        """Steps until the loss, as a mean of nine values, is below ``nats``."""
        if len(self.loss) < NEIGHBOURS:
            return math.nan
        smooth = np.convolve(self.loss, np.ones(9) / 9, "valid")
        found = np.flatnonzero(smooth < nats)
        return float(self.step[found[0] + 4]) if len(found) else math.nan

    @property
    def settled_s(self) -> Floats:
        """Step times without the first ones, which compile and connect."""
        return self.step_s[min(5, len(self.step_s) // 20) :]

    def core_pct(self) -> float:
        """Usual distance of a step time from the level around it, in per cent."""
        logs = np.log(self.settled_s)
        level = np.median(np.lib.stride_tricks.sliding_window_view(logs, NEIGHBOURS), axis=1)
        off = logs[NEIGHBOURS // 2 : -(NEIGHBOURS // 2)] - level
        return float(148.26 * np.median(np.abs(off - np.median(off))))

    def over_median(self, share: float) -> float:
        """The step time below which this share of the steps is, over the median."""
        return float(np.quantile(self.settled_s, share) / np.median(self.settled_s))

    def memory(self, distance: int) -> float:
        """Correlation of step times this many values apart."""
        logs = np.log(self.settled_s)
        off = np.clip(logs - np.median(logs), *np.quantile(logs - np.median(logs), (0.01, 0.99)))
        off = off - off.mean()
        return float(np.mean(off[distance:] * off[:-distance]) / max(float(np.mean(off**2)), 1e-18))


FIGURES: Mapping[str, tuple[str, Callable[[Series], float]]] = {
    "s/step": ("step_s", lambda log: float(np.median(log.settled_s))),
    "core %": ("step_s", Series.core_pct),
    "p99/p50": ("step_s", lambda log: log.over_median(0.99)),
    "max/p50": ("step_s", lambda log: log.over_median(1.0)),
    "r(1)": ("step_s", lambda log: log.memory(1)),
    "r(20)": ("step_s", lambda log: log.memory(20)),
    "<5.5": ("loss", lambda log: log.below(5.5)),
    "<4.5": ("loss", lambda log: log.below(4.5)),
    "loss@10": ("loss", lambda log: log.near(log.loss, 10)),
    "@100": ("loss", lambda log: log.near(log.loss, 100)),
    "@1000": ("loss", lambda log: log.near(log.loss, 1000)),
    "end": ("loss", lambda log: float(np.median(log.loss[-9:]))),
    "norm@10": ("grad_norm", lambda log: log.near(log.grad_norm, 10)),
    "n@100": ("grad_norm", lambda log: log.near(log.grad_norm, 100)),
    "n@5000": ("grad_norm", lambda log: log.near(log.grad_norm, 5000)),
}
"""Each figure's name, the series it is made from, and how."""


def figures_of(log: Series) -> dict[str, float]:
    """All figures that a log's values give."""
    found = {}
    for name, (series, make) in FIGURES.items():
        values = getattr(log, series)
        if len(values) > 2 * NEIGHBOURS and np.isfinite(values).all():
            found[name] = make(log)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def played(config: Mapping[str, Any], every: int, steps: int) -> Series:
    """Our run of a config, logged at every so many steps; step times are means over the interval."""
    run = Run(RunConfig.model_validate(config))
    last = min(steps, MOST_STEPS, run.total_steps) // every * every
    blocks = [run.block_of(step) for step in range(0, last, 256)]
    loss, norm, step_s = (
        np.concatenate([getattr(block, name) for block in blocks])[:last] for name in ("loss", "grad_norm", "step_s")
    )
    logged = np.arange(every - 1, last, every)
    return Series(logged + 1, loss[logged], norm[logged], step_s.reshape(-1, every).mean(axis=1))


def table(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One row per run: each figure as the log has it and as ours has it."""
    rows = [["run", *FIGURES]]
    for each in runs:
        own, real = figures_of(played(each["config"], each["every"], each["steps"])), each["measured"]
        cells = [f"{short(real[name])} | {short(own.get(name))}" if name in real else "-" for name in FIGURES]
        rows.append([str(each["run"]), *cells])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows with each column as wide as its widest cell."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def short(value: float | None) -> str:
    """Three digits of a figure, or all before the point."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def read(path: Path, figures: Mapping[str, object] = FIGURES, example: str = EXAMPLE) -> list[dict[str, Any]]:
    """The runs of a file with some of ``figures``; raise :class:`BadInput` where it is not what the docstring says."""
    try:
        runs = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); give a file like {example}") from None
    if not isinstance(runs, list) or not runs:
        raise BadInput(f"{path}: holds no list of runs; give a file like {example}")
    for number, each in enumerate(runs, 1):
        missing = [key for key in NEEDED if not isinstance(each, dict) or key not in each]
        if missing:
            raise BadInput(f"{path}: run {number} lacks {', '.join(missing)}; it needs {', '.join(NEEDED)}")
        try:
            RunConfig.model_validate(each["config"])
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise BadInput(f"{path}: run {each['run']!r}: config key {key}: {first['msg']}") from None
        if unknown := sorted(set(each["measured"]) - set(figures)):
            raise BadInput(
                f"{path}: run {each['run']!r} has unknown figures {', '.join(unknown)}; known are {', '.join(figures)}"
            )
    return runs


def run(arguments: Sequence[str]) -> int:
    """Print the table of the files that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m accelerate_sim.calibration curves",
        description="Print figures of published logs beside those of our runs of the same config: log | ours. Columns: "
        "seconds a step, its usual scatter, late steps, memory; steps until 5.5 and 4.5 nats; loss and gradient norm.",
    )
    parser.add_argument("files", nargs="+", type=Path, help="YAML files, e.g. tests/reference/measured_curves.yaml")
    options = parser.parse_args(arguments)
    print(*table([each for path in options.files for each in read(path)]), sep="\n")
    return 0
