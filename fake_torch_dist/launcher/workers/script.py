"""Runs the user's script in a forked rank, as a fresh ``python -u`` would run it.

The launcher reads and compiles the script once. Differences from a fresh interpreter: modules that the launcher has
imported are there already, ``hash`` of strings is the same on all ranks, and the launcher's frames are below the
script's first one, so the recursion limit is higher by their number.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, SourceFileLoader
from typing import Any, Final, NoReturn, TextIO

from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig
from fake_torch_dist.launcher.entrypoint.preflight import full_path
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.workers import ending, linux_processes, preload
from fake_torch_dist.launcher.workers.rank_environment import rank_environment
from fake_torch_dist.launcher.workers.top_level import UNKNOWN, read_top_level

_MAIN: Final = ("__main__", "__mp_main__")
"""Names of the main module; the second is that of ``multiprocessing``."""
_RECURSION_LIMIT: Final = sys.getrecursionlimit()
_CALLS_OF_SCRIPT: Final = 5 if sys.version_info < (3, 12) else 3
"""Calls between ``prepare`` and the script's first frame; up to Python 3.11 calls of C functions count."""


@dataclass(frozen=True)
class Script:
    """Script (with its compiled ``code``) or module that forked ranks run, and its arguments."""

    name: str
    kind: EntryKind
    arguments: Sequence[str]
    code: types.CodeType | None = None
    shadowed: frozenset[str] = frozenset()
    """Modules that are imported here, and that a rank has to import itself."""

    def freeze(self) -> None:
        """Keep the memory of this process shared with its forks, as far as possible."""
        preload.freeze()

    def prepare(self) -> None:
        """Do in this process, once, what all its forks need, so that no fork copies pages for it.

        Standard output and error have to be of the same kind, a file or a pipe, as in the forks.
        """
        _renew_streams()
        target = ["-m", self.name] if self.kind == EntryKind.MODULE else [self.name]
        sys.argv = [self.name, *self.arguments]
        sys.orig_argv = [sys.executable, "-u", *target, *self.arguments]
        sys.setrecursionlimit(_RECURSION_LIMIT + _depth() + _CALLS_OF_SCRIPT)
        gc.freeze()

    def run(self, inherited: set[str]) -> NoReturn:
        """Run the script in this process, a fork of one that is prepared, and end the process.

        ``inherited``: modules that were imported before the fork.
        """
        try:
            linux_processes.set_process_name(os.path.basename(sys.executable))
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()  # without it all ranks would draw the same numbers
            self._forget_shadowed()
            ending.end(self._exit_code(), inherited)
        finally:
            os._exit(1)

    def _forget_shadowed(self) -> None:
        if self.shadowed:  # reading every module's name would copy a page of almost each
            for name in [name for name in sys.modules if name.partition(".")[0] in self.shadowed]:
                del sys.modules[name]

    def _exit_code(self) -> int:
        ended_by: BaseException | None = None
        try:
            self._execute()
        except BaseException as error:
            ended_by = error
        if ended_by is None:
            return 0
        # Outside the handler: within it, the exception would be the context of whatever its hook raises.
        return ending.report(ended_by.with_traceback(_below(ended_by.__traceback__)))

    def _execute(self) -> None:
        if self.code is not None:
            exec(self.code, sys.modules["__main__"].__dict__)
            return
        import runpy

        if self.kind == EntryKind.MODULE:
            runpy._run_module_as_main(self.name)  # type: ignore[attr-defined]  # what ``python -m`` calls
        else:
            runpy.run_path(self.name, run_name="__main__")


def prepared_script(config: LaunchConfig, sources: Sequence[bytes]) -> Script:
    """Compile the script, and import the modules that it imports first. ``sources``: see ``forked_sources``.

    The script's directory is first on the path from now on. The ranks' ``__main__`` becomes this process's, so that
    modules that store it store the right one. Nothing else may store it: it has to be freed with ``sys.modules``.
    """
    name, kind = config.entrypoint, config.kind
    code = compile(sources[0], full_path(name), "exec", dont_inherit=True) if kind is EntryKind.SCRIPT else None
    main = _fresh_main(full_path(name) if code else None)
    sys.modules["__main__"] = main
    directory = _first_on_path(name, kind)
    preload.begin_path(directory)
    shadowed = preload.shadowed_by(directory)
    preload.import_ahead(_leading_imports(sources), directory)
    if config.min_nodes == config.max_nodes:
        preload.prepare(config.arguments, _environment_of_rank_0(config))
    for each in _MAIN:
        if each in sys.modules:
            sys.modules[each] = main
    if kind is EntryKind.MODULE:
        import runpy  # noqa: F401 - for all ranks
    return Script(name, kind, config.arguments, code, shadowed)


def _environment_of_rank_0(config: LaunchConfig) -> dict[str, str]:
    """The environment of rank 0 in the first attempt, but for the addresses at which ranks meet."""
    world_size = config.max_nodes * config.nproc_per_node
    assignment = NodeAssignment(
        attempt=0, restarts=0, group_rank=0, num_nodes=config.max_nodes, first_rank=0, world_size=world_size,
        master_addr=config.master_addr, master_port=0, run_id=config.run_id, store="", token="", node="node0",
    )  # fmt: skip
    return rank_environment(config, assignment, 0, "")


def _leading_imports(sources: Sequence[bytes]) -> Sequence[str]:
    try:
        return read_top_level(sources).imports
    except (SyntaxError, ValueError):  # a module's source, which has not been compiled yet
        return [UNKNOWN]


def _first_on_path(name: str, kind: EntryKind) -> str:
    if kind == EntryKind.MODULE:
        return os.path.dirname(full_path(name))
    return os.path.dirname(os.path.realpath(name))


def _fresh_main(path: str | None) -> types.ModuleType:
    """Return ``__main__`` as an interpreter has it before it runs a script or a module."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__annotations__={}, __builtins__=sys.modules["builtins"], __loader__=BuiltinImporter)
    if path is not None:
        main.__dict__.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
    return main


def _depth() -> int:
    """The number of frames from the first one to the caller's."""
    frame: types.FrameType | None = sys._getframe(1)
    depth = 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _below(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Return a traceback from the first frame of the script, or of runpy, on."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _renew_streams() -> None:
    """Make standard output and error unbuffered, as ``python -u`` does."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        before: TextIO | None = getattr(sys, f"__{name}__")
        raw: Any = io.FileIO(fd, "w", closefd=False)
        raw.name = f"<{name}>"
        stream = io.TextIOWrapper(
            raw,
            encoding=before.encoding if before else "utf-8",
            errors=before.errors if before else "backslashreplace",
            newline="\n",
            write_through=True,
        )
        setattr(stream, "mode", "w")  # noqa: B010 - read-only to a type checker
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
