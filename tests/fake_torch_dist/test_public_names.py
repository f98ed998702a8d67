"""The public surface against torch 2.13's: names, parameters, defaults."""

import ast
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fake_torch_dist as dist
from fake_torch_dist.torch_names import TORCH_NAMES

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "torch" / "dist_api.json"
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
    with pytest.raises(
        AttributeError, match=r"fake_torch_dist has no 'breakpoint' yet; torch.distributed 2\.13 does\."
    ):
        _ = dist.breakpoint
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
