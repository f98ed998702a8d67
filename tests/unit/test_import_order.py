"""Imports go one way: each folder and each file of a package root has a rank, and imports only what has a lower one.

Every import counts, those inside functions and under ``TYPE_CHECKING`` included. Within a folder modules have no ranks,
but no module may need itself, directly or through others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.support.module_facts import facts_of
from tests.support.repository import ROOT

PACKAGES = ("accelerate_sim", "fake_torch_dist")

RANKS = {
    "accelerate_sim": (
        "lazy_names",
        "version",
        "gpu_condition",
        "records",
        "catalog",  # models, GPUs and datasets
        "config",
        "process",  # clock, signals and rank of this process
        "logging",
        "sim",  # the physics
        "faults",  # what strikes a run, and when
        "artifacts",
        "hazards",  # what is done to log lines
        "display",
        "voices",
        "tracking",
        "report",  # a page of pictures
        "reporting",  # physics -> records -> sums and lines
        "dashboard",  # a run on the whole screen
        "monitoring",
        "checkpoints",
        "checkpointing",
        "training_progress",
        "own_script",
        "own_script.device",
        "utils.dataclasses",  # kinds and settings under Accelerate's names
        "own_script.settings",
        "session",
        "own_script.shares",
        "own_script.process_control",
        "state",
        "progress",
        "own_script.gathering",  # what the objects of a user's own script need
        "own_script.gradient_state",
        "own_script.objects",
        "own_script.checkpoints",
        "own_script.trackers",
        "utils",
        "optimizer",
        "data_loader",
        "own_script.sharded_loader",
        "scheduler",
        "replica_tensor",
        "modeling",
        "own_script.simulated_objects",
        "export",
        "own_script.prepared_objects",  # the parts of Accelerator
        "own_script.process_properties",
        "own_script.setting_properties",
        "own_script.names_without_meaning",
        "own_script.collectives",
        "own_script.gradients",
        "own_script.files",
        "own_script.run_position",
        "accelerator",
        "own_script.local_sgd",
        "api",  # plans and runs as Python objects
        "testing",  # the objects of the pytest plugin
        "cli",
        "calibration",
        "",  # the package's front
        "train",
        "__main__",
        "before_fork",
        "web",  # the page: uses the product, which knows nothing of it
    ),
    "fake_torch_dist": (
        "errors",
        "elastic_errors",
        "torch_names",
        "nccl",
        "default_sigint",
        "terminal",
        "launcher.environment_names",
        "stores",
        "core",  # the meaning of collectives
        "transports",  # the ways to move bytes
        "meeting",
        "api",
        "mesh",
        "device_mesh",
        "public",
        "",  # the package's front
        "launcher",
        "launcher.loop",
        "launcher.failures",
        "launcher.commandline",
        "launcher.entrypoint",
        "launcher.protocol",
        "launcher.channel",
        "launcher.logs",
        "launcher.workers",
        "launcher.output",
        "launcher.reports",
        "launcher.local_node",
        "launcher.routes",
        "launcher.group_attempt",
        "launcher.typed_keys",
        "launcher.job_control",
        "launcher.shutdown",
        "launcher.worker_group",
        "launcher.hosts",
        "launcher.job",
        "launcher.launch",
        "__main__",
        "before_fork",
        "constants",
        "distributed_c10d",
        "pytest_plugin",
        "run",
    ),
}
"""Rooms of each package, the lowest rank first: folders, files of the package root, and "" for its ``__init__``.

A folder inside a folder has the rank of the outer one, or its own if it is listed with a dot.
"""

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


@cache
def imports(module: str, *, inside_functions: bool = True, for_types: bool = False) -> frozenset[str]:
    """Dotted names that a module imports: of our own packages the module, of others whatever is written."""
    path = modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for statement in facts_of(path.read_text(encoding="utf-8")).imports:
        if (statement.in_function and not inside_functions) or (statement.for_types and not for_types):
            continue
        if statement.base is None:
            found |= set(statement.names)
            continue
        base = statement.base
        if statement.level:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - statement.level + 1], *([base] if base else [])])
        for imported in statement.names:
            name = f"{base}.{imported}"
            found.add(name if name in modules() else base)
    return frozenset(found)


def of(package: str) -> list[str]:
    return [module for module in modules() if module == package or module.startswith(package + ".")]


def offenders(package: str, forbidden: str) -> list[str]:
    """``module -> import`` for every import whose name matches."""
    pattern = re.compile(forbidden)
    return [f"{module} -> {name}" for module in of(package) for name in imports(module) if pattern.fullmatch(name)]


def room_of(module: str) -> str:
    """The room of a module in the table of its package: the longest name that it is, or is in."""
    package, _, rest = module.partition(".")
    rooms = RANKS[package]
    parts = rest.split(".")
    return next((room for end in range(len(parts), 0, -1) if (room := ".".join(parts[:end])) in rooms), parts[0])


def upward(package: str) -> list[str]:
    """``module -> import`` for every import of a room with a higher rank, or with none."""
    rank = {room: number for number, room in enumerate(RANKS[package])}
    found = []
    for module in of(package):
        for name in sorted(imports(module, for_types=True) & set(of(package)) - {module}):
            ours, theirs = room_of(module), room_of(name)
            if ours != theirs and rank.get(theirs, len(rank)) > rank.get(ours, -1):
                found.append(f"{module} -> {name}  ({ours or 'front'} may not import {theirs or 'the front'})")
    return found


@pytest.mark.parametrize("package", RANKS)
def test_no_import_goes_up(package: str) -> None:
    arrows = upward(package)
    assert not arrows, "\n".join(arrows)


@pytest.mark.parametrize("package", RANKS)
def test_each_room_has_one_rank(package: str) -> None:
    rooms = {room_of(module) for module in of(package)}
    assert sorted(RANKS[package]) == sorted(rooms)


def test_an_import_that_goes_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way it is written: at the top, inside a function, or for types only."""
    swapped = tuple(reversed(RANKS["accelerate_sim"]))
    monkeypatch.setitem(RANKS, "accelerate_sim", swapped)
    arrows = {arrow.partition("  ")[0] for arrow in upward("accelerate_sim")}
    assert "accelerate_sim.state -> accelerate_sim.session.session" in arrows
    assert "accelerate_sim.accelerator -> accelerate_sim.session.begin_run" in arrows
    assert "accelerate_sim.state -> accelerate_sim.session.active_run" in arrows


