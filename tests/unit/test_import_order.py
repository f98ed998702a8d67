"""Imports run one way: facts, then physics, then the script's objects, then what shows and keeps them.

Whatever a module imports counts, also inside its functions; what only a type checker sees does not. For cycles the
imports that run when a module is loaded count.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.repository import ROOT

PACKAGES = ("accelerate_sim", "fake_torch_dist")

PURE = {
    "__future__", "bisect", "collections", "dataclasses", "functools", "hashlib", "itertools", "math", "typing",
    "numpy",
}  # fmt: skip
"""Modules that physics may use: none with a state, a clock or a way out."""


@cache
def modules() -> dict[str, Path]:
    """All modules of both packages by their dotted names."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _statements(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif _for_type_checkers(child):
            assert isinstance(child, ast.If)
            for alternative in child.orelse:
                yield from _statements(alternative, inside_functions=inside_functions)
        elif inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _statements(child, inside_functions=inside_functions)


@cache
def imports(module: str, *, inside_functions: bool = True) -> frozenset[str]:
    """Dotted names of what a module imports: of our own packages the module, of others whatever is written."""
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8")), inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
        for alias in node.names:
            name = f"{base}.{alias.name}"
            found.add(name if name in modules() else base)
    return frozenset(found)


def of(package: str) -> list[str]:
    return [module for module in modules() if module == package or module.startswith(package + ".")]


def offenders(package: str, forbidden: str) -> list[str]:
    """``module -> import`` for every import whose name matches."""
    pattern = re.compile(forbidden)
    return [f"{module} -> {name}" for module in of(package) for name in imports(module) if pattern.fullmatch(name)]


def test_messages_know_nothing_of_training() -> None:
    assert not offenders("fake_torch_dist", r"accelerate_sim.*")


def test_physics_has_no_state_clock_or_way_out() -> None:
    ours = r"accelerate_sim\.(sim|config|catalog|records)(\..*)?"
    for module in of("accelerate_sim.sim"):
        outside = {name for name in imports(module) if not re.fullmatch(ours, name)}
        assert {name.partition(".")[0] for name in outside} <= PURE, module


def test_physics_uses_no_generator_with_a_state() -> None:
    for module in of("accelerate_sim.sim"):
        assert not re.search(r"np\.random|numpy\.random|default_rng", modules()[module].read_text(encoding="utf-8"))


def test_facts_know_nothing_of_runs() -> None:
    assert not offenders("accelerate_sim.catalog", r"accelerate_sim\.(?!catalog).*")
    assert not offenders("accelerate_sim.config", r"accelerate_sim\.(?!catalog|config).*")


def test_records_know_nobody() -> None:
    assert not offenders("accelerate_sim.records", r"accelerate_sim.*")


def test_who_shows_or_keeps_numbers_computes_none() -> None:
    """The plan is the exception: it is what a display of the physics is for."""
    showing = offenders("accelerate_sim.display", r"accelerate_sim\.sim\b.*")
    assert all(entry.startswith("accelerate_sim.display.plan.") for entry in showing)
    assert not offenders("accelerate_sim.tracking", r"accelerate_sim\.(sim|display)\b.*")


def test_nothing_is_known_of_the_command_line() -> None:
    """It starts everything and is imported by nothing but the package's front, and by what is done before a fork."""
    users = {
        module for module in modules() if imports(module) & {"accelerate_sim.cli.app", "accelerate_sim.session.runner"}
    }
    assert users <= {
        "accelerate_sim", "accelerate_sim.before_fork", "accelerate_sim.cli.app", "accelerate_sim.cli.record",
    }  # fmt: skip


THREADED = {"background", "driving", "engine", "tasks"}
"""Modules of transports that may use ``_thread``: a script may call collectives from several threads, so the engine has
a lock, and asynchronous work of a rank that computes goes on in a thread that exists only while there is such work."""


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_starts_threads(package: str) -> None:
    found = set(offenders(package, r"(threading|_thread|concurrent|asyncio|multiprocessing)\b.*"))
    assert found <= {f"fake_torch_dist.transports.{module} -> _thread" for module in THREADED}


def test_no_module_needs_itself() -> None:
    """No cycle among the imports that run when modules are loaded."""
    graph = {module: imports(module, inside_functions=False) & modules().keys() - {module} for module in modules()}
    # What a package's front imports is loaded with each of its modules, but they do not need it.
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for name in sorted(graph[module]):
            visit(name, (*path, module))
        done.add(module)

    for module in sorted(modules()):
        visit(module, ())


def test_script_reads_like_any_other() -> None:
    """train.py is a user of both packages that tells nobody what they are."""
    text = (ROOT / "train.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    words = text.replace("accelerate_sim", "")
    assert not re.search(r"simul|fake|virtual|pretend|mock|dummy", words, re.IGNORECASE)
    tree = ast.parse(text)
    for node in _statements(tree, inside_functions=True):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        assert all(name in ("math", "accelerate_sim") for name in names)
