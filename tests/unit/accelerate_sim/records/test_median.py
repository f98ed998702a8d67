"""The median of GPUs' figures is numpy's, to the bit, and needs no masked arrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.records.median import median

FIGURES = st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), min_size=1, max_size=70)


@given(FIGURES)
def test_it_is_numpys(values: list[float]) -> None:
    np.testing.assert_equal(median(np.array(values)), float(np.median(values)))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=70))
def test_it_is_numpys_for_counts(values: list[int]) -> None:
    assert median(np.array(values)) == float(np.median(values))


def test_a_plan_imports_no_masked_arrays() -> None:
    """numpy 1 imports them itself."""
    code = (
        "import runpy, sys\nimport numpy\nbefore = 'numpy.ma' in sys.modules\n"
        "sys.argv[1:] = ['--config', 'llama70b', '--plan']\n"
        "try:\n    runpy.run_module('accelerate_sim.train', run_name='__main__')\n"
        "except SystemExit:\n    pass\nprint(('numpy.ma' in sys.modules) == before)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.endswith("\nTrue\n")
