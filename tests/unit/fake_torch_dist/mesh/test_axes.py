"""Rank arithmetic of meshes, without a world."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.mesh.axes import all_lines, axes_of_shape, is_rising, joined, overlap, split, strides

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def test_lines_of_a_mesh_of_two_by_three():
    rows, columns = axes_of_shape((2, 3))
    assert (rows, columns) == ((0, 3), (0, 1, 2))
    assert all_lines([rows], 6) == [[0, 3], [1, 4], [2, 5]]
    assert all_lines([columns], 6) == [[0, 1, 2], [3, 4, 5]]


@given(shapes, st.data())
def test_lines_along_any_dimensions_hold_every_rank_once(shape, data):
    axes = axes_of_shape(shape)
    chosen = data.draw(st.lists(st.sampled_from(range(len(axes))), unique=True))
    size = len(joined(axes))
    lines = all_lines([axes[index] for index in sorted(chosen)], size)
    assert sorted(index for line in lines for index in line) == list(range(size))


@given(shapes)
def test_split_undoes_joined(shape):
    axes = axes_of_shape(shape)
    assert split(joined(axes), shape) == axes
    assert is_rising(axes) and not overlap(axes)


def test_strides_of_regular_and_irregular_dimensions():
    first, second, third = axes_of_shape((2, 2, 2))
    assert [strides(axis) for axis in (first, (0,), joined([first, second]), joined([first, third]))] == [
        (4,), (), (2,), (4, 1),
    ]  # fmt: skip
    assert split(joined([first, third]), (2, 2)) == (first, third)
    assert split((0, 1, 4, 5, 8, 9), (3, 2)) == ((0, 4, 8), (0, 1))
    assert split((0, 1, 4, 5, 8, 9), (2, 3)) is None
    assert overlap([first, joined([first, second])])
    assert not is_rising([third, first])
