"""Wrong arguments are refused by the call that gets them, in a sentence that names them and says what is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fake_torch_dist as dist


@pytest.fixture
def world() -> Iterator[None]:
    dist.init_process_group("virtual", world_size=4)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("shards", "named"),
    [
        ([[1.0]], "list"), (3.5, "float"), (None, "NoneType"), (np.float32(1), "float32"),
        (np.array(1.0), r"an ndarray of shape \(\)"), (dist.LocalTensor(np.ones((2, 1))), "LocalTensor"),
    ],
)  # fmt: skip
def test_a_tensor_is_made_of_an_array_of_ranks(shards: Any, named: str) -> None:
    wanted = rf"LocalTensor\(\) needs an ndarray with a leading axis of ranks, got {named}: .*from_ranks\(values\)"
    with pytest.raises(TypeError, match=wanted):
        dist.LocalTensor(shards)


def test_the_values_of_all_ranks_have_one_shape() -> None:
    with pytest.raises(ValueError, match="from_ranks needs one value per rank, all of one shape: "):
        dist.LocalTensor.from_ranks([[1], [2, 3]])


@pytest.mark.parametrize("tensor", [[1.0], None, np.ones(4)])
def test_a_message_of_a_batch_is_a_tensor(tensor: Any, world: None) -> None:
    with pytest.raises(TypeError, match="Expected parameter `tensor` of type LocalTensor, got "):
        dist.P2POp(dist.isend, tensor, 1)


@pytest.mark.parametrize("mesh", ["ab", [[0, 1], [2]], [None], {0: 1}])
def test_a_mesh_is_an_array_of_ranks(mesh: Any, world: None) -> None:
    with pytest.raises(TypeError, match=r"mesh is an array of global ranks such as \[\[0, 1\], \[2, 3\]\], not "):
        dist.DeviceMesh("cpu", mesh)


@pytest.mark.parametrize("shape", ["4", None, (2.0, 2), ("2", 2)])
def test_the_shape_of_a_mesh_is_of_whole_numbers(shape: Any, world: None) -> None:
    with pytest.raises(TypeError, match=r"mesh_shape is a tuple of whole numbers such as \(2, 4\), .*, not "):
        dist.init_device_mesh("cpu", shape)


def test_sizes_of_numpy_and_one_size_make_a_mesh(world: None) -> None:
    assert dist.init_device_mesh("cpu", tuple(np.array([2, 2]))).shape == (2, 2)
    assert dist.init_device_mesh("cpu", 4).shape == (4,)


@pytest.mark.parametrize("ranks", [3, [0, "1"], "ab", [0.0, 1.0]])
def test_a_group_is_made_of_ranks(ranks: Any, world: None) -> None:
    with pytest.raises(TypeError, match=r"new_group takes (a list of )?global ranks.* such as .*, got "):
        dist.new_group(ranks)


def test_ranks_come_from_anything_that_lists_them(world: None) -> None:
    for ranks in (range(2), np.arange(2), {0, 1}, iter([0, 1])):
        assert dist.get_process_group_ranks(dist.new_group(ranks)) == [0, 1]


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (dist.AllreduceOptions, {"reduceOp": "sum"}), (dist.BroadcastOptions, {"rootRank": "0"}),
        (dist.ReduceOptions, {"timeout": 30}), (dist.GatherOptions, {"rootTensor": None}),
    ],
)  # fmt: skip
def test_an_option_has_its_type(options: Any, values: dict[str, Any]) -> None:
    ((name, value),) = values.items()
    sentence = f"{name} of {options.__name__} is {value!r}: set it to "
    with pytest.raises(TypeError, match=sentence):
        options(**values)
    with pytest.raises(TypeError, match=sentence):
        setattr(options(), name, value)


def test_a_store_counts_its_world() -> None:
    with pytest.raises(TypeError, match="world_size is '2', not an int or None"):
        dist.TCPStore("localhost", 0, "2", is_master=True)
