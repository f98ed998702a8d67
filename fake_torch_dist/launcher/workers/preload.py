"""Imports modules that all ranks import, once before the ranks are forked.

These are the modules that the script imports before any other statement, in its order and from where the script finds
them, up to the first one that is not known to be free of side effects: for those it makes no difference that they come
early. Known are Python's own modules, a few packages, and any package that has a module ``before_fork``, which is
imported in its place. A function ``prepare`` of that module is called with the arguments of the script.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Final

from fake_torch_dist.launcher.workers.start_method import OUR_PACKAGES, is_pythons_own

FORK_SAFE: Final = ("numpy", "tqdm", "colorlog", "yaml")
_BEFORE_FORK: Final = ".before_fork"
_STARTS_THREADS: Final = "numpy"
_BEFORE_ANY_SCRIPT: Final = frozenset({
    "abc", "builtins", "codecs", "encodings", "genericpath", "io", "marshal", "os", "posix", "posixpath", "site",
    "stat", "sys", "time", "zipimport",
})  # fmt: skip
"""Modules that every interpreter imports before it looks at its path; names with an underscore are left out."""
_NEVER: Final = frozenset({"__main__", "antigravity", "idlelib", "this", "tkinter", "turtle", "turtledemo"})
"""Modules of Python that have a side effect when they are imported."""
_BLAS_VARIABLES: Final = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
"""Variables from which OpenBLAS takes its number of threads; the first that is set counts."""


def begin_path(directory: str) -> None:
    """Put the script's directory first on the path, unless an option of Python forbids it (-P, PYTHONSAFEPATH)."""
    if not sys.flags.safe_path:
        sys.path[0] = directory


def shadowed_by(directory: str) -> frozenset[str]:
    """Return modules imported here that a rank has to import itself.

    The script's directory, or one of PYTHONPATH, has a module of that name. The script would find that one, or it is
    that one and was imported without a rank's environment.
    """
    if sys.flags.safe_path:
        return frozenset()
    loaded = {name for name in sys.modules if "." not in name and name[0] != "_"}
    candidates = loaded - _BEFORE_ANY_SCRIPT - {"__main__", *OUR_PACKAGES}
    return frozenset(name for folder in _users_folders(directory) for name in candidates & _modules_in(folder))


def _users_folders(directory: str) -> list[str]:
    """Return the directories of the user's own modules, which precede Python's and the installed ones."""
    if sys.flags.ignore_environment:
        return [directory]
    return [directory, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def _modules_in(folder: str) -> set[str]:
    try:
        entries = os.listdir(folder)
    except OSError:
        return set()
    files = {entry.removesuffix(".py") for entry in entries if entry.endswith(".py")}
    return files | {entry for entry in entries if entry.isidentifier() and _is_package(os.path.join(folder, entry))}


def _is_package(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "__init__.py"))


def freeze() -> None:
    """Keep garbage collection and attribute lookups in forks from writing to present objects, which stay shared."""
    gc.collect()
    sys._clear_type_cache()  # replacing an entry writes to the name in it, wherever that is
    sys._clear_type_cache()
    gc.freeze()


def import_ahead(modules: Iterable[str], directory: str) -> None:
    """Import the modules that a script in ``directory`` imports first, up to one that is not known to be harmless."""
    own = {os.path.realpath(folder) for folder in _users_folders(directory)}
    for module in modules:
        try:
            if not _import(module, own):
                return
        except Exception:  # the script raises it again
            return


def prepare(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Let packages compute once what ranks with these arguments need. ``environment`` is that of rank 0."""
    for name in [name for name in sys.modules if name.endswith(_BEFORE_FORK)]:
        if hasattr(sys.modules[name], "prepare"):
            sys.modules[name].prepare(arguments, environment)


def _import(module: str, own_folders: set[str]) -> bool:
    """Import a module if it is harmless. Returns whether it is."""
    package = module.partition(".")[0]
    if not package or package in _NEVER:
        return False
    if package in sys.builtin_module_names:
        return True
    spec = _spec(package)
    if spec is None:
        return False
    if _has_before_fork(spec):
        importlib.import_module(package)  # it may set its number of threads there
        if not _is_single_threaded(os.environ):
            return False
        module = package + _BEFORE_FORK
    elif not is_pythons_own(spec.origin) and not _is_known(package, spec, own_folders):
        return False
    importlib.import_module(module)
    return True


def _spec(package: str) -> ModuleSpec | None:
    """Return what the script would import under this name, even if another is imported here."""
    found = (finder.find_spec(package, None) for finder in sys.meta_path)  # includes those of editable installs
    return PathFinder.find_spec(package, sys.path) or next(filter(None, found), None)


def _has_before_fork(spec: ModuleSpec) -> bool:
    return any(Path(folder, "before_fork.py").is_file() for folder in spec.submodule_search_locations or ())


def _is_known(package: str, spec: ModuleSpec, own_folders: set[str]) -> bool:
    """Return whether it is a known package as installed, and not the user's own copy."""
    if package not in FORK_SAFE or spec.origin is None:
        return False
    place = os.path.dirname(os.path.realpath(spec.origin))
    if (os.path.dirname(place) if spec.submodule_search_locations else place) in own_folders:
        return False
    return package != _STARTS_THREADS or _is_single_threaded(os.environ)


def _is_single_threaded(environment: Mapping[str, str]) -> bool:
    """Return whether numpy's BLAS starts no threads when it is imported: a process with threads cannot be forked."""
    asked = next((value for name in _BLAS_VARIABLES if (value := environment.get(name))), None)
    if asked is None:
        return len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)) == 1
    return asked.strip() == "1"
