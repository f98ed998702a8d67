"""Fit the constants to measured runs: robust least squares on logarithms, held near prior values.

Levenberg-Marquardt with a numerical Jacobian. A constant that is its ``trust`` away from its prior costs as much
as a run that is its spread off. So constants on which the runs do not depend keep their published values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelerate_sim.calibration.columns import Measured
from accelerate_sim.catalog import Constant
from accelerate_sim.sim.speed.throughput import Throughput

SPREAD_DENSE, SPREAD_EXPERTS = 0.05, 0.15
"""Standard deviations of the logarithm of a run's speed that nothing explains, as clusters and releases differ."""
OUTLIER = 1.0
"""Spreads beyond which an error counts linearly, not squared (Huber)."""
CAUTION = 0.7
"""Share of a constant's trust that the fit uses: of 0.4 to 1.5 the one with the least mean error of families left out;
between 0.5 and 1 that changes by 1.5 % of itself."""
MOST_ROUNDS = 20
ENOUGH = 1e-4
"""Relative gain below which a round is the last."""
FEWEST_RUNS = 20
"""Least number of runs to fit to: with fewer, a quarter of them judges nothing, and the rest fits by chance."""
TRIES_WITHOUT = 12
"""Steps of the search when a family or some rows are left out."""
NUDGE = 1e-3
"""Step of the numerical derivatives, in logarithms."""

Vector = NDArray[np.float64]
Progress = Callable[[str], None]


def predicted_tokens_per_s(run: Measured, constants: Mapping[str, float] | None = None) -> float:
    """Return the predicted tokens per second and GPU."""
    step = Throughput(run.model, run.gpu, run.layout, run.network, run.method, constants).step()
    return run.layout.tokens_per_step / step.total / run.layout.world_size


