"""Errors of predictions against measured runs, and the ranking of pairs of runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from accelerate_sim.calibration.columns import Measured
from accelerate_sim.calibration.fitting import predicted_tokens_per_s
from accelerate_sim.sim.memory.fit import memory_uncertainty
from accelerate_sim.sim.memory.memory import MemoryUse, peak_memory_use

WEAK_SCALING = {"n_gpus", "global_batch"}
"""Settings that together count as one change: more GPUs, each with as much to do."""


@dataclass(frozen=True)
class Comparison:
    """A measured run and its prediction."""

    run: Measured
    tokens_per_s_per_gpu: float
    memory_bytes: float
    """Predicted memory, counted as the run counted it."""
    least_bytes: float
    """Bytes that a GPU has to have for the run."""

    @property
    def error(self) -> float:
        """Predicted over measured speed, less one."""
        return self.tokens_per_s_per_gpu / self.run.tokens_per_s_per_gpu - 1

    @property
    def fits(self) -> bool:
        """True where the model predicts that the run, which took place, can."""
        return self.least_bytes <= self.run.gpu.memory_bytes

    @property
    def may_fit(self) -> bool:
        """True where the run is predicted to fit, or not to by less than the memory model's uncertainty."""
        return self.least_bytes <= (1 + memory_uncertainty(self.run.model)) * self.run.gpu.memory_bytes

    @property
    def memory_error(self) -> float | None:
        """Predicted over measured memory, less one; None where it was not measured."""
        return None if self.run.memory_bytes is None else self.memory_bytes / self.run.memory_bytes - 1


@dataclass(frozen=True)
class Errors:
    """Errors of some runs, summed up."""

    count: int
    median: float
    """Median of the absolute errors."""
    p90: float
    bias: float
    """Mean of the signed errors."""

    @classmethod
    def of(cls, errors: Sequence[float]) -> "Errors":
        sizes = sorted(abs(error) for error in errors)
        place = 0.9 * (len(sizes) - 1)
        low = int(place)
        high = min(low + 1, len(sizes) - 1)
        p90 = sizes[low] + (sizes[high] - sizes[low]) * (place - low)
        return cls(len(sizes), median(sizes), p90, fmean(errors))


def compared(runs: Sequence[Measured], constants: Mapping[str, float] | None = None) -> list[Comparison]:
    """Return every run with its prediction."""
    return [_compared(run, constants) for run in runs]


def _compared(run: Measured, constants: Mapping[str, float] | None) -> Comparison:
    use = peak_memory_use(run.model, run.layout, run.method, constants).within(run.gpu.memory_bytes)
    return Comparison(run, predicted_tokens_per_s(run, constants), _COUNTED[run.memory_kind](use), use.least)


_COUNTED: dict[str, Callable[[MemoryUse], float]] = {
    "used": lambda use: use.total,
    "reserved": lambda use: use.reserved,
    "allocated": lambda use: use.allocated,
    "states": lambda use: use.weights + use.gradients + use.optimizer + use.activations,
}
"""Parts of the memory that each way of counting includes: the driver's, the allocator's two, and a sum on paper."""


def ranked_pairs(comparisons: Sequence[Comparison]) -> Iterator[tuple[Comparison, Comparison, bool]]:
    """Yield pairs of one model's runs in a family that differ in one setting; True where they are ranked right."""
    for index, one in enumerate(comparisons):
        for other in comparisons[:index]:
            if (one.run.family, one.run.name) != (other.run.family, other.run.name) or not _one_change(one, other):
                continue
            measured = one.run.tokens_per_s_per_gpu - other.run.tokens_per_s_per_gpu
            predicted = one.tokens_per_s_per_gpu - other.tokens_per_s_per_gpu
            yield one, other, measured * predicted > 0 or measured == 0


def _one_change(one: Comparison, other: Comparison) -> bool:
    changed = {name for name, value in one.run.knobs.items() if value != other.run.knobs[name]}
    return len(changed) == 1 or changed == WEAK_SCALING
