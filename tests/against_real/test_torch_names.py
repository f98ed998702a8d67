"""Meshes, dry runs, group methods, reductions and futures: the same calls here and in torch, and the same outcomes."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import fake_torch_dist
from tests.support.worlds import processes, torch_gloo

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]

NAMES = ("pp", "one", "dp", "tp")


def outcome(call: Callable[[], Any]) -> Any:
    """A value, or the class of an error that the user can catch."""
    try:
        return call()
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError) as error:
        return next(
            kind for kind in (RuntimeError, ValueError, KeyError, TypeError, IndexError) if isinstance(error, kind)
        )


def both(body: Callable[[Any, Any], Any], rank: int, size: int) -> tuple[Any, Any]:
    """The result of ``body(dist, array)`` here and in torch, with backend "fake"."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.testing._internal.distributed.fake_pg")

    @contextmanager
    def dry_run(dist: Any) -> Iterator[None]:
        dist.init_process_group("fake", rank=rank, world_size=size)
        try:
            yield
        finally:
            dist.destroy_process_group()

    found = []
    for dist, array in (
        (fake_torch_dist, lambda values: np.array(values, np.float32)),
        (torch.distributed, lambda values: torch.tensor(values, dtype=torch.float32)),
    ):
        with dry_run(dist), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(body(dist, array))
    return found[0], found[1]


MESHES: dict[str, Callable[[Any, Any], Any]] = {
    "slice": lambda mesh, dist: mesh["pp", "tp"],
    "slice of size 1": lambda mesh, dist: mesh["one"],
    "another order": lambda mesh, dist: mesh["tp", "pp"],
    "size 1 in any order": lambda mesh, dist: mesh["tp", "one"],
    "twice": lambda mesh, dist: mesh["tp", "tp"],
    "unknown": lambda mesh, dist: mesh["xp"],
    "flattened": lambda mesh, dist: mesh["pp", "dp"]._flatten("flat"),
    "flattened, irregular": lambda mesh, dist: mesh["pp", "tp"]._flatten(),
    "flattened whole": lambda mesh, dist: mesh._flatten("all"),
    "flattened under a taken name": lambda mesh, dist: mesh["pp", "tp"]._flatten("dp"),
    "flattened twice": lambda mesh, dist: (mesh["pp", "tp"]._flatten("f"), mesh["dp", "tp"]._flatten("f"))[1],
    "flattened of one": lambda mesh, dist: mesh["dp"]._flatten(),
    "flattened by name": lambda mesh, dist: (mesh["pp", "dp"]._flatten("g"), mesh["g", "tp"])[1],
    "flattened and a part of it": lambda mesh, dist: (mesh["pp", "dp"]._flatten("h"), mesh["h", "dp"])[1],
    "flattened name in a part": lambda mesh, dist: (mesh["pp", "dp"]._flatten("i"), mesh["pp"]["i"])[1],
    "unflattened": lambda mesh, dist: mesh._unflatten("dp", (2, 2), ("a", "b")),
    "unflattened by index": lambda mesh, dist: mesh._unflatten(2, (4, 1), ("a", "b")),
    "unflattened, wrong size": lambda mesh, dist: mesh._unflatten("dp", (2, 3), ("a", "b")),
    "unflattened, unknown": lambda mesh, dist: mesh._unflatten("xp", (2,), ("a",)),
    "unflattened irregular": lambda mesh, dist: mesh["pp", "tp"]._flatten("j")._unflatten(0, (2, 2), ("x", "y")),
    "concatenated": lambda mesh, dist: type(mesh)._concatenate([mesh["pp"], mesh["dp"]]),
    "concatenated with itself": lambda mesh, dist: type(mesh)._concatenate([mesh["pp"], mesh["pp"]]),
    "from a group": lambda mesh, dist: type(mesh).from_group(mesh.get_group("dp"), "cpu"),
    "from groups": lambda mesh, dist: type(mesh).from_group(
        [mesh.get_group("pp"), mesh.get_group("tp")], "cpu", mesh["pp", "tp"].mesh, mesh_dim_names=("x", "y")
    ),
    "from no group": lambda mesh, dist: type(mesh).from_group([], "cpu"),
    "from another mesh": lambda mesh, dist: type(mesh).from_group(mesh.get_group("dp"), "cpu", [0, 1]),
}


@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("rank", [0, 5, 15])
def test_meshes(name, rank):
    def body(dist, array):
        from importlib import import_module

        mesh = import_module(f"{dist.__name__}.device_mesh").init_device_mesh("cpu", (2, 1, 4, 2), mesh_dim_names=NAMES)
        made = outcome(lambda: MESHES[name](mesh, dist))
        if isinstance(made, type):
            return made
        groups = [dist.get_process_group_ranks(group) for group in made.get_all_groups()]
        return repr(made), made.mesh.tolist(), groups, made.get_coordinate(), [made.size(k) for k in range(made.ndim)]

    ours, theirs = both(body, rank, 16)
    assert ours == theirs


