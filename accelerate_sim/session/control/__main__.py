"""``fake-torchrun ctl``: lists the runs of this user that wait for their clock, and sends one of them a command."""

from __future__ import annotations

import argparse
import json
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from accelerate_sim.process.runtime_directory import (
    CONTROL_PREFIX,
    CONTROL_SUFFIX,
    UnsafeDirectory,
    check_private,
    runtime_directory,
)
from accelerate_sim.session.control.address import address_of
from fake_torch_dist.terminal.descriptor import printable

PATIENCE_S = 10.0
"""Real seconds for which a run may take to answer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0; 1 if there is no such run; 2 for a command that is refused."""
    given = _parser().parse_args(arguments)
    try:
        runs = {pid: state for pid, path in _sockets().items() if (state := _state_of(path)) is not None}
    except UnsafeDirectory as error:
        return _fail(f"{error}. Make it your own with mode 700.", 1)
    if given.command == "list":
        for pid, state in sorted(runs.items()):
            print(_line(pid, state))
        return 0
    pid = given.pid
    if pid is None and len(runs) == 1:
        pid = next(iter(runs))
    if pid not in runs:
        return _fail(_which(runs, pid), 1)
    reply = _ask(_sockets()[pid], given.command, getattr(given, "value", ""))
    if reply is None:
        return _fail(f"run {pid} has ended.", 1)
    if "error" in reply:
        return _fail(reply["error"], 2)
    print(printable(reply.get("text", "")))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fake-torchrun ctl", description="Control runs while they are played.")
    parser.add_argument("--pid", type=int, help="process id of the run; needed if there are several")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="one line for each run: pid, model, step, ranks, speed, faults asked for")
    fault = commands.add_parser("fault", help="let a fault strike")
    fault.add_argument("value", metavar="WORDS", help="a fault, such as 'kill rank=3 at=now'")
    commands.add_parser("pause", help="stop the clock")
    commands.add_parser("resume", help="let the clock go on")
    speed = commands.add_parser("speed", help="change the speed from the next wait of the clock on")
    speed.add_argument("value", metavar="X", help="simulated seconds per real second, or max")
    return parser


def _sockets() -> dict[int, Path]:
    """Sockets by process id. Raises UnsafeDirectory."""
    directory = runtime_directory()
    with suppress(FileNotFoundError):
        check_private(directory)
        names = {path.name.removeprefix(CONTROL_PREFIX).removesuffix(CONTROL_SUFFIX): path
                 for path in directory.glob(f"{CONTROL_PREFIX}*{CONTROL_SUFFIX}")}  # fmt: skip
        return {int(name): path for name, path in names.items() if name.isdecimal()}
    return {}


def _state_of(path: Path) -> dict[str, Any] | None:
    reply = _ask(path, "state")
    return reply.get("state") if reply else None


def _ask(path: Path, command: str, value: str = "") -> dict[str, Any] | None:
    """The answer of a run; None if it has ended."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        try:
            with address_of(path) as address:
                connection.connect(address)
            connection.sendall(json.dumps({"do": command, "value": value}).encode() + b"\n")
            reply = json.loads(connection.makefile("rb").readline() or b"null")
        except ConnectionRefusedError:  # its process was killed
            with suppress(OSError):
                path.unlink()
            return None
        except (OSError, ValueError):
            return None
    return reply if isinstance(reply, dict) else None


def _line(pid: int, state: dict[str, Any]) -> str:
    where = f"step {state['step']:,} of {state['steps']:,}"
    held = "  paused" if state["paused"] else ""
    asked = "".join(f"  fault {each}" for each in state.get("faults", ()))
    return printable(f"{pid}  {state['model']}  {where}  {state['ranks']} ranks  speed {state['speed']}{held}{asked}")


def _which(runs: dict[int, dict[str, Any]], pid: int | None) -> str:
    if pid is not None:
        return f"no run has process id {pid}. fake-torchrun ctl list shows those that there are."
    if not runs:
        return "no run of yours waits for its clock. Runs at speed max take no commands."
    return f"there are {len(runs)} runs. Choose one with --pid: {', '.join(map(str, sorted(runs)))}."


def _fail(text: str, code: int) -> int:
    sys.stderr.write(f"fake-torchrun ctl: {printable(text)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
