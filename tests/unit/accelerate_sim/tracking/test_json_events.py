"""Objects of metrics.jsonl."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from accelerate_sim.tracking.json_events import places_of_highest


@given(st.lists(st.integers(0, 5), min_size=5, max_size=40))
def test_the_highest_values_come_in_order(values: list[int]) -> None:
    found = places_of_highest(np.array(values, float), 5).tolist()
    assert found == sorted(range(len(values)), key=lambda place: (-values[place], place))[:5]
