"""The median of the GPUs' figures. That of numpy is the same number, and loads its masked arrays at the first call."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def median(values: NDArray[Any]) -> float:
    """The middle one of the values, or the mean of the two in the middle; nan if one of them is nan."""
    last = len(values) - 1
    ordered = np.partition(values, (last // 2, (last + 1) // 2, last))
    if ordered[last] != ordered[last]:
        return float("nan")
    return (float(ordered[last // 2]) + float(ordered[(last + 1) // 2])) / 2
