"""Server of warm launchers: an interpreter that has imported a launcher's modules, and forks one for each request.

``python -m tests.support.launch_server SOCKET MODULE...`` imports the modules and serves the requests of
warm_launcher.py until the other end of the socket is closed; then it kills the launchers that are left. It holds
nothing of pytest: a launcher gets the descriptors, variables and directory of its request, and no others.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import traceback
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn

from fake_torch_dist import run
from fake_torch_dist.launcher import launch
from fake_torch_dist.launcher.commandline import choices
from fake_torch_dist.launcher.entrypoint import preflight, streamed_script
from fake_torch_dist.launcher.workers import script, start_method
from tests.support.terminal_shell import run_shell

OF_LAUNCHER = (choices, launch, preflight, script, streamed_script)
"""Modules that a launcher imports when it first needs them."""
MOST_BYTES = 1 << 18
MARK = "FAKE_TORCHRUN_TEST"
"""Variable by which the processes of a launcher are found."""
NO_MARK = "0" * 32
"""Value of the variable in the server, which each launcher overwrites with as many characters."""
_ENV_START = 47
"""Place in /proc/self/stat of the address of a program's first environment, counted after its name."""


def serve(control: socket.socket, made: dict[str, str]) -> None:
    """Fork launchers until the other end is closed. ``made``: variables that the imports have set."""
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        statuses: dict[int, tuple[int, int]] = {}
        while True:
            for key, _ in selector.select():
                if key.fd != control.fileno():
                    pid, status = statuses.pop(key.fd)
                    _tell(status, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    os.close(status)
                    continue
                text, fds, _, _ = socket.recv_fds(control, MOST_BYTES, 4)
                if not text:
                    for pid, _ in statuses.values():
                        os.kill(pid, signal.SIGKILL)
                    return
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    ours = [control.detach(), *statuses, *(fd for _, fd in statuses.values())]
                    request = json.loads(text)
                    if request["in_shell"]:
                        for fd in (fds.pop(), *ours):
                            os.close(fd)
                        become = partial(_become_launcher, request, made, [], [])
                        run_shell(become, *fds)
                    _become_launcher(request, made, fds, ours)
                for fd in fds[:3]:
                    os.close(fd)
                _tell(fds[3], pid)
                pidfd = os.pidfd_open(pid)
                statuses[pidfd] = pid, fds[3]
                selector.register(pidfd, selectors.EVENT_READ)


def _tell(status: int, number: int) -> None:
    """Write a number for who waits, who may have gone."""
    with suppress(BrokenPipeError):
        os.write(status, struct.pack("i", number))


def _become_launcher(request: dict[str, object], made: dict[str, str], fds: list[int], ours: list[int]) -> NoReturn:
    """Be ``python -m fake_torch_dist.run`` in the forked child, and end it."""
    code: object = 1
    try:
        words, environ, cwd = request["words"], request["environ"], request["cwd"]
        assert isinstance(words, list) and isinstance(environ, dict) and isinstance(cwd, str)
        for number, fd in enumerate(fds[:3]):
            os.dup2(fd, number)
        for fd in (*fds, *ours):
            os.close(fd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(cwd)
        _show_mark(environ.get(MARK, NO_MARK))
        os.environ.clear()
        os.environ.update(made | environ)
        sys.path[0] = cwd
        sys.argv = [str(run.__file__), *words]
        sys.orig_argv = [sys.executable, "-m", run.__name__, *words]
        code = run.main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _show_mark(mark: str) -> None:
    """Let /proc/PID/environ of this process and its forks, which is the server's, show the launcher's mark."""
    start = int(Path("/proc/self/stat").read_text().rpartition(") ")[2].split()[_ENV_START])
    before = Path("/proc/self/environ").read_bytes()
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start + before.index(f"{MARK}={NO_MARK}".encode()) + len(MARK) + 1)
        memory.write(mark.encode())


def main() -> None:
    """Import what the command line names, and serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    before = dict(os.environ)
    for module in sys.argv[2:]:
        importlib.import_module(module)
    made = {name: value for name, value in os.environ.items() if before.get(name) != value}
    for name in [name for name in sys.modules if name.partition(".")[0] == __spec__.name.partition(".")[0]]:
        del sys.modules[name]  # a launcher knows no package of tests
    # A new launcher would hold none of these when it asks if something foreign runs in its interpreter.
    start_method._HARMLESS |= {name for name in sys.modules if "." not in name}
    gc.collect()
    gc.freeze()
    serve(control, made)


if __name__ == "__main__":
    main()