class Fit:
    """A search for the constants that predict some runs best, with all of the runs or without some."""

    def __init__(self, runs: Sequence[Measured], table: Mapping[str, Constant]) -> None:
        self.runs = runs
        self.names = [name for name, constant in table.items() if constant.trust > 0]
        self.fixed = {name: constant.value for name, constant in table.items()}
        self.prior, self.low, self.high = (
            np.log([getattr(table[name], field) for name in self.names]) for field in ("prior", "low", "high")
        )
        self.trust = CAUTION * np.array([table[name].trust for name in self.names])
        self.measured = np.log([run.tokens_per_s_per_gpu for run in runs])
        self.spread = np.array([SPREAD_EXPERTS if run.model.moe else SPREAD_DENSE for run in runs])
        self.point = np.clip(self.prior, self.low, self.high)
        self._known: tuple[Vector, Vector, Vector] | None = None

    def constants(self, point: Vector) -> dict[str, float]:
        """Return all constants at a point of the search."""
        return self.fixed | dict(zip(self.names, np.exp(point).tolist(), strict=True))

    def improve(self, progress: Progress = lambda text: None) -> dict[str, float]:
        """Search from the present point; return the constants found."""
        every_run = np.ones(len(self.runs))
        off, damping = self._off(self.point), 1e-2
        for done in range(1, MOST_ROUNDS + 1):
            before = _cost(off, every_run)
            jacobian = self._jacobian(self.point, off)
            for _ in range(8):
                tried = self._moved(self.point, off, jacobian, every_run, damping)
                off_then = self._off(tried)
                if _cost(off_then, every_run) < before:
                    self.point, off, damping = tried, off_then, damping / 4
                    break
                damping *= 5
            gain = 1 - _cost(off, every_run) / before if before else 0.0
            progress(f"round {done}: misfit {_cost(off, every_run):,.0f}")
            if gain < ENOUGH:
                break
        return self.constants(self.point)

    def without(self, families: Sequence[str], progress: Progress = lambda text: None) -> dict[str, dict[str, float]]:
        """Return, for each family, the constants that the other runs alone give.

        The Jacobian is that of the present point: the search stays near it, and evaluating the model is what costs.
        """
        found = {}
        for family in families:
            found[family] = self.without_rows([run.family == family for run in self.runs])
            progress(f"without {family}")
        return found

    def without_rows(self, left_out: Sequence[bool]) -> dict[str, float]:
        """Return the constants that the kept runs alone give, searched from the present point."""
        kept = 1.0 - np.array(left_out, dtype=np.float64)
        off, jacobian = self._here()
        point, damping = self.point, 1e-2
        for _ in range(TRIES_WITHOUT):
            tried = self._moved(point, off, jacobian, kept, damping)
            off_then = self._off(tried)
            if _cost(off_then, kept) < _cost(off, kept):
                point, off, damping = tried, off_then, damping / 4
            else:
                damping *= 5
        return self.constants(point)

    def _here(self) -> tuple[Vector, Vector]:
        """Return misfit and Jacobian at the present point, computed once for each point."""
        if self._known is None or self._known[0] is not self.point:
            off = self._off(self.point)
            self._known = self.point, off, self._jacobian(self.point, off)
        return self._known[1], self._known[2]

    def _off(self, point: Vector) -> Vector:
        """Return the errors of runs, in spreads, and the distances of constants from their priors, in trusts."""
        constants = self.constants(point)
        predicted = np.log([predicted_tokens_per_s(run, constants) for run in self.runs])
        return np.concatenate([(predicted - self.measured) / self.spread, (point - self.prior) / self.trust])

    def _jacobian(self, point: Vector, off: Vector) -> Vector:
        """Return the derivatives of ``_off``; a run is predicted anew only for the constants that it reads."""
        read = [read_by(run, self.constants(point)) for run in self.runs]
        jacobian = np.zeros((len(off), len(point)))
        for index, name in enumerate(self.names):
            nudged = point.copy()
            nudged[index] += NUDGE
            constants = self.constants(nudged)
            for row, run in enumerate(self.runs):
                if name in read[row]:
                    there = (np.log(predicted_tokens_per_s(run, constants)) - self.measured[row]) / self.spread[row]
                    jacobian[row, index] = (there - off[row]) / NUDGE
            jacobian[len(self.runs) + index, index] = 1 / self.trust[index]
        return jacobian

    def _moved(self, point: Vector, off: Vector, jacobian: Vector, kept: Vector, damping: float) -> Vector:
        """Take one damped, robust Newton step over the runs that are kept.

        Constants that the step would take beyond a bound stop there, and the others move as that leaves them.
        """
        weight = np.ones(len(off))
        weight[: len(kept)] = kept * OUTLIER / np.maximum(np.abs(off[: len(kept)]), OUTLIER)
        normal = jacobian.T @ (weight[:, None] * jacobian)
        damped, slope = normal + damping * np.diag(np.diag(normal)), jacobian.T @ (weight * off)
        step, free = np.zeros(len(point)), np.ones(len(point), dtype=bool)
        while free.any():
            rest = slope[free] - damped[np.ix_(free, ~free)] @ step[~free]
            step[free] = np.linalg.solve(damped[np.ix_(free, free)], rest)
            within = np.clip(point - step, self.low, self.high)
            beyond = free & (within != point - step)
            if not beyond.any():
                break
            step[beyond] = (point - within)[beyond]
            free &= ~beyond
        return np.clip(point - step, self.low, self.high)


class _Noted(dict[str, float]):
    """Constants by name; ``read`` collects the names that have been looked up."""

    def __init__(self, constants: Mapping[str, float]) -> None:
        super().__init__(constants)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> float:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None, /) -> Any:
        self.read.add(name)
        return super().get(name, default)


def read_by(run: Measured, constants: Mapping[str, float]) -> set[str]:
    """Return the names of the constants that the prediction of a run depends on."""
    noted = _Noted(constants)
    predicted_tokens_per_s(run, noted)
    return noted.read


def _cost(off: Vector, kept: Vector) -> float:
    runs, constants = off[: len(kept)], off[len(kept) :]
    near = np.minimum(np.abs(runs), OUTLIER)
    return float((kept * (near**2 + 2 * OUTLIER * (np.abs(runs) - near))).sum() + (constants**2).sum())
