"""Meshes made of other meshes and of groups: slices, flattening, unflattening, joining, and chosen backends."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist import DeviceMesh, init_device_mesh
from tests.support.worlds import ranks, values

NAMES = ("pp", "dp", "tp")


def members(mesh: DeviceMesh, name: str | None = None) -> list[int]:
    return dist.get_process_group_ranks(mesh.get_group(name))


@pytest.fixture
def as_rank_5():
    """Rank 5 of 8, alone."""
    dist.init_process_group("fake", rank=5, world_size=8)
    yield
    dist.destroy_process_group()


def test_a_flattened_mesh_reduces_over_its_ranks():
    def body(rank):
        mesh = init_device_mesh("cpu", (2, 1, 2), mesh_dim_names=NAMES)
        flat = mesh["pp", "tp"]._flatten("all")
        x = np.array([rank + 1])
        dist.all_reduce(x, group=flat.get_group())
        part = mesh["pp", "dp"]._flatten()
        y = np.array([rank])
        dist.all_reduce(y, group=part.get_group())
        return x.item(), y.item(), flat.get_group() is dist.group.WORLD, repr(part), part.get_local_rank()

    text = "DeviceMesh((pp_dp=2), 'cpu', stride=(2,))"
    assert values(ranks(body, 4)) == [(10, 2, True, text, 0), (10, 4, True, text, 0), (10, 2, True, text, 1),
                                      (10, 4, True, text, 1)]  # fmt: skip


def test_what_flattening_makes_is_found_by_name(as_rank_5):
    mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
    flat = mesh["pp", "dp"]._flatten("pp_dp")
    assert (members(flat), flat.mesh.tolist(), flat.shape) == ([1, 3, 5, 7], [1, 3, 5, 7], (4,))
    assert mesh["pp", "dp"]._flatten("pp_dp") is flat
    assert mesh["pp_dp"] == flat and members(mesh, "pp_dp") == [1, 3, 5, 7]
    both = mesh["pp_dp", "tp"]
    assert (both.shape, both.mesh.tolist()) == ((4, 2), [[0, 1], [2, 3], [4, 5], [6, 7]])
    assert members(both, "tp") == [4, 5]
    irregular = mesh["pp", "tp"]._flatten()
    assert repr(irregular) == "DeviceMesh((pp_tp=4), 'cpu', stride=((4, 1),))"
    assert members(irregular) == [0, 1, 4, 5]
    assert mesh["dp"]._flatten() == mesh["dp"]
    assert repr(mesh["dp"]._flatten("other")) == "DeviceMesh((other=2), 'cpu', stride=(2,))"


def test_unflattening_and_its_way_back(as_rank_5):
    world = init_device_mesh("cpu", (8,), mesh_dim_names=("world",))
    mesh = world._unflatten(0, (2, 1, 4), ("pp", "cp", "dp"))
    assert repr(mesh) == "DeviceMesh((pp=2, cp=1, dp=4), 'cpu', stride=(4, (), 1))"
    assert (members(mesh, "pp"), members(mesh, "cp"), members(mesh, "dp")) == ([1, 5], [5], [4, 5, 6, 7])
    assert mesh.get_coordinate() == (1, 0, 1)
    deeper = mesh._unflatten("dp", (2, 2), ("replicate", "shard"))
    assert deeper.mesh_dim_names == ("pp", "cp", "replicate", "shard")
    assert members(deeper, "replicate") == [5, 7]
    again = deeper["replicate", "shard"]._flatten("dp_again")
    assert members(again) == [4, 5, 6, 7]
    assert world["dp_again"].mesh.tolist() == [4, 5, 6, 7]


def test_the_layouts_of_a_training_program(as_rank_5):
    """Dimensions of degree 1 get backend fake, and several views unflatten one world, as torchtitan does."""
    world = init_device_mesh("cpu", (8,), mesh_dim_names=("world",))
    degrees = {"pp": 2, "replicate": 1, "shard": 2, "tp": 2}
    alone = {name: "fake" for name, degree in degrees.items() if degree == 1}
    dense = world._unflatten(0, tuple(degrees.values()), tuple(degrees), backend_override=alone)
    loss = world._unflatten(0, (2, 2, 2), ("pp", "loss", "tp2"))
    fsdp = dense["replicate", "shard"]
    assert (fsdp.shape, members(dense, "replicate"), members(loss, "loss")) == ((1, 2), [5], [5, 7])
    assert dist.get_backend(dense.get_group("replicate")) == "fake"
    joined = DeviceMesh._concatenate([dense["pp"], dense["tp"]])
    assert (joined.mesh_dim_names, joined.mesh.tolist()) == (("pp", "tp"), [[0, 1], [4, 5]])


def test_chosen_backends_between_processes():
    def body(rank):
        mesh = init_device_mesh(
            "cpu", (2, 1), mesh_dim_names=("dp", "one"), backend_override={"one": "fake", 0: ("gloo", Options())}
        )
        x, y = np.array([1.0]), np.array([1.0])
        dist.all_reduce(x, group=mesh.get_group("dp"))
        dist.all_reduce(y, op=dist.ReduceOp.AVG, group=mesh.get_group("one"))
        return x.item(), y.item(), mesh.get_group("dp") is dist.group.WORLD, mesh.get_group("dp").timeout

    class Options:
        _timeout = timedelta(seconds=7)

    assert values(ranks(body, 2)) == [(2, 1, False, timedelta(seconds=7))] * 2


def test_meshes_of_groups(as_rank_5):
    mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
    tp, dp = mesh.get_group("tp"), mesh.get_group("dp")
    one = DeviceMesh.from_group(tp, "cpu")
    assert (one.size(), one.get_group(), one.mesh.tolist(), one.mesh_dim_names) == (2, tp, [4, 5], None)
    two = DeviceMesh.from_group([dp, tp], "cpu", mesh["dp", "tp"].mesh, mesh_dim_names=("a", "b"))
    assert (two["b"].get_group(), two.shape, two.get_coordinate()) == (tp, (2, 2), (0, 1))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda mesh: mesh["tp", "pp"], KeyError, "ascending order"),
        (lambda mesh: mesh["tp", "tp"], RuntimeError, "overlapping dim_names"),
        (lambda mesh: mesh["pp", "flat"], RuntimeError, "overlapping dim_names"),
        (lambda mesh: mesh["pp", "dp"]["flat"], KeyError, "Valid mesh_dim_names are"),
        (lambda mesh: mesh["pp", "tp"]._flatten("flat"), ValueError, "has been created before"),
        (lambda mesh: mesh["pp", "tp"]._flatten("dp"), ValueError, "dp already exists for submesh"),
        (lambda mesh: init_device_mesh("cpu", (8,))._flatten(), RuntimeError, "without mesh_dim_names"),
        (lambda mesh: mesh._unflatten("dp", (2, 3), ("a", "b")), ValueError, "is 6, but the original dimension"),
        (lambda mesh: mesh._unflatten("dp", (2,), ("a", "b")), RuntimeError, "same length as mesh_sizes"),
        (lambda mesh: mesh._unflatten("xp", (2,), ("a",)), ValueError, "is not in"),
        (lambda mesh: mesh._unflatten(3, (2,), ("a",)), ValueError, "is out of range 3"),
        (lambda mesh: mesh.get_group("xp"), KeyError, "Mesh dimension 'xp' does not exist"),
        (lambda mesh: DeviceMesh._concatenate([mesh["pp"], mesh["pp"]]), RuntimeError, "overlapping meshes"),
        (lambda mesh: DeviceMesh.from_group([], "cpu"), ValueError, "at least one ProcessGroup"),
        (lambda mesh: DeviceMesh.from_group(mesh.get_group("tp"), "cpu", [0, 1]), ValueError, "Invalid mesh"),
        (lambda mesh: DeviceMesh.from_group([mesh.get_group("tp")], "cpu"), ValueError, "Must pass mesh if"),
        (lambda mesh: DeviceMesh("cpu"), TypeError, "mesh argument is required"),
        (lambda mesh: DeviceMesh("cpu", [0], backend_override=()), ValueError, "but got 0 and 1"),
        (lambda mesh: init_device_mesh("cpu", (8,), backend_override={"x": "gloo"}), RuntimeError, "invalid keys"),
        (
            lambda mesh: init_device_mesh("cpu", (8,), mesh_dim_names=("x",), backend_override={"x": "a", 0: "a"}),
            RuntimeError, "redundant dim index 0",
        ),
    ],
)  # fmt: skip
def test_what_meshes_refuse(as_rank_5, call, error, text):
    mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
    mesh["pp", "dp"]._flatten("flat")
    with pytest.raises(error, match=text):
        call(mesh)
