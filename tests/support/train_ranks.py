"""Ranks of a job as forked children: each runs ``train.py`` with torchrun's variables and pipes for its output."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from tests.support.free_ports import free_port
from tests.support.processes import Child, Children
from tests.support.repository import ROOT
from tests.support.warm_train import run_train


class Rank:
    """One process of a job, and its output so far."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def stdout(self) -> str:
        return self._child.text(0)

    @property
    def stderr(self) -> str:
        return self._child.text(1)

    @property
    def raw(self) -> dict[str, bytes]:
        """Bytes of both streams so far, which need not be text."""
        return {"stdout": self._child.outputs[0], "stderr": self._child.outputs[1]}

    @property
    def exit_code(self) -> int | None:
        """None before the end; negative after a signal that killed."""
        return self._child.exit_code

    @property
    def ended_s(self) -> float:
        """``time.monotonic()`` at the end."""
        return self._child.ended_s

    @property
    def pid(self) -> int:
        return self._child.pid

    def handles(self, number: int) -> bool:
        """True if the process has a handler of its own for the signal."""
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{self.pid}/status").read_text())
        return bool(caught and int(caught[1], 16) & 1 << number - 1)

    def send_signal(self, number: int) -> None:
        self._child.send_signal(number)


class Job:
    """``size`` ranks of ``train.py arguments``, ``per_node`` to a node."""

    def __init__(
        self,
        arguments: Iterable[str],
        size: int,
        per_node: int | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        placed: Callable[[int], Mapping[str, str]] | None = None,
    ) -> None:
        """``placed(rank)``: variables that take the place of torchrun's."""
        self._children = Children()
        words, port = list(arguments), free_port()
        self.ranks = []
        for rank in range(size):
            place = placed(rank) if placed else launched(rank, size, per_node or size, port)
            variables = plain_environment() | dict(place) | dict(environ or {})
            self.ranks.append(Rank(self._children.fork(partial(run_train, words, variables, cwd), pipes=2)))

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *error: object) -> None:
        self._children.close()

    def read_until(self, text: str, rank: int = 0) -> None:
        """Read until a rank has printed this."""
        self._children.read_until(lambda: text in self.ranks[rank].stdout, f"rank {rank} prints {text!r}")

    def read_until_so(self, condition: Callable[[], object], what: str) -> None:
        """Read until ``condition()`` holds."""
        self._children.read_until(condition, what)

    def read_until_ended(self, *ranks: int, deadline_s: float) -> None:
        """Read until these ranks have ended."""
        chosen = [self.ranks[rank] for rank in ranks]
        ended = f"ranks {ranks} have ended"
        self._children.read_until(lambda: all(rank.exit_code is not None for rank in chosen), ended, deadline_s)

    def wait(self) -> list[int]:
        """Read until all have ended; their exit codes."""
        return self._children.wait()

    def go_on_for(self, seconds: float) -> None:
        """Read for so long."""
        self._children.read_for(seconds)

    def kill(self, number: int, *ranks: int) -> None:
        """Send a signal to some ranks, or to all."""
        for rank in ranks or range(len(self.ranks)):
            self.ranks[rank].send_signal(number)


def plain_environment() -> dict[str, str]:
    """This process's environment, in which a rank prints UTF-8."""
    return os.environ | {"PYTHONUTF8": "1"}


def launched(rank: int, size: int, per_node: int, port: int) -> dict[str, str]:
    """torchrun's variables of a rank."""
    return {
        "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank % per_node),
        "LOCAL_WORLD_SIZE": str(per_node), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
