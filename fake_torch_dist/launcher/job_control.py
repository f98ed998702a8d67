"""Terminal signals of a job: a new window size, Ctrl-Z, and going on after it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from fake_torch_dist.launcher.local_node import LocalNode
from fake_torch_dist.launcher.loop import EventLoop
from fake_torch_dist.launcher.output.merged_output import MergedOutput
from fake_torch_dist.launcher.typed_keys import TypedKeys


class JobControl:
    """Redraws the terminal, and passes its signals to the ranks where they need them."""

    def __init__(self, loop: EventLoop, nodes: Sequence[LocalNode], output: MergedOutput, keys: TypedKeys) -> None:
        self._loop = loop
        self._nodes = nodes
        self._output = output
        self._keys = keys
        self._is_shared = False

    def listen_to_signals(self) -> None:
        """Handle SIGWINCH, SIGTSTP and SIGCONT."""
        self._loop.on_signals([signal.SIGWINCH], lambda _: self._on_resize())
        self._loop.on_signals([signal.SIGCONT], lambda _: self._continue())
        self._loop.on_signals([signal.SIGTSTP], self._pause)

    def share_terminal(self) -> None:
        """Let Ctrl-Z also stop the only rank, which has the terminal itself, as it stops a program of the shell."""
        self._is_shared = True
        self._output.share_terminals()

    def _pause(self, number: int) -> None:
        """Leave the terminal to the shell, and stop; the kernel stops nothing that no shell could let go on."""
        self._keys.give_back()
        if self._is_shared:
            self._nodes[0].signal_ranks(signal.SIGSTOP)
            self._output.redraw()
        else:
            self._output.clear()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here, and returns after SIGCONT
        self._loop.on_signals([number], self._pause)
        self._continue()

    def _continue(self) -> None:
        self._keys.take()
        if self._is_shared:
            self._nodes[0].signal_ranks(signal.SIGCONT)
        else:
            self._output.redraw()

    def _on_resize(self) -> None:
        self._output.redraw(resized=True)
        for node in self._nodes:
            node.signal_ranks(signal.SIGWINCH)
