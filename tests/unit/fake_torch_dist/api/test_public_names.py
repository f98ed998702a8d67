"""The public surface against torch 2.13's: names, parameters, defaults."""

import ast
import inspect
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist.torch_names import TORCH_NAMES
from tests.support.repository import ROOT

REFERENCE = ROOT.parent / "shared" / "reference" / "torch" / "dist_api.json"
OURS_ALONE = {"Future", "LocalTensor", "VirtualOptions", "fold", "fold_world", "shards_of"}

with_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="needs the record of torch's names and signatures")


@pytest.fixture(scope="module")
def torch_names():
    return json.loads(REFERENCE.read_text())["names"]


def parameters_of(signature: str) -> list[tuple[str, str | None]]:
    """Names and defaults (as source text) of a signature such as "(a, b: int = 3) -> None"."""
    source = re.sub(r"<[^>]*>", lambda match: repr(match.group()), signature)
    arguments = ast.parse(f"def f{source}: pass").body[0].args
    positional = arguments.posonlyargs + arguments.args
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    pairs = list(zip(positional, defaults, strict=True)) + list(
        zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    )
    return [(arg.arg, default and ast.unparse(default).strip("'\"")) for arg, default in pairs]


def our_parameters(function) -> list[tuple[str, str | None]]:
    return [
        (name, None if p.default is p.empty else repr(p.default).strip("'\""))
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is not p.VAR_KEYWORD
    ]


@with_reference
def test_signatures_are_torchs(torch_names):
    functions = [n for n in dist.__all__ if n not in OURS_ALONE and inspect.isfunction(getattr(dist, n))]
    assert len(functions) > 20
    for name in functions:
        if isinstance(torch_names[name]["signature"], dict):
            continue  # of a function in C++ only the text of its help is known, and its parameters have no names
        assert our_parameters(getattr(dist, name)) == parameters_of(torch_names[name]["signature"]), name


@with_reference
def test_the_list_of_torchs_names_is_complete(torch_names):
    imported = {"logging", "sys", "timedelta", "torch", "traceback", "typing"}
    assert set(torch_names) - imported == TORCH_NAMES


@with_reference
def test_exceptions_have_torchs_parents(torch_names):
    for name in ("DistError", "DistBackendError", "DistNetworkError", "DistStoreError"):
        ours = [parent.__name__ for parent in getattr(dist, name).__mro__ if parent is not object]
        assert ours == [parent.rpartition(".")[2] for parent in torch_names[name]["mro"] if parent != "builtins.object"]


def test_every_public_name_is_torchs_or_known_to_be_ours():
    assert set(dist.__all__) - TORCH_NAMES == OURS_ALONE
    assert all(hasattr(dist, name) for name in dist.__all__)


def test_a_name_that_torch_has_and_we_do_not():
    with pytest.raises(AttributeError, match=r"fake_torch_dist has no 'autograd' yet; torch.distributed 2\.13 does\."):
        _ = dist.autograd
    with pytest.raises(AttributeError, match="module 'fake_torch_dist' has no attribute 'al_reduce'"):
        _ = dist.al_reduce


