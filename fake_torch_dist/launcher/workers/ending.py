"""The end of a forked rank: an exception is reported, and the process ends, as Python does both.

Finalizing an interpreter copies most of the memory that a rank shares with the others. It is left out where nobody can
tell: when no object of the script's is left that has something to do at its end, such as an open file. So is the C
library's ``exit``, which runs the handlers of OpenSSL and others, when the script has used no library of C's.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import types
from contextlib import suppress
from enum import Enum
from typing import Any, Final, NoReturn

from fake_torch_dist.launcher.workers.start_method import is_pythons_own

_FLUSH_FAILED: Final = 120
"""Python's exit code when standard output can't be flushed."""
_display: Final = sys.__excepthook__
_SUSPENDABLE: Final = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
_END_WITHOUT_WORK: Final = frozenset({"numpy", "pydantic_core", "_yaml", "yaml"})
"""Packages with extension modules that leave nothing to ``Py_AtExit``."""
_LIBRARIES: Final = frozenset({ctypes.CDLL, ctypes.PyDLL})


class _Left(Enum):
    """Who has something to do at the end of a process."""

    NOTHING = 0
    C_LIBRARIES = 1
    PYTHONS = 2


def report(error: BaseException) -> int:
    """Print the exception that ended the script, as ``PyErr_Print``. Returns the exit code, -SIGINT for Ctrl-C."""
    if isinstance(error, SystemExit):
        return _code_of(error)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    hook: Any = getattr(sys, "excepthook", None)
    if hook is None:
        _write_stderr("sys.excepthook is missing\n")
        _show(error)
    elif failure := _failure_of(hook, error):
        if isinstance(failure, SystemExit):
            return _code_of(failure)
        _write_stderr("Error in sys.excepthook:\n")
        _show(failure)
        _write_stderr("\nOriginal exception was:\n")
        _show(error)
    return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1


def end(code: int, inherited: set[str]) -> NoReturn:
    """End the process with this exit code, or by the signal whose negative number it is.

    ``inherited``: modules that were imported before the fork.
    """
    try:
        if (threading := sys.modules.get("threading")) and len(sys._current_frames()) == 1:
            threading._shutdown()  # what waits for the end of threads, although there are none
        if len(sys._current_frames()) == 1:
            atexit._run_exitfuncs()
        if not _flush():
            code = _FLUSH_FAILED
        left = _work_left(inherited)
        if left is _Left.PYTHONS:
            _finalize(code)
    except BaseException:  # such as that of a signal's handler
        _finalize(code)
    if code < 0:
        _die_of(-code)
    if left is _Left.C_LIBRARIES:
        ctypes.pythonapi.exit(code)
    ctypes.pythonapi.fflush(None)
    os._exit(code)


def _code_of(ending: SystemExit) -> int:
    code: object = ending.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(2**63) <= code < 2**63 else 0xFF  # no C long: -1
    try:
        text = str(code)
    except BaseException:
        text = ""
    _write_stderr(text + "\n")
    return 1


def _failure_of(hook: Any, error: BaseException) -> BaseException | None:
    """What the hook raises, with the hook's frame as the first."""
    try:
        hook(type(error), error, error.__traceback__)
    except BaseException as failure:
        return failure.with_traceback(failure.__traceback__ and failure.__traceback__.tb_next)
    return None


def _show(error: BaseException) -> None:
    """As Python's own hook, which says nothing of what goes wrong with it."""
    with suppress(BaseException):
        _display(type(error), error, error.__traceback__)


def _write_stderr(text: str) -> None:
    """To ``sys.stderr``, or to the descriptor where that is missing or broken."""
    try:
        sys.stderr.write(text)
    except BaseException:
        with suppress(OSError):
            os.write(2, text.encode(errors="backslashreplace"))


def _work_left(inherited: set[str]) -> _Left:
    """Who still does something: for threads and objects of Python's, or in handlers of C's ``exit``."""
    if len(sys._current_frames()) > 1 or "Py_AtExit" in vars(ctypes.pythonapi):
        return _Left.PYTHONS
    extensions = [name for name in sys.modules.keys() - inherited if _is_extension(name)]
    if any(_is_foreign(name) for name in extensions):
        return _Left.PYTHONS
    created = gc.get_objects()  # since the fork: what was there before is frozen
    kinds = set(map(type, created))
    finalized = {kind for kind in kinds if hasattr(kind, "__del__")}
    if finalized and any(type(thing) in finalized and _does_something(thing) for thing in created):
        return _Left.PYTHONS
    return _Left.C_LIBRARIES if extensions or kinds & _LIBRARIES else _Left.NOTHING


def _does_something(thing: Any) -> bool:
    """Whether an object of a type with a finalizer would do something visible there."""
    if isinstance(thing, _SUSPENDABLE):
        frame = getattr(thing, "gi_frame", None) or getattr(thing, "cr_frame", None) or getattr(thing, "ag_frame", None)
        return frame is not None and frame.f_lasti > 0
    return not getattr(thing, "closed", False)


def _is_extension(name: str) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(file, str) and not file.endswith((".py", ".pyc"))


def _is_foreign(extension: str) -> bool:
    """Whether an extension module may have left something to ``Py_AtExit``."""
    if is_pythons_own(sys.modules[extension].__file__):
        return False
    return extension.partition(".")[0] not in _END_WITHOUT_WORK


def _flush() -> bool:
    """Flush standard output and error. False if that fails; then the stream is not flushed again at the very end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name, None)
        try:
            if stream is not None and not getattr(stream, "closed", False):
                stream.flush()
        except BaseException as error:
            setattr(sys, name, None)
            if name == "stdout":
                _write_stderr(f"Exception ignored in: {stream!r}\n")
                _show(error.with_traceback(None))
            return False
    return True


def _finalize(code: int) -> NoReturn:
    """As the interpreter's own end: everything is finalized, then C's ``exit`` is called."""
    gc.unfreeze()  # what the script has hung on a module that was imported before belongs to it
    if code < 0:
        library: Any = ctypes.pythonapi
        library.on_exit(ctypes.cast(library["raise"], ctypes.c_void_p), None)  # it gets the exit code: a signal
        ctypes.pythonapi.Py_Exit(-code)
    ctypes.pythonapi.Py_Exit(code)
    raise AssertionError("Py_Exit has returned")


def _die_of(number: int) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)
