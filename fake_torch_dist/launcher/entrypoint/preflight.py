"""Checks the program, script or module of the ranks, once before anything starts.

A check raises an error only for what is sure to fail on every rank. In doubt the ranks fail themselves, as under
torchrun.
"""

from __future__ import annotations

import os
from typing import Final

from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig
from fake_torch_dist.launcher.commandline.parser import UsageError
from fake_torch_dist.launcher.entrypoint.working_directory import working_directory

ZIP_BEGINNING: Final = b"PK"
"""First bytes of an archive, which Python can run."""


def check_entrypoint(config: LaunchConfig) -> None:
    """Raise UsageError if there is no such script, module or program, SyntaxError if the script has an error."""
    if config.kind == EntryKind.PROGRAM:
        _check_program(config.entrypoint)
        return
    if config.python is not None:
        _check_program(config.python)
    if config.kind != EntryKind.MODULE:
        if not config.streamed:
            _check_script(config)
        elif config.source is not None and config.python is None:
            _check_syntax(config.source, full_path(config.entrypoint))
    elif config.python is None:  # the modules of another interpreter are not known here
        from fake_torch_dist.launcher.entrypoint.module_search import check_module

        check_module(config.entrypoint)


def full_path(name: str) -> str:
    """Return the absolute path of a script, or ``name`` itself if the working directory is gone."""
    try:
        return os.path.join(os.getcwd(), name)
    except OSError:
        return name


def _check_program(name: str) -> None:
    """Look for a program as ``execvp`` does."""
    import shutil  # costly, and most runs need none

    if shutil.which(name):
        return
    directories = [""] if os.path.dirname(name) else os.get_exec_path()
    if any(os.path.exists(os.path.join(directory, name)) for directory in directories):
        raise UsageError(f"[Errno 13] Permission denied: '{name}': it is no executable file; chmod +x makes it one")
    raise UsageError(f"[Errno 2] No such file or directory: '{name}': give the path of a program, or one in PATH")


def _check_script(config: LaunchConfig) -> None:
    name = config.entrypoint
    if os.path.isdir(name):  # Python runs its ``__main__``
        if os.path.exists(os.path.join(name, "__main__.py")):
            return
        raise UsageError(f"can't find '__main__' module in '{name}': it is a directory; give a Python file")
    try:
        with open(name, "rb") as file:
            source = file.read()
    except OSError as error:
        raise UsageError(
            f"can't open file '{name}': [Errno {error.errno}] {error.strerror}: "
            f"ranks start in {working_directory()}; give a Python file's path from there"
        ) from None
    is_source = not (name.endswith(".pyc") or source.startswith(ZIP_BEGINNING))
    if config.kind == EntryKind.SCRIPT and config.python is None and is_source:
        _check_syntax(source, full_path(name))


def _check_syntax(source: bytes, path: str) -> None:
    """Raise SyntaxError if the source is no Python."""
    before, null, _ = source.partition(b"\0")
    if null:  # the error of ``compile`` differs between versions of Python and names no place
        *lines, last = before.split(b"\n")
        where = (path, len(lines) + 1, None, last.decode(errors="replace"))
        raise SyntaxError("source code cannot contain null bytes", where)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the ranks print them
        compile(source, path, "exec", dont_inherit=True)
