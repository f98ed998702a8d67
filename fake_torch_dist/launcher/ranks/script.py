"""A forked rank runs the user's script, as a fresh ``python -u SCRIPT`` would.

The script is read and compiled once, by the launcher. What differs from a fresh interpreter: modules that the launcher
has imported are there already, ``hash`` of strings is the same on all ranks, the launcher's frames are below the
script's first one, and at the end only the script's own modules are taken apart: files that nobody closed are written.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import runpy
import signal
import sys
import types
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from typing import Any, Final, NoReturn, TextIO

from ..commandline.config import EntryKind

_FLUSH_FAILED: Final = 120
"""Python's exit code when standard output can't be flushed."""
_PYTHONS_OWN: Final = os.path.join(os.path.dirname(os.__file__), "")
_USED_BY_FINALIZERS: Final = (
    types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type, str, bytes, int, float,
)  # fmt: skip
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True)
class Script:
    """A script (with its compiled ``code``) or a module, and its arguments."""

    name: str
    kind: EntryKind
    arguments: Sequence[str]
    code: types.CodeType | None = None
    shadowed: frozenset[str] = frozenset()
    """Modules that are imported here, and that the script has of its own."""

    @property
    def directory(self) -> str:
        """What a fresh interpreter puts first on its path."""
        if self.kind == EntryKind.MODULE:
            return os.getcwd()
        return os.path.dirname(os.path.realpath(self.name))

    @property
    def path(self) -> str:
        """What Python calls the file, in ``__file__`` and in tracebacks."""
        return self.name if os.path.isabs(self.name) else os.path.join(os.getcwd(), self.name)

    def prepare(self) -> None:
        """Make this process what its forks are to be, all alike: of what is done here, none copies a page.

        Standard output and error have to be of the kind, a file or a pipe, that they will be there.
        """
        _renew_streams()
        target = ["-m", self.name] if self.kind == EntryKind.MODULE else [self.name]
        sys.argv = [self.name, *self.arguments]
        sys.orig_argv = [sys.executable, "-u", *target, *self.arguments]
        if self.code is not None:
            sys.modules["__main__"] = _fresh_main(self.path)

    def run(self, inherited: set[str]) -> NoReturn:
        """Run it in this process, which was forked from one that is prepared, and end the process.

        ``inherited``: modules that were there before.
        """
        code = 1
        try:
            if "numpy.random" in sys.modules:
                sys.modules["numpy.random"].seed()  # else all ranks would draw the same
            self._forget_shadowed()
            code = self._exit_code()
            code = _finish(code, inherited)
        finally:
            os._exit(code)

    def _forget_shadowed(self) -> None:
        if self.shadowed:  # a look at every module is a page of almost every one, copied
            for name in [name for name in sys.modules if name.partition(".")[0] in self.shadowed]:
                del sys.modules[name]

    def _exit_code(self) -> int:
        try:
            self._execute()
        except SystemExit as ending:
            return _code_of(ending)
        except BaseException as error:
            with suppress(BaseException):
                _show(error)
            if isinstance(error, KeyboardInterrupt):
                return -signal.SIGINT
            return 1
        return 0

    def _execute(self) -> None:
        if self.kind == EntryKind.MODULE:
            runpy._run_module_as_main(self.name)  # type: ignore[attr-defined]  # what ``python -m`` calls
        elif self.code is None or self.kind == EntryKind.RUN_PATH:
            runpy.run_path(self.name, run_name="__main__")
        else:
            exec(self.code, sys.modules["__main__"].__dict__)


def _fresh_main(path: str) -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path), __annotations__={},
        __builtins__=sys.modules["builtins"],
    )  # fmt: skip
    return main


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


def _code_of(ending: SystemExit) -> int:
    code: object = ending.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    with suppress(BaseException):
        print(code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    """The traceback, from the script's first frame on."""
    trace = error.__traceback__
    here = {__file__, runpy.__file__, "<frozen runpy>"}
    while trace is not None and trace.tb_frame.f_code.co_filename in here:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)


def _finish(code: int, inherited: set[str]) -> int:
    """What an interpreter does when it ends: threads, exit functions, the script's objects, standard streams."""
    if threading := sys.modules.get("threading"):  # the script's threads: we have none
        with suppress(BaseException):
            threading._shutdown()
    with suppress(BaseException):
        atexit._run_exitfuncs()
    with suppress(BaseException):
        _let_go(inherited)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError, AttributeError):
            code = code or _FLUSH_FAILED
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _let_go(inherited: set[str]) -> None:
    """Drop what the script's own modules hold, so that it is finalized: a file that is open is flushed.

    One after the other, as the collector would close a file before it flushes it; finalizers still find what they use.
    """
    names = [name for name in sys.modules if name == "__main__" or (name not in inherited and _is_own(name))]
    atexit._clear()
    for held in [vars(sys.modules.pop(name)) for name in names]:
        for name in [name for name, value in held.items() if not isinstance(value, _USED_BY_FINALIZERS)]:
            held[name] = None
    gc.collect()


def _is_own(name: str) -> bool:
    """Whether a module is the user's: neither Python's nor installed."""
    file = getattr(sys.modules[name], "__file__", None)
    return isinstance(file, str) and not file.startswith(_PYTHONS_OWN) and not _INSTALLED & set(file.split(os.sep))