def brought_by(statement: str) -> set[str]:
    """Packages that are imported with it."""
    code = (
        f"import sys; before = set(sys.modules); {statement}; "
        "print({name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(ast.literal_eval(out))


def test_import_brings_nothing_and_use_brings_numpy():
    assert brought_by("import fake_torch_dist") - sys.stdlib_module_names == {"fake_torch_dist"}
    brought = brought_by("import fake_torch_dist as d; d.all_reduce") - sys.stdlib_module_names
    assert brought == {"fake_torch_dist"} | brought_by("import numpy") - sys.stdlib_module_names


def test_import_brings_no_processes_and_no_threads():
    brought = brought_by("import numpy; before = set(sys.modules); import fake_torch_dist as d; d.all_reduce")
    assert not brought & {"asyncio", "socket", "subprocess", "multiprocessing", "threading"}


def submodules() -> list[str]:
    """All of the package's modules, its own folders' included."""
    found = Path(dist.__file__).parent
    return sorted(
        {path.stem for path in found.glob("[a-z]*.py")} | {path.parent.name for path in found.glob("*/__init__.py")}
    )


def test_no_submodule_takes_the_place_of_a_public_name():
    """An import of a submodule binds its name on the package, for good."""
    modules_in_torch = {"constants", "device_mesh", "distributed_c10d"}
    assert not (set(submodules()) & set(dist.__all__))
    assert set(submodules()) & TORCH_NAMES == modules_in_torch
    code = (
        "import importlib, types\nfrom fake_torch_dist import *\nimport fake_torch_dist as dist\n"
        f"for name in {submodules()}: name == 'before_fork' or importlib.import_module('fake_torch_dist.' + name)\n"
        "for name in dist.__all__:\n"
        "    assert not isinstance(getattr(dist, name), types.ModuleType), name\n"
        "    assert globals()[name] is getattr(dist, name), name\n"
        "next(iter(dist.rendezvous('tcp://127.0.0.1:0?rank=0&world_size=1')))[0].close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_names_of_distributed_c10d():
    from fake_torch_dist import distributed_c10d

    assert distributed_c10d.all_reduce is dist.all_reduce
    assert distributed_c10d.ProcessGroup is dist.ProcessGroup
    assert dist.constants.default_pg_timeout == dist.default_pg_timeout
    with pytest.raises(AttributeError, match="has no '_coalescing_manager'"):
        _ = distributed_c10d._coalescing_manager
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        distributed_c10d._get_default_group()


def test_private_names_that_scripts_use(virtual):
    from fake_torch_dist import distributed_c10d

    virtual(2)
    group = distributed_c10d._get_default_group()
    distributed_c10d._set_pg_timeout(timedelta(seconds=9))
    assert group is dist.group.WORLD and group.timeout == timedelta(seconds=9)
    assert distributed_c10d._resolve_process_group("0") is group
    assert not distributed_c10d._rank_not_in_group(group)
    whole, block = dist.LocalTensor.from_ranks(np.zeros((2, 2))), dist.LocalTensor.from_ranks(np.zeros((2, 1)))
    dist._all_gather_base(whole, dist.LocalTensor.from_ranks(np.array([[1.0], [2.0]])))
    dist._reduce_scatter_base(block, whole)
    assert (whole.rank(1).tolist(), block.rank(1).tolist()) == ([1, 2], [4])
    with pytest.raises(ValueError, match="Invalid process group specified"):
        distributed_c10d._set_pg_timeout(timedelta(seconds=9), dist.GroupMember.NON_GROUP_MEMBER)


def test_old_and_small_names():
    with pytest.warns(FutureWarning, match="`torch.distributed.reduce_op` is deprecated"):
        assert dist.reduce_op.MAX is dist.ReduceOp.MAX
    with pytest.raises(AttributeError, match="reduce_op has no 'MEAN'"):
        _ = dist.reduce_op.MEAN
    assert repr(dist.BackendConfig("cpu:gloo,cuda:nccl")) == "cpu:gloo,cuda:nccl"
    assert dist.BackendConfig("gloo").get_device_backend_map() == {"cpu": "gloo", "cuda": "gloo"}
    for wrong, text in (("cpu:gloo,cuda", "Invalid device:backend pairing: cuda"), ("cpu:gloo,cpu:nccl", "Duplicate")):
        with pytest.raises(ValueError, match=text):
            dist.BackendConfig(wrong)
    with pytest.raises(NotImplementedError, match=r"register_backend\('mine'\)"):
        dist.Backend.register_backend("mine", None, devices=["cpu"])
    assert (dist.RankType, dist.GroupName("x")) == (int, "x")


def test_debug_levels(monkeypatch):
    monkeypatch.setenv("TORCH_DISTRIBUTED_DEBUG", "info")
    dist.set_debug_level_from_env()
    assert (dist.get_debug_level(), int(dist.DebugLevel.DETAIL)) == (dist.DebugLevel.INFO, 2)
    dist.set_debug_level(dist.DebugLevel.DETAIL)
    assert repr(dist.get_debug_level()) == "<DebugLevel.DETAIL: 2>"
    monkeypatch.setenv("TORCH_DISTRIBUTED_DEBUG", "loud")
    with pytest.raises(ValueError, match="must be OFF, INFO, or DETAIL"):
        dist.set_debug_level_from_env()
    with pytest.raises(TypeError, match="takes a DebugLevel"):
        dist.set_debug_level(1)
    monkeypatch.delenv("TORCH_DISTRIBUTED_DEBUG")
    dist.set_debug_level_from_env()
    assert dist.get_debug_level() is dist.DebugLevel.OFF


SCRIPT = """
import os, sys
import fake_torch_dist as dist
store = sys.argv[1]
rank = 0 if os.fork() else 1
if rank:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
dist.breakpoint(rank=0, skip=0)
print(f"rank {rank} goes on", flush=True)
dist.destroy_process_group()
if rank == 0:
    os.wait()
"""


def test_a_breakpoint_stops_one_rank(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "store")],
        input="p 6 * 7\nup\np rank\nc\n", capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "!!! ATTENTION !!!" in found.stdout
    assert "42" in found.stdout
    assert sorted(re.findall("rank [01] goes on", found.stdout)) == ["rank 0 goes on", "rank 1 goes on"]


def test_methods_that_torch_has_and_we_do_not(virtual):
    virtual(2)
    work = dist.barrier(async_op=True)
    mesh = dist.init_device_mesh("cpu", (2,))
    for owner, name in ((dist.group.WORLD, "abort"), (work, "boxed"), (mesh, "_get_all_submeshes")):
        text = f"fake_torch_dist's {type(owner).__name__} has no '{name}' yet; torch 2.13's does"
        with pytest.raises(AttributeError, match=re.escape(text)):
            getattr(owner, name)
        with pytest.raises(AttributeError, match="object has no attribute 'alreduce'"):
            _ = owner.alreduce
