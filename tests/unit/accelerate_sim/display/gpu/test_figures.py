"""The figures of GPUs on the screen."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.display.gpu.figures import median


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=70))
def test_the_median_is_numpys(values: list[float]) -> None:
    assert median(np.array(values)) == float(np.median(values))
