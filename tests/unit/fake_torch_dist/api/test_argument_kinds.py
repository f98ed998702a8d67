"""An argument of a wrong kind is refused by name, in the call that gets it, and the group goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

import fake_torch_dist as dist

NO_RANKS = ["0", None, 0.5, [0], {"rank": 0}, np.zeros(2), int]


@pytest.fixture(params=["virtual", "gloo", "fake"])
def tensor(request: pytest.FixtureRequest) -> Iterator[Callable[[], Any]]:
    """A function that makes the tensors of each kind of world."""
    if request.param == "virtual":
        dist.init_process_group("virtual", world_size=2)
        yield lambda: dist.LocalTensor.from_ranks(np.ones((2, 4)))
    else:
        size = 1 if request.param == "gloo" else 2
        dist.init_process_group(request.param, store=dist.HashStore(), rank=0, world_size=size)
        yield lambda: np.ones(4)
    dist.destroy_process_group()


@pytest.fixture
def world() -> Iterator[None]:
    dist.init_process_group("virtual", world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("root", [each for each in NO_RANKS if each is not None])
def test_a_root_is_a_rank(tensor: Callable[[], Any], root: Any) -> None:
    for name in ("broadcast", "reduce"):
        with pytest.raises(TypeError, match=rf"parameter `root of {name}` of type int, a rank such as 0, got "):
            getattr(dist, name)(tensor(), root)
        with pytest.raises(TypeError, match=rf"parameter `root of {name}` of type int"):
            getattr(dist, name)(tensor(), **{"group_src" if name == "broadcast" else "group_dst": root})
    dist.all_reduce(tensor())


def test_a_root_of_numpy_is_a_rank(tensor: Callable[[], Any]) -> None:
    dist.broadcast(tensor(), np.int64(0))


@pytest.mark.parametrize("flag", [np.zeros(2), np.ones((2, 2))])
def test_a_second_tensor_is_no_flag(tensor: Callable[[], Any], flag: Any) -> None:
    with pytest.raises(TypeError, match=r"parameter `async_op` of type bool, got an ndarray of shape \(2"):
        dist.all_reduce(tensor(), dist.ReduceOp.SUM, None, flag)


@pytest.mark.parametrize("objects", [None, 3, "ab", {0: 1}, {1, 2}, iter([1])])
def test_objects_come_in_a_list(tensor: Callable[[], Any], objects: Any) -> None:
    with pytest.raises(TypeError, match=r"parameter `object_list` of type List\[Any\], got "):
        dist.all_gather_object(objects, 1)
    with pytest.raises(TypeError, match=r"parameter `object_list` of type List\[Any\], got "):
        dist.broadcast_object_list(objects, 0)


def test_objects_may_be_gathered_in_an_array(tensor: Callable[[], Any]) -> None:
    found = np.empty(2, dtype=object)
    dist.all_gather_object(found, {"a": 1})
    assert found[0] == {"a": 1}


@pytest.mark.parametrize("tensors", [np.ones(4), 3, "ab"])
def test_tensors_come_in_a_list(tensor: Callable[[], Any], tensors: Any) -> None:
    with pytest.raises(TypeError, match=r"parameter `gather_list` of type List\["):
        dist.gather(tensor(), tensors, dst=0)
    with pytest.raises(TypeError, match=r"parameter `scatter_list` of type List\["):
        dist.scatter(tensor(), tensors, src=0)


@pytest.mark.parametrize("splits", [3, "ab", ["1", "3"], [0.5, 3.5]])
def test_split_sizes_are_whole_numbers(tensor: Callable[[], Any], splits: Any) -> None:
    with pytest.raises(TypeError, match=r"parameter `output_split_sizes` of type List\[int\], got "):
        dist.all_to_all_single(tensor(), tensor(), splits, splits)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: dist.new_subgroups("2"), "`group_size` of type int, got '2'"),
        (lambda: dist.new_subgroups_by_enumeration([0, 1]), r"`ranks_per_subgroup_list` of type List\[List\[int\]\]"),
        (lambda: dist.split_group(None, [["0"]]), r"`split_ranks` of type List\[List\[int\]\]"),
        (lambda: dist.new_group([0], group_desc=3), r"`group_desc` of type str, got 3 \(int\)"),
        (lambda: dist.init_device_mesh(None, (2,)), "`device_type` of type str, got None"),
        (lambda: dist.init_device_mesh("cpu", (2,), mesh_dim_names=3), "`mesh_dim_names` of type tuple of str"),
        (lambda: dist.init_device_mesh("cpu", (2,), backend_override=3), "`backend_override` of type dict"),
        (lambda: dist.init_device_mesh("cpu", (2,)).get_group([0]), "`mesh_dim` of type int or str"),
        (lambda: dist.init_device_mesh("cpu", (2,), mesh_dim_names=("a",))[0], "`mesh_dim_names` of type tuple"),
        (lambda: dist.DeviceMesh.from_group(3, "cpu"), "`group` of type ProcessGroup"),
        (lambda: dist.is_backend_available(3), "`backend` of type str"),
        (lambda: dist.supports_complex("MAX"), "`reduceOp` of type ReduceOp, such as ReduceOp.SUM, got 'MAX'"),
        (lambda: dist.VirtualOptions(ranks_per_node="8"), "`ranks_per_node` of type int, got '8'"),
        (lambda: dist._make_nccl_premul_sum("two"), "`factor` of type float, got 'two'"),
        (lambda: dist.register_rendezvous_handler(3, print), "`scheme` of type str"),
        (lambda: dist.register_rendezvous_handler("mine", 3), "`handler` of type a function"),
        (lambda: dist.group.WORLD.allreduce_coalesced(3), r"`tensors` of type List\[Tensor\], got 3"),
        (lambda: dist.group.WORLD.alltoall(3, []), r"`output_tensors` of type List\[Tensor\], got 3"),
    ],
)  # fmt: skip
def test_every_argument_is_refused_by_name(call: Callable[[], Any], named: str, world: None) -> None:
    with pytest.raises(TypeError, match=named):
        call()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"rank": "0", "world_size": 2}, "`rank` of type int, got '0'"),
        ({"rank": 0, "world_size": "2"}, "`world_size` of type int, got '2'"),
        ({"rank": 0, "world_size": 2, "store": "tcp"}, "`store` of type Store, such as TCPStore, got 'tcp'"),
        ({"rank": 0, "world_size": 2, "group_name": 3}, "`group_name` of type str, got 3"),
    ],
)
def test_a_world_of_wrong_kinds_is_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(TypeError, match=named):
        dist.init_process_group("gloo", **values)
    assert not dist.is_initialized()


@pytest.mark.parametrize("shards", [3, None, [1.0, 2.0], np.float64(1), dist.LocalTensor(np.ones((2, 1)))])
def test_a_fold_is_of_an_array_with_an_axis_of_ranks(shards: Any) -> None:
    for fold in (dist.fold, lambda shards, op: dist.fold_world(shards, op, 1)):
        with pytest.raises(TypeError, match=r"`shards` of type numpy\.ndarray with a leading axis of ranks, got "):
            fold(shards, dist.ReduceOp.SUM)


def test_a_fold_needs_a_rank_and_nodes_that_hold_some() -> None:
    with pytest.raises(ValueError, match=r"no rank's shard in an array of shape \(0, 3\)"):
        dist.fold(np.zeros((0, 3)), dist.ReduceOp.SUM)
    for nodes in (-2, [0, 4]):
        with pytest.raises(ValueError, match="for 4 shards: a node has at least one rank"):
            dist.fold_world(np.zeros(4), dist.ReduceOp.SUM, nodes)
    for nodes in ("2", 2.0, ["2", 2]):
        with pytest.raises(TypeError, match="`ranks_per_node` of type "):
            dist.fold_world(np.zeros(4), dist.ReduceOp.SUM, nodes)


@pytest.mark.parametrize("timeout", [float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(timeout: float, world: None) -> None:
    with pytest.raises(ValueError, match=f"timeout = {timeout}: a timeout is a number of seconds"):
        dist.barrier(timeout=timeout)
    with pytest.raises(TypeError, match=r"timeout is .*, not a number of seconds"):
        dist.HashStore().set_timeout(timeout)  # torch takes a float, too


def test_a_work_waits_for_a_duration(world: None) -> None:
    work = dist.all_reduce(dist.LocalTensor.from_ranks([1.0, 2.0]), async_op=True)
    assert work is not None
    with pytest.raises(TypeError, match=r"to be of type datetime\.timedelta, got None"):
        work.wait(None)
    assert work.wait(timedelta(seconds=60))


@pytest.mark.parametrize("dim", ["0", 0.5, [0]])
def test_a_dimension_of_a_tensor_is_a_whole_number(dim: Any) -> None:
    tensor = dist.LocalTensor.from_ranks(np.ones((2, 3)))
    for call in (tensor.sum, tensor.unsqueeze, tensor.argmax):
        with pytest.raises(TypeError, match="`dim` of type int, got "):
            call(dim)
    with pytest.raises(TypeError, match="`rank` of type int, got "):
        tensor.rank(dim)
    with pytest.raises(TypeError, match=r"`shape` of type List\[int\], got "):
        tensor.reshape("3")


@pytest.mark.parametrize("tag", ["0", None, 0.5])
def test_a_tag_is_a_whole_number(tag: Any) -> None:
    dist.init_process_group("fake", rank=0, world_size=2)
    try:
        for call in (dist.send, dist.isend, dist.recv, dist.irecv):
            with pytest.raises(TypeError, match="`tag` of type int, got "):
                call(np.ones(2), 1, tag=tag)
        with pytest.raises(TypeError, match="`destination rank` of type int, a rank such as 0, got '1'"):
            dist.send(np.ones(2), "1")
    finally:
        dist.destroy_process_group()


def test_a_store_takes_flags_and_counts(world: None) -> None:
    with pytest.raises(TypeError, match=r"is_master is array.* not a bool"):
        dist.TCPStore("127.0.0.1", 0, is_master=np.zeros(2))
    with pytest.raises(TypeError, match=r"value is array.* not an int of 64 bits"):
        dist.HashStore().add("k", np.zeros(2))
