"""A forked rank runs the user's script, as a fresh ``python -u SCRIPT`` would.

The script is read and compiled once, by the launcher. What differs from a fresh interpreter: modules that the launcher
has imported are there already, ``hash`` of strings is the same on all ranks, and the launcher's frames are below the
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
from fake_torch_dist.launcher.workers import ending, linux_processes, preload
from fake_torch_dist.launcher.workers.top_level import UNKNOWN, read_top_level

_MAIN: Final = ("__main__", "__mp_main__")
"""The second is multiprocessing's name for the first."""
_RECURSION_LIMIT: Final = sys.getrecursionlimit()
_CALLS_OF_SCRIPT: Final = 5 if sys.version_info < (3, 12) else 3
"""By which a script lies deeper than ``prepare``; up to Python 3.11 calls of C functions count."""


@dataclass(frozen=True)
class Script:
    """A script (with its compiled ``code``) or a module, and its arguments."""

    name: str
    kind: EntryKind
    arguments: Sequence[str]
    code: types.CodeType | None = None
    shadowed: frozenset[str] = frozenset()
    """Modules that are imported here, and that a rank has to import by itself."""

    def freeze(self) -> None:
        """Keep what is in this process now shared with its forks, as far as it goes."""
        preload.freeze()

    def prepare(self) -> None:
        """Make this process what its forks are to be, all alike: of what is done here, none copies a page.

        Standard output and error have to be of the kind, a file or a pipe, that they will be there.
        """
        _renew_streams()
        target = ["-m", self.name] if self.kind == EntryKind.MODULE else [self.name]
        sys.argv = [self.name, *self.arguments]
        sys.orig_argv = [sys.executable, "-u", *target, *self.arguments]
        sys.setrecursionlimit(_RECURSION_LIMIT + _depth() + _CALLS_OF_SCRIPT)
        gc.freeze()

    def run(self, inherited: set[str]) -> NoReturn:
        """Run it in this process, which was forked from one that is prepared, and end the process.

        ``inherited``: modules that were there before.
        """
        try:
            linux_processes.set_process_name(os.path.basename(sys.executable))
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()  # else all ranks would draw the same
            self._forget_shadowed()
            ending.end(self._exit_code(), inherited)
        finally:
            os._exit(1)

    def _forget_shadowed(self) -> None:
        if self.shadowed:  # a look at every module is a page of almost every one, copied
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
        # Not while the exception is being handled: then it would be the context of what its hook raises.
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
    """Compile the script, and import what it imports first. ``sources``: see ``forked_sources``.

    The script's directory comes first on the path from now on, and the ranks' ``__main__`` is this process's, so that
    modules that keep it keep the right one. Nothing else may: at the end it goes when ``sys.modules`` does.
    """
    name, kind = config.entrypoint, config.kind
    code = compile(sources[0], full_path(name), "exec", dont_inherit=True) if kind is EntryKind.SCRIPT else None
    main = _fresh_main(full_path(name) if code else None)
    sys.modules["__main__"] = main
    directory = _first_on_path(name, kind)
    preload.begin_path(directory)
    shadowed = preload.shadowed_by(directory)
    preload.import_ahead(_leading_imports(sources), directory)
    for each in _MAIN:
        if each in sys.modules:
            sys.modules[each] = main
    if kind is EntryKind.MODULE:
        import runpy  # noqa: F401 - for all ranks
    return Script(name, kind, config.arguments, code, shadowed)


def _leading_imports(sources: Sequence[bytes]) -> Sequence[str]:
    try:
        return read_top_level(sources).imports
    except (SyntaxError, ValueError):  # of a module, which nobody has compiled
        return [UNKNOWN]


def _first_on_path(name: str, kind: EntryKind) -> str:
    if kind == EntryKind.MODULE:
        return os.path.dirname(full_path(name))
    return os.path.dirname(os.path.realpath(name))


def _fresh_main(path: str | None) -> types.ModuleType:
    """``__main__`` as an interpreter has it before it runs a script, or ``-m``."""
    main = types.ModuleType("__main__")
    main.__dict__.update(__annotations__={}, __builtins__=sys.modules["builtins"], __loader__=BuiltinImporter)
    if path is not None:
        main.__dict__.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
    return main


def _depth() -> int:
    """BarRows from the first one to the caller's."""
    frame: types.FrameType | None = sys._getframe(1)
    depth = 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


def _below(trace: types.TracebackType | None) -> types.TracebackType | None:
    """A traceback from the script's first frame on, or runpy's."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _renew_streams() -> None:
    """Standard output and error as ``-u`` makes them: what is printed is written at once."""
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
