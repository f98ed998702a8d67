"""Ends a forked rank as Python ends a script: reports its exception, then ends the process.

Finalizing an interpreter copies most of the memory that a rank shares with the others. It is left out where it has no
effect: when no object of the script is left that does something at its end, such as an open file. The C library's
``exit``, which runs the handlers of OpenSSL and others, is left out when the script has used no C library.
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

from fake_torch_dist.launcher.workers.descriptors import write_descriptor_2
from fake_torch_dist.launcher.workers.start_method import is_pythons_own

_FLUSH_FAILED: Final = 120
"""Python's exit code when standard output can't be flushed."""
_display: Final = sys.__excepthook__
_SUSPENDABLE: Final = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
_END_WITHOUT_WORK: Final = frozenset({"numpy", "pydantic_core", "_yaml", "yaml"})
"""Packages whose extension modules register nothing with ``Py_AtExit``."""
_LIBRARIES: Final = frozenset({ctypes.CDLL, ctypes.PyDLL})


class _WorkLeft(Enum):
    """Part of a process that has something to do at its end."""

    NOTHING = 0
    C_LIBRARIES = 1
    PYTHONS = 2


def report(error: BaseException) -> int:
    """Print the exception that ended the script, as Python does. Returns the exit code, -SIGINT for Ctrl-C."""
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
            threading._shutdown()  # runs its callbacks, although there are no threads to wait for
        if len(sys._current_frames()) == 1:
            atexit._run_exitfuncs()
        if not _flush():
            code = _FLUSH_FAILED
        left = _work_left(inherited)
        if left is _WorkLeft.PYTHONS:
            _finalize(code)
    except BaseException:  # a signal's handler may raise
        _finalize(code)
    if code < 0:
        _end_by_signal(-code)
    if left is _WorkLeft.C_LIBRARIES:
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
    """Return the exception that the hook raises, with the hook's frame as the first; None if it raises none."""
    try:
        hook(type(error), error, error.__traceback__)
    except BaseException as failure:
        return failure.with_traceback(failure.__traceback__ and failure.__traceback__.tb_next)
    return None


def _show(error: BaseException) -> None:
    """Print an exception as Python's own hook does, and ignore errors of that."""
    with suppress(BaseException):
        _display(type(error), error, error.__traceback__)


def _write_stderr(text: str) -> None:
    """Write to ``sys.stderr``, or to the descriptor if that is missing or broken."""
    try:
        sys.stderr.write(text)
    except BaseException:
        write_descriptor_2(text)


def _work_left(inherited: set[str]) -> _WorkLeft:
    """Return which part has something left to do: Python, for its threads and objects, or handlers of C's ``exit``."""
    if len(sys._current_frames()) > 1 or "Py_AtExit" in vars(ctypes.pythonapi):
        return _WorkLeft.PYTHONS
    extensions = [name for name in sys.modules.keys() - inherited if _is_extension(name)]
    if any(_is_foreign(name) for name in extensions):
        return _WorkLeft.PYTHONS
    created = gc.get_objects()  # objects made since the fork: older ones are frozen
    kinds = set(map(type, created))
    finalized = {kind for kind in kinds if hasattr(kind, "__del__")}
    if finalized and any(type(thing) in finalized and _does_something(thing) for thing in created):
        return _WorkLeft.PYTHONS
    return _WorkLeft.C_LIBRARIES if extensions or kinds & _LIBRARIES else _WorkLeft.NOTHING


def _does_something(thing: Any) -> bool:
    """Return whether an object of a type with a finalizer would do something visible there."""
    if isinstance(thing, _SUSPENDABLE):
        frame = getattr(thing, "gi_frame", None) or getattr(thing, "cr_frame", None) or getattr(thing, "ag_frame", None)
        return frame is not None and frame.f_lasti > 0
    if _is_socket(type(thing)):
        return bool(thing.fileno() >= 0)  # it has no attribute ``closed``
    return not getattr(thing, "closed", False)


def _is_socket(kind: type) -> bool:
    """Return whether this is Python's own class of sockets, whose finalizer closes an open one."""
    return kind is getattr(sys.modules.get("socket"), "socket", None)


def _is_extension(name: str) -> bool:
    file = getattr(sys.modules.get(name), "__file__", None)
    return isinstance(file, str) and not file.endswith((".py", ".pyc"))


def _is_foreign(extension: str) -> bool:
    """Return whether an extension module may have left something to ``Py_AtExit``."""
    if is_pythons_own(sys.modules[extension].__file__):
        return False
    return extension.partition(".")[0] not in _END_WITHOUT_WORK


def _flush() -> bool:
    """Flush standard output and error. Returns False if that fails; then the stream is not flushed again later."""
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
    """End as the interpreter does: finalize everything, then call C's ``exit``."""
    gc.unfreeze()  # objects that the script has stored in older modules are the script's
    if code < 0:
        library: Any = ctypes.pythonapi
        library.on_exit(ctypes.cast(library["raise"], ctypes.c_void_p), None)  # it gets the exit code: a signal
        ctypes.pythonapi.Py_Exit(-code)
    ctypes.pythonapi.Py_Exit(code)
    raise AssertionError("Py_Exit has returned")


def _end_by_signal(number: int) -> NoReturn:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)
