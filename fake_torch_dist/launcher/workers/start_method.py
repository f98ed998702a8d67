"""Chooses how ranks start: as interpreters of their own, as torchrun starts them, or as forks of a prepared one.

A fork is quicker and smaller, but it shares what was imported before it. So by default only scripts that begin with one
of our packages are forked, and only if this interpreter holds nothing that a fresh one would set up itself: a debugger,
a profiler, a site's own code, options on the command line of Python.
"""

from __future__ import annotations

import os
import sys
import zipimport
from typing import Final

from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig

OUR_PACKAGES: Final = ("fake_torch_dist", "accelerate_sim")
SPAWN: Final = "spawn"
_STANDARD_LIBRARY: Final = os.path.join(os.path.dirname(os.__file__), "")
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_HARMLESS: Final = frozenset({"__main__", "_distutils_hack", "_virtualenv", *OUR_PACKAGES})
_OF_EDITABLE_INSTALLS: Final = "__editable__"
_SAME_IN_RANKS: Final = frozenset({"-u"})


def forked_sources(config: LaunchConfig) -> list[bytes] | None:
    """Return the sources that run first in a rank, in order; None if ranks are to be interpreters of their own.

    The list is empty if they cannot be read, as those of a module that only its package can find.
    """
    if config.kind is EntryKind.PROGRAM or config.python is not None or config.start_method == SPAWN:
        return None
    is_auto = config.start_method is None
    if is_auto and (config.kind is EntryKind.RUN_PATH or is_observed()):
        return None
    if not _has_working_directory() or (config.kind is not EntryKind.MODULE and not _is_source(config)):
        return None
    sources = _sources(config)
    if is_auto and not any(package.encode() in source for source in sources for package in OUR_PACKAGES):
        return None  # most other scripts: they need no parsing
    from fake_torch_dist.launcher.workers.top_level import read_top_level

    try:
        top = read_top_level(sources)
    except (SyntaxError, ValueError):
        return None if is_auto else sources
    if top.changes_path or (is_auto and not _declares_itself(top.imports, config)):
        return None
    return sources


def is_observed() -> bool:
    """Return whether a debugger or other foreign code runs here: a fresh interpreter would run it, a fork does not."""
    if sys.gettrace() or sys.getprofile() or _has_options():
        return True
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    if monitoring and any(monitoring.get_tool(number) for number in range(6)):
        return True
    if (threading := sys.modules.get("threading")) and threading.active_count() > 1:
        return True
    return any(_is_foreign(name) for name in sys.modules if "." not in name)


def is_pythons_own(file: str | None) -> bool:
    """Return whether a file belongs to the standard library."""
    if not file or not file.startswith(_STANDARD_LIBRARY):
        return False
    return not _INSTALLED & set(file.removeprefix(_STANDARD_LIBRARY).split(os.sep))


def _is_foreign(name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    if not isinstance(file, str) or is_pythons_own(file):
        return False
    return name not in _HARMLESS and not name.startswith(_OF_EDITABLE_INSTALLS)


def _has_options() -> bool:
    """Return whether Python was started with options such as -X: torchrun does not pass them on to ranks."""
    for argument in sys.orig_argv[1:]:
        if argument == "-m" or not argument.startswith("-"):
            return False
        if argument not in _SAME_IN_RANKS:
            return True
    return False


def _has_working_directory() -> bool:
    """Return False if it has been deleted: then no path can be made absolute."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _is_source(config: LaunchConfig) -> bool:
    """Return whether the script is a file that can be compiled, and no directory or archive with a ``__main__``."""
    if config.streamed or config.entrypoint.endswith(".pyc"):
        return False
    try:
        zipimport.zipimporter(config.entrypoint)
    except zipimport.ZipImportError:
        return os.path.isfile(config.entrypoint)
    return False


def _sources(config: LaunchConfig) -> list[bytes]:
    if config.kind is not EntryKind.MODULE:
        with open(config.entrypoint, "rb") as file:
            return [file.read()]
    from fake_torch_dist.launcher.entrypoint.module_search import find_module, source_of

    try:
        specs = find_module(config.entrypoint)
        if specs[-1] and specs[-1].submodule_search_locations is not None:
            specs = find_module(f"{config.entrypoint}.__main__")
        sources = [source_of(spec) if spec else None for spec in specs]
    except Exception:  # an import hook may raise anything
        return []
    readable = [source for source in sources if source is not None]
    return readable if len(readable) == len(sources) else []


def _declares_itself(imports: tuple[str, ...], config: LaunchConfig) -> bool:
    """Return whether the script begins with one of our packages, and not with a copy of it beside the script."""
    packages = {name.partition(".")[0] for name in imports} & set(OUR_PACKAGES)
    if config.kind is EntryKind.MODULE and config.entrypoint.partition(".")[0] in OUR_PACKAGES:
        packages.add(config.entrypoint.partition(".")[0])
    return bool(packages) and all(_is_our_copy(package, config) for package in packages)


def _is_our_copy(package: str, config: LaunchConfig) -> bool:
    directory = "" if config.kind is EntryKind.MODULE else os.path.dirname(os.path.realpath(config.entrypoint))
    beside = os.path.join(directory, package)
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    if sys.flags.safe_path or not (os.path.exists(beside) or os.path.exists(beside + ".py")):
        return True
    return os.path.realpath(beside) == os.path.realpath(os.path.join(home, package))