def test_messages_know_nothing_of_training() -> None:
    knowing = {entry.partition(" ->")[0] for entry in offenders("fake_torch_dist", r"accelerate_sim.*")}
    assert knowing == {"fake_torch_dist.pytest_plugin"}  # for tests of others, and imported by nothing


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
    assert not offenders("accelerate_sim.records", r"accelerate_sim(?!\.records\.).*")


def test_who_shows_or_keeps_numbers_computes_none() -> None:
    """The plan is the exception: it is what a display of the physics is for."""
    showing = offenders("accelerate_sim.display", r"accelerate_sim\.sim\b.*")
    assert all(entry.startswith("accelerate_sim.display.plan.") for entry in showing)
    assert not offenders("accelerate_sim.tracking", r"accelerate_sim\.(sim|display)\b.*")


def test_nothing_is_known_of_the_command_line() -> None:
    """It starts everything and is imported by nothing but the package's front, before a fork, and by the page."""
    users = {
        module for module in modules() if imports(module) & {"accelerate_sim.cli.app", "accelerate_sim.session.runner"}
    }
    assert users <= {
        "accelerate_sim", "accelerate_sim.before_fork", "accelerate_sim.cli.record",
        "accelerate_sim.cli.train_command", "accelerate_sim.web.engine",
    }  # fmt: skip


THREADED = {
    "fake_torch_dist.core.task",
    "fake_torch_dist.stores.lock",
    "fake_torch_dist.transports.background",
    "fake_torch_dist.transports.driving",
    "fake_torch_dist.transports.loop",
    "fake_torch_dist.transports.program_wait",
}
"""Modules that may use ``_thread``, and nothing else of the kind.

A script may call collectives from several threads: ``engine`` has a lock for tasks and messages, ``driving`` one for
each thread that waits, ``task`` one for its callbacks, ``lock`` that of a store; ``program_wait`` asks which thread
calls. ``background`` starts the only thread, when asynchronous work is pending while the rank computes; it ends when
there is none.
``threading`` is not among them: importing it adds work to every fork."""


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_starts_threads(package: str) -> None:
    found = set(offenders(package, r"(threading|_thread|concurrent|asyncio|multiprocessing)\b.*"))
    in_tests_of_others = {"accelerate_sim.testing.dcgm -> threading"}  # it answers while the test goes on
    assert found - in_tests_of_others == {f"{module} -> _thread" for module in THREADED if module.startswith(package)}


def test_the_meaning_of_collectives_needs_no_way_to_move_bytes() -> None:
    assert not offenders(
        "fake_torch_dist.core", r"fake_torch_dist\.(api|device_mesh|mesh|meeting|public|transports)\b.*"
    )
    assert not offenders("fake_torch_dist.transports", r"fake_torch_dist\.(api|device_mesh|mesh|meeting|public)\b.*")


def test_one_module_starts_a_thread() -> None:
    starting = [module for module in modules() if "start_new_thread" in modules()[module].read_text(encoding="utf-8")]
    assert starting == ["fake_torch_dist.transports.background"]


def find_cycle(graph: Mapping[str, Iterable[str]]) -> str:
    """A cycle in a graph of imports, as ``a -> b -> a``; empty if there is none."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> str:
        if module in path:
            return " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return ""
        found = next(filter(None, (visit(name, (*path, module)) for name in sorted(graph[module]))), "")
        done.add(module)
        return found

    return next(filter(None, (visit(module, ()) for module in sorted(graph))), "")


def test_no_module_needs_itself_when_it_is_loaded() -> None:
    # A module does not need what the front of its package imports, though that is loaded with it.
    graph = {module: imports(module, inside_functions=False) & modules().keys() - {module} for module in modules()}
    assert not find_cycle(graph)


@pytest.mark.parametrize("package", RANKS)
def test_no_module_needs_itself_in_functions_or_for_types(package: str) -> None:
    inside = set(of(package))
    graph = {module: imports(module, for_types=True) & inside - {module} for module in inside}
    assert not find_cycle(graph)


def test_a_cycle_is_found_and_named() -> None:
    assert find_cycle({"a": ["b"], "b": ["c"], "c": ["b", "d"], "d": []}) == "b -> c -> b"
    assert find_cycle({"a": ["b", "c"], "b": ["c"], "c": []}) == ""


def test_script_reads_like_any_other() -> None:
    """train.py is a user of both packages that tells nobody what they are."""
    text = (ROOT / "train.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    words = text.replace("accelerate_sim", "")
    assert not re.search(r"simul|fake|virtual|pretend|mock|dummy", words, re.IGNORECASE)
    for statement in facts_of(text).imports:
        names = statement.names if statement.base is None else [statement.base]
        assert all(name in ("math", "accelerate_sim") for name in names)
