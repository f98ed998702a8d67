"""``record``: a decorator that writes the exception of a script to a file, so that its launcher can show it.

It takes the place of ``torch.distributed.elastic.multiprocessing.errors``::

    from fake_torch_dist.elastic_errors import record

    @record
    def main() -> None: ...

An exception that leaves ``main`` is written to the file that the launcher named in TORCHELASTIC_ERROR_FILE, in torch
2.13's JSON, and propagates. The file appears whole or not at all, so a rank that is killed while it writes leaves no
part of one. Modules that only an exception needs are imported only then.

What it does not do: raise or pass on ChildFailedError. A script that starts a launcher of its own sees it end with
exit code 1 and its report on stderr.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Final, ParamSpec, TypeVar

__all__ = ["ErrorHandler", "get_error_handler", "record"]

_R = TypeVar("_R")
_P = ParamSpec("_P")


class ErrorHandler:
    """Writes exceptions to the file named in TORCHELASTIC_ERROR_FILE; without that variable it writes nothing.

    A subclass may override both methods, as subclasses of torch's handler do.
    """

    def initialize(self) -> None:
        """Enable faulthandler before the function runs, so that a crash of the interpreter prints its stack."""
        import faulthandler

        try:
            faulthandler.enable(all_threads=True)
        except Exception as error:  # no stderr, or one without a descriptor
            _warn(f"Unable to enable fault handler. {type(error).__name__}: {error}")

    def record_exception(self, e: BaseException) -> None:
        """Write ``e``, which is being handled, to the error file. A file that can't be written is a warning."""
        file = os.environ.get("TORCHELASTIC_ERROR_FILE")
        if not file:
            return
        import traceback

        try:
            write_atomically(file, error_json(f"{type(e).__name__}: {e}", traceback.format_exc()))
        except OSError as error:
            _warn(f"Unable to write error to file. {type(error).__name__}: {error}")


def get_error_handler() -> ErrorHandler:
    """The handler of a ``record`` that is given none."""
    return ErrorHandler()


def record(fn: Callable[_P, _R], error_handler: ErrorHandler | None = None) -> Callable[_P, _R | None]:
    """Record exceptions that leave ``fn`` before they propagate; decorate a process's outermost function.

    ``sys.exit(0)`` becomes a return of None. Other exits and KeyboardInterrupt propagate and are not recorded.
    """
    handler = error_handler or get_error_handler()

    @wraps(fn)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        handler.initialize()
        try:
            return fn(*args, **kwargs)
        except SystemExit as end:
            if end.code == 0:
                return None
            raise
        except Exception as error:
            handler.record_exception(error)
            raise

    return wrapper


def error_json(message: str, callstack: str) -> str:
    """Text of an error file that is written now; torch counts its time in whole seconds since the epoch."""
    import json
    import time

    extra = {"py_callstack": callstack, "timestamp": str(int(time.time()))}
    return json.dumps({"message": {"message": message, "extraInfo": extra}})


def write_atomically(path: str, text: str) -> None:
    """Replace the contents of ``path`` by ``text``, so that no reader sees a part of it. Raises OSError.

    A path that is not a regular file, such as /dev/stderr, and one that cannot be replaced, such as a pod's termination
    log, which is mounted into a directory of another user's, is written to in place.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        _write_in_place(path, text)
        return
    beside = f"{path}.{os.getpid()}"
    try:
        if os.path.lexists(beside):
            os.unlink(beside)  # rather than to follow it, if it is a link
        with open(beside, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(beside)
        if error.errno not in _NOT_REPLACEABLE or not os.path.exists(path):
            raise
        _write_in_place(path, text)


_NOT_REPLACEABLE: Final = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)


def _write_in_place(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, stacklevel=3)
