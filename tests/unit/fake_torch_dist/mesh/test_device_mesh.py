"""Meshes: names, slices, groups along lines, torch's representation and errors."""

from __future__ import annotations

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support.worlds import ranks, values


def test_a_mesh_of_processes():
    def body(rank):
        mesh = dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        sums = []
        for name in ("dp", "tp"):
            x = np.array([rank])
            dist.all_reduce(x, group=mesh.get_group(name))
            sums.append(x.item())
        tp = mesh["tp"]
        return (
            repr(mesh), mesh.get_coordinate(), mesh.get_local_rank("dp"), sums, tp.mesh.tolist(), tp.get_local_rank(),
            tp.get_group() is mesh.get_group(1), mesh["dp", "tp"] is mesh, mesh.size(0),
        )  # fmt: skip

    found = values(ranks(body, 4))
    text = "DeviceMesh((dp=2, tp=2), 'cpu', stride=(2, 1))"
    assert found[1] == (text, (0, 1), 0, [4, 1], [0, 1], 1, True, True, 2)
    assert found[2] == (text, (1, 0), 1, [2, 5], [2, 3], 0, True, True, 2)


def test_a_process_outside_of_the_mesh():
    def body(rank):
        mesh = dist.DeviceMesh("cpu", [2, 0])
        if rank == 1:
            return mesh.get_coordinate(), mesh.get_group()
        outs = [np.array(-1), np.array(-1)]
        dist.all_gather(outs, np.array(rank), group=mesh.get_group())
        return mesh.get_coordinate(), [out.item() for out in outs]

    assert values(ranks(body, 3)) == [((1,), [2, 0]), (None, -100), ((0,), [2, 0])]


def test_in_the_virtual_world_it_speaks_as_rank_0(virtual):
    virtual(6)
    mesh = dist.init_device_mesh("cuda", (2, 3))
    assert repr(mesh) == "DeviceMesh((2, 3), 'cuda', stride=(3, 1))"
    assert (mesh.shape, mesh.ndim, mesh.size(), mesh.stride()) == ((2, 3), 2, 6, (3, 1))
    assert [made.ranks for made in mesh.get_all_groups()] == [(0, 3), (0, 1, 2)]
    assert [made.ranks for made in mesh.groups_along(0)] == [(0, 3), (1, 4), (2, 5)]
    assert dist.init_device_mesh("cpu", (6,)).get_group() is dist.group.WORLD
    assert mesh == dist.init_device_mesh("cuda", (2, 3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: dist.init_device_mesh("cpu", (5,)), RuntimeError,
            "Mesh should not be bigger than default world size 4, but found 5 ranks!",
        ),
        (
            lambda: dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a",)), RuntimeError,
            "mesh_shape and mesh_dim_names should have same length!",
        ),
        (
            lambda: dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "a")), RuntimeError,
            "Each mesh_dim_name must be unique.",
        ),
        (lambda: dist.init_device_mesh("cuda:0", (4,)), RuntimeError, "Device type with index is not supported"),
        (lambda: dist.DeviceMesh("cpu", [0, 7]), ValueError, "distinct ranks from 0 to 3"),
        (lambda: dist.init_device_mesh("cpu", (2, 2)).get_group(), RuntimeError, "`mesh_dim` needs to be specified"),
        (lambda: dist.init_device_mesh("cpu", (4,))["a"], RuntimeError, "Cannot slice a DeviceMesh without"),
        (lambda: dist.init_device_mesh("cpu", (4,), mesh_dim_names=("a",))["b"], KeyError, "Valid mesh_dim_names are"),
        (
            lambda: dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"))["b", "a"], KeyError,
            "Mesh dim indices should be in ascending order",
        ),
    ],
)  # fmt: skip
def test_wrong_meshes(virtual, call, error, text):
    virtual(4)
    with pytest.raises(error, match=text):
        call()
