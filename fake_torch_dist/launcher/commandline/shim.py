"""``--shim``: makes a program called torchrun that is fake-torchrun, for what starts torchrun by its name.

torchx, SkyPilot, dstack and scripts do. Its directory has to come first in PATH.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from fake_torch_dist.launcher.commandline.parser import PROGRAM, UsageError

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "torchrun"
_MARK: Final = f"# {PROGRAM} in the place of {NAME} (simulated); made by {PROGRAM} --shim"
_TAKEN: Final = "--shim: {path} is there and is no shim of {program}: give another directory, or remove it"
_UNWRITABLE: Final = "--shim: {path} can't be written: {reason}. Give a directory that can be"


class MakeShim(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        print(make_shim(values), end="")
        parser.exit()


def make_shim(directory: str) -> str:
    """Make the program in ``directory``, which is made if it is not there. Returns the text for its user.

    UsageError if that cannot be written, or has another torchrun in it.
    """
    import shlex  # these take time that --help need not wait for
    from pathlib import Path

    path = Path(directory).absolute() / NAME
    beside = path.with_name(f".{NAME}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not _is_ours(path):
            raise UsageError(_TAKEN.format(path=path, program=PROGRAM), exit_code=2)
        beside.write_text(f'#!/bin/sh\n{_MARK}\nexec {shlex.quote(sys.executable)} -m fake_torch_dist.run "$@"\n')
        beside.chmod(0o755)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        reason = os.strerror(error.errno or 0)
        raise UsageError(_UNWRITABLE.format(path=path, reason=reason), exit_code=2) from None
    return f"{path} is {PROGRAM}. Put it first:\nexport PATH={shlex.quote(str(path.parent))}:$PATH\n"


def _is_ours(path: Path) -> bool:
    with suppress(OSError, UnicodeDecodeError):
        return path.is_file() and _MARK in path.read_text(encoding="utf-8")
    return False
