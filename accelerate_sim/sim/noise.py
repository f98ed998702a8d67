"""Random numbers without a generator: each is a hash of (seed, stream, counters).

Any process can compute any number at any time and in any order, with the same result: a run that was killed and
resumed, 64 processes of one rank each and one process of 64 ranks have the same noise. Counters may be numbers or
arrays and broadcast against each other; element k of an array result has the bits that its counters give alone.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]

# The finaliser of SplitMix64 (Steele, Lea, Flood 2014), and odd constants that distinguish the counters.
_GOLDEN_NUMBER, _MIX_1_NUMBER, _MIX_2_NUMBER = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_64_BITS = (1 << 64) - 1
_GOLDEN, _MIX_1, _MIX_2 = (np.uint64(n) for n in (_GOLDEN_NUMBER, _MIX_1_NUMBER, _MIX_2_NUMBER))
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_11 = (np.uint64(n) for n in (30, 27, 31, 11))
_SECOND_DRAW = np.uint64(0xD1B54A32D192ED03)
_SHIFT_16, _SHIFT_32 = np.uint64(16), np.uint64(32)
_LOW_SIXTEENTHS = np.uint64(0x0000FFFF0000FFFF)
_LOW_HALF = np.uint64(0xFFFFFFFF)


def seed_of(*names: object) -> int:
    """A seed derived from these names."""
    identity = "/".join(str(name) for name in names)
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=7).digest(), "little")


def uniform(seed: int, stream: str, *counters: ArrayLike) -> Floats:
    """Uniform numbers in (0, 1), at least 1-d."""
    return _to_unit(_hash(seed, stream, counters))


def normal(seed: int, stream: str, *counters: ArrayLike) -> Floats:
    """Standard normal numbers (Box-Muller), at least 1-d."""
    bits = _hash(seed, stream, counters)
    radius = np.sqrt(-2.0 * np.log(_to_unit(bits)))
    return radius * np.cos(2.0 * np.pi * _to_unit(_mix(bits ^ _SECOND_DRAW)))


def rough_normal(seed: int, stream: str, *counters: ArrayLike) -> Floats:
    """Nearly normal numbers of unit variance, without tails beyond 3.5: cheap, for figures of many GPUs.

    Each is a sum of four 16-bit parts of one hash."""
    bits = _hash(seed, stream, counters)
    parts = bits.view(np.uint16).reshape(*bits.shape, 4)
    total = parts.sum(axis=-1, dtype=np.int32)
    return np.asarray((total - 2 * 65535) * (np.sqrt(3.0) / 65536))


def exponential(seed: int, stream: str, *counters: ArrayLike) -> Floats:
    """Exponential numbers of mean 1, at least 1-d."""
    return -np.log(uniform(seed, stream, *counters))


class Draws:
    """Constants that a run draws once, such as parameters of its curves; each has a name below ``prefix``."""

    def __init__(self, seed: int, prefix: str) -> None:
        self.seed = seed
        self.prefix = prefix

    def _unit(self, name: str) -> float:
        return float(uniform(self.seed, f"{self.prefix}/{name}")[0])

    def between(self, name: str, low: float, high: float) -> float:
        """A number that is uniform in [low, high]."""
        return low + (high - low) * self._unit(name)

    def log(self, name: str, low: float, high: float) -> float:
        """A number that is log-uniform in [low, high]."""
        return float(low * (high / low) ** self._unit(name))

    def chance(self, name: str, probability: float) -> bool:
        """Return True for the share ``probability`` of all seeds."""
        return self._unit(name) < probability


def skewed(seed: int, stream: str, skew: float, *counters: ArrayLike) -> Floats:
    """Skewed numbers of mean 0 and unit variance: a normal with a share ``skew`` (-1..1) of an exponential."""
    bell = normal(seed, stream, *counters)
    if not skew:
        return bell
    return np.asarray(np.sqrt(1.0 - skew**2) * bell + skew * (exponential(seed, stream + "/tail", *counters) - 1.0))


MOST_TAPS = 160
"""Longest memory of a filter, in steps."""


def persistent(seed: int, stream: str, phi: float, steps: NDArray[np.int64]) -> Floats:
    """Noise with memory: unit variance, correlation ``phi**k`` at a distance of k steps.

    ``steps`` are consecutive. An AR(1) process as a causal filter with a fixed number of taps, so that step k does not
    need the steps before it. The taps are added one after the other, so the bits do not depend on how many are asked.
    """
    taps = min(int(np.ceil(np.log(0.02) / np.log(phi))), MOST_TAPS)
    white = normal(seed, stream, np.arange(steps[0] - taps + 1, steps[-1] + 1))
    total = np.zeros(len(steps))
    for tap in range(taps):
        start = taps - 1 - tap
        total += phi**tap * white[start : start + len(steps)]
    return np.asarray(total * np.sqrt((1.0 - phi**2) / (1.0 - phi ** (2 * taps))))


def smooth(
    seed: int, stream: str, period_s: float, second: float, *counters: ArrayLike, draw: Callable[..., Floats] = normal
) -> Floats:
    """Noise of about unit variance, continuous in ``second``, with correlation time ``period_s``."""
    knot = int(np.floor(second / period_s))
    part = second / period_s - knot
    before, after = draw(seed, stream, *counters, knot), draw(seed, stream, *counters, knot + 1)
    # Weights whose squares add up to one give the same variance between knots as on them.
    angle = 0.5 * np.pi * part
    return np.asarray(np.cos(angle) * before + np.sin(angle) * after)


class RoughNormals:
    """``rough_normal`` for fixed counters and one more that varies, with the hash of the fixed ones cached."""

    def __init__(self, seed: int, stream: str, *counters: ArrayLike) -> None:
        self._bits = _hash(seed, stream, counters)

    def at(self, counter: int) -> Floats:
        """The numbers of ``rough_normal(..., counter)``, to the bit."""
        bits = _mix(self._bits ^ (np.array([counter], np.int64).view(np.uint64) * _GOLDEN + _GOLDEN))
        pairs = (bits & _LOW_SIXTEENTHS) + ((bits >> _SHIFT_16) & _LOW_SIXTEENTHS)
        total = ((pairs + (pairs >> _SHIFT_32)) & _LOW_HALF).view(np.int64)
        return np.asarray((total - 2 * 65535) * (np.sqrt(3.0) / 65536))


class Wander:
    """``smooth`` for fixed counters at many seconds; the knots on both sides of the latest second are cached."""

    def __init__(
        self, seed: int, stream: str, period_s: float, *counters: ArrayLike, draw: Callable[..., Floats] = normal
    ) -> None:
        self._period_s = period_s
        self._draw = partial(draw, seed, stream, *counters)
        self._knots: dict[int, Floats] = {}

    def at(self, second: float) -> Floats:
        """The numbers of ``smooth``, to the bit."""
        knot = int(np.floor(second / self._period_s))
        self._knots = {
            each: self._knots[each] if each in self._knots else self._draw(each) for each in (knot, knot + 1)
        }
        angle = 0.5 * np.pi * (second / self._period_s - knot)
        return np.asarray(np.cos(angle) * self._knots[knot] + np.sin(angle) * self._knots[knot + 1])


@lru_cache(maxsize=512)
def _key(seed: int, stream: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{stream}".encode(), digest_size=8).digest(), "little")


def _hash(seed: int, stream: str, counters: tuple[ArrayLike, ...]) -> NDArray[np.uint64]:
    number, done = _key(seed, stream), 0
    for counter in counters:
        if type(counter) is not int:
            break
        number = _mix_number(number ^ (counter * _GOLDEN_NUMBER + _GOLDEN_NUMBER & _64_BITS))
        done += 1
    bits = np.array([number], np.uint64)
    for counter in counters[done:]:
        # Negative counters (the filter's steps before the first) wrap around, which gives a valid counter as well.
        bits = _mix(bits ^ (np.atleast_1d(np.asarray(counter, np.int64)).view(np.uint64) * _GOLDEN + _GOLDEN))
    return bits


def _mix_number(bits: int) -> int:
    """The bits of ``_mix``, for one number: arithmetic of Python takes a tenth of the time of an array of one."""
    bits = (bits ^ bits >> 30) * _MIX_1_NUMBER & _64_BITS
    bits = (bits ^ bits >> 27) * _MIX_2_NUMBER & _64_BITS
    return bits ^ bits >> 31


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> _SHIFT_30)) * _MIX_1
    bits = (bits ^ (bits >> _SHIFT_27)) * _MIX_2
    return np.asarray(bits ^ (bits >> _SHIFT_31))


def _to_unit(bits: NDArray[np.uint64]) -> Floats:
    # 53 bits, shifted by half a grid step: never 0 (its logarithm is taken), never 1.
    return ((bits >> _SHIFT_11).astype(np.float64) + 0.5) * 2.0**-53
