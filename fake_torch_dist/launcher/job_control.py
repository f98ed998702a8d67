"""Terminal signals of a job: a new window size, Ctrl-Z, and going on after it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from fake_torch_dist.launcher.local_node import LocalNode
from fake_torch_dist.launcher.loop import Loop
from fake_torch_dist.launcher.output.merged_output import MergedOutput


class JobControl:
    """Redraws the terminal, and passes its signals to the ranks where they need them."""

    def __init__(self, loop: Loop, nodes: Sequence[LocalNode], output: MergedOutput) -> None:
        self._loop = loop
        self._nodes = nodes
        self._output = output

    def listen_to_signals(self) -> None:
        """Handle SIGWINCH and SIGCONT; SIGTSTP stops this process by default."""
        self._loop.on_signals([signal.SIGWINCH], lambda _: self._on_resize())
        self._loop.on_signals([signal.SIGCONT], lambda _: self._output.redraw())
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)

    def share_terminal(self) -> None:
        """Let Ctrl-Z also stop the only rank, which has the terminal itself, as it stops a program of the shell."""
        self._output.share_terminals()
        self._loop.on_signals([signal.SIGTSTP], lambda _: self._pause())
        self._loop.on_signals([signal.SIGCONT], lambda _: self._nodes[0].signal_ranks(signal.SIGCONT))

    def _pause(self) -> None:
        self._nodes[0].signal_ranks(signal.SIGSTOP)
        self._output.redraw()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _on_resize(self) -> None:
        self._output.redraw(resized=True)
        for node in self._nodes:
            node.signal_ranks(signal.SIGWINCH)
