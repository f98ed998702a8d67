"""A little shell on a terminal: a session leader that starts one command as a foreground job.

It reports on ``events`` when the job begins, stops, goes on or ends. A process without such a parent can't be stopped
by Ctrl-Z.
"""

from __future__ import annotations

import fcntl
import os
import signal
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

SHELL_SAYS = "[1]+  Stopped"
END_OF_OUTPUT = b"\0"
"""Byte that the shell writes after the end of the command, as the kernel may deliver earlier output late."""


def _take_foreground(tty: int, job: int) -> None:
    """Both the shell and the job do this, so it holds for either from then on."""
    with suppress(PermissionError, ProcessLookupError):  # the job runs its command already, or has ended
        os.setpgid(job, job)
        os.tcsetpgrp(tty, job)


def run_shell(become_command: Callable[[], object], tty: int, events: int, orders: int) -> NoReturn:
    """Be a shell in a forked child: start the command as a job in the foreground of the terminal, and report on it."""
    os.setsid()
    fcntl.ioctl(tty, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    job = os.fork()
    if job == 0:
        _take_foreground(tty, os.getpid())
        for number in (signal.SIGTTOU, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        for fd in (0, 1, 2):
            os.dup2(tty, fd)
        for fd in (tty, events, orders):
            os.close(fd)
        try:
            become_command()
        finally:
            os._exit(1)
    _take_foreground(tty, job)
    os.write(events, b"pid %d\n" % job)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED | os.WCONTINUED)
        if os.WIFSTOPPED(status):
            os.tcsetpgrp(tty, os.getpgrp())
            os.write(tty, f"{SHELL_SAYS}\r\n$ ".encode())
            os.write(events, b"stopped 0\n")
            os.read(orders, 1)
            os.write(tty, b"fg\r\n")
            os.tcsetpgrp(tty, job)
            os.killpg(job, signal.SIGCONT)
        elif os.WIFCONTINUED(status):
            os.write(events, b"continued 0\n")
        else:
            os.write(events, b"ended %d\n" % os.waitstatus_to_exitcode(status))
            with suppress(OSError):  # the window has been closed
                os.write(tty, END_OF_OUTPUT)
            os._exit(0)