def test_dry_runs():
    def body(dist, array):
        x, outs, flat = array([1, 2]), [array([0, 0]) for _ in range(4)], array([0] * 8)
        block, part, swapped = array([0, 0]), array([0, 0]), array([0] * 8)
        dist.all_reduce(x, op=dist.ReduceOp.AVG)
        dist.broadcast(x, 1)
        dist.all_gather(outs, array([3, 4]))
        dist.all_gather_single(flat, array([5, 6]))
        dist.reduce_scatter_single(block, array(range(8)))
        dist.scatter(part, [array([k, k]) for k in range(4)], src=2)
        dist.all_to_all_single(swapped, array(range(8)))
        objects = [None] * 4
        dist.all_gather_object(objects, {"a": 1})
        group = dist.new_group([1, 2])
        made = [x, *outs, flat, block, part, swapped]
        return [each.tolist() for each in made], objects, group.rank(), dist.new_group([0]), dist.get_backend()

    ours, theirs = both(body, 2, 4)
    assert ours == theirs


def test_group_methods():
    def body(dist, tensor):
        group = dist.group.WORLD
        a, b, c, d = (tensor(lambda rank, k=k: [rank + 1.0 + k]) for k in range(4))
        outs, flat = [tensor(lambda rank: [0.0]) for _ in range(3)], tensor(lambda rank: [0.0] * 3)
        shard = tensor(lambda rank: [0.0])
        options = dist.AllreduceOptions()
        options.reduceOp = dist.ReduceOp.MAX
        group.allreduce([a]).wait()
        group.allreduce([b], options).wait()
        group.allreduce(c, dist.ReduceOp.PRODUCT).wait()
        group.broadcast(d, 2).wait()
        group.allgather([outs], [tensor(lambda rank: [rank * 2.0])]).wait()
        group._allgather_base(flat, tensor(lambda rank: [rank * 3.0])).wait()
        group._reduce_scatter_base(shard, tensor(lambda rank: [1.0, 2.0, rank])).wait()
        group.barrier().wait()
        return [a, b, c, d, *outs, flat, shard]

    pytest.importorskip("torch")
    np.testing.assert_array_equal(
        [np.concatenate(each) for each in processes(body, 3)], [np.concatenate(each) for each in torch_gloo(body, 3)]
    )


# Left out: ``ReduceOp.SUM == ReduceOp(ReduceOp.SUM)``, which is False in torch and True the other way round.
REDUCTIONS: list[Callable[[Any], Any]] = [
    lambda op: op(op.SUM) == op.SUM,
    lambda op: op(op.SUM) == op.MAX,
    lambda op: [int(value) for value in op.RedOpType.__members__.values()],
    lambda op: (op.SUM == 0, op.SUM != 0, op(op.SUM) == 0),
    lambda op: (repr(op.MIN), str(op.MIN), repr(op.RedOpType(2))),
    lambda op: (isinstance(op.SUM, op), isinstance(op(op.SUM), op), isinstance(op.SUM, op.RedOpType)),
    lambda op: op(0),
    lambda op: op("SUM"),
    lambda op: int(op(op.SUM)),
    lambda op: copy.deepcopy(op(op.MAX)) == op.MAX,
    lambda op: pickle.loads(pickle.dumps(op(op.MAX))) == op.MAX,
    lambda op: pickle.loads(pickle.dumps(op.MAX)) == op.MAX,
    lambda op: op.SUM < op.MAX,
    lambda op: ["a", "b"][op.AVG],
]


def test_reductions():
    torch = pytest.importorskip("torch")
    for number, call in enumerate(REDUCTIONS):
        ours = outcome(lambda call=call: call(fake_torch_dist.ReduceOp))
        theirs = outcome(lambda call=call: call(torch.distributed.ReduceOp))
        assert ours == theirs, number


def test_futures():
    torch = pytest.importorskip("torch")

    def body(future_class):
        seen: list[Any] = []
        future = future_class()
        future.add_done_callback(lambda done: seen.append(done.value()))
        doubled = future.then(lambda done: done.value() * 2)
        broken = future.then(lambda done: 1 / 0)
        early = future.done(), doubled.done()
        future.set_result(4)
        failed = future_class()
        failed.set_exception(ValueError("bad"))
        return (
            early, seen, doubled.wait(), outcome(broken.wait), outcome(failed.wait), failed.done(),
            outcome(lambda: future.set_result(5)), outcome(lambda: future.then(3)),
        )  # fmt: skip

    assert body(fake_torch_dist.Future) == body(torch.futures.Future)
