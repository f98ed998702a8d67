"""Pictures of the cluster: a heat map is empty while no attempt is under way."""

from __future__ import annotations

import numpy as np

from accelerate_sim.report.cluster_pictures import _resampled


def test_a_heat_map_is_empty_between_two_attempts() -> None:
    table, time = np.array([[50.0, 60.0], [55.0, 65.0], [40.0, 45.0]]), np.array([1.0, 4.0, 10.0])
    grid, end = _resampled(table, time, np.array([[0.0, 5.0], [8.0, 10.0]]))
    column = (np.arange(len(grid)) + 0.5) * end / len(grid)
    empty = np.isnan(grid).all(axis=1)
    assert end == 10.0
    assert empty.tolist() == ((column > 5.0) & (column < 8.0)).tolist()
    assert np.unique(grid[~empty][:, 0]).tolist() == [40.0, 50.0, 55.0]


def test_a_heat_map_of_one_attempt_has_a_column_for_each_look() -> None:
    grid, _ = _resampled(np.array([[50.0], [55.0]]), np.array([1.0, 2.0]), np.array([[0.0, 2.0]]))
    assert grid.tolist() == [[50.0], [55.0]]
