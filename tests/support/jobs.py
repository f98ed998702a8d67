"""A launcher of the smallest kind: forks the ranks of a job from this warm process, and reads what each one says.

Every rank runs ``train.py`` as a program does, with torchrun's variables; its standard streams are pipes. Ranks are
killed at a deadline and always reaped.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.free_ports import free_port
from tests.support.warm_train import fork_train

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


class Rank:
    """One process of a job, and what it has said so far."""

    def __init__(self, pid: int, out: int, err: int) -> None:
        self.pid = pid
        self.fds = {out: bytearray(), err: bytearray()}
        self._out, self._err = out, err
        self.exit_code: int | None = None
        """As a shell gives it; negative after a signal that killed."""
        self.ended_s = 0.0
        self.pidfd = os.pidfd_open(pid)

    @property
    def stdout(self) -> str:
        return self.fds[self._out].decode()

    @property
    def stderr(self) -> str:
        return self.fds[self._err].decode()

    def cpu_s(self) -> float:
        """Seconds of a core that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Job:
    """``size`` ranks of ``train.py arguments``, ``per_node`` to a node."""

    def __init__(
        self,
        arguments: Iterable[str],
        size: int,
        per_node: int | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
    ) -> None:
        self.ranks: list[Rank] = []
        self._selector = selectors.DefaultSelector()
        port = free_port()
        for rank in range(size):
            self._fork(list(arguments), _environment(rank, size, per_node or size, port) | dict(environ or {}), cwd)

    def _fork(self, arguments: list[str], environ: dict[str, str], cwd: Path) -> None:
        (out, out_writer), (err, err_writer) = os.pipe(), os.pipe()
        pid = fork_train(arguments, environ, out_writer, err_writer, cwd)
        os.close(out_writer)
        os.close(err_writer)
        rank = Rank(pid, out, err)
        self.ranks.append(rank)
        for fd in (*rank.fds, rank.pidfd):
            self._selector.register(fd, selectors.EVENT_READ, rank)

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *error: object) -> None:
        for rank in self.ranks:
            if rank.exit_code is None:
                os.kill(rank.pid, signal.SIGKILL)
                os.waitpid(rank.pid, 0)
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            os.close(key.fd)
        self._selector.close()

    def read_until(self, text: str, rank: int = 0) -> None:
        """Go on until a rank has said this."""
        self._go_on(lambda: text in self.ranks[rank].stdout, f"rank {rank} said {text!r}")

    def wait(self) -> list[int | None]:
        """Go on until all have ended; their exit codes."""
        self._go_on(lambda: not self._selector.get_map(), "all ranks ended")
        return [rank.exit_code for rank in self.ranks]

    def go_on_for(self, seconds: float) -> None:
        """Read for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._take(left)

    def kill(self, number: int, *ranks: int) -> None:
        """Send a signal to some ranks, or to all."""
        for rank in ranks or range(len(self.ranks)):
            os.kill(self.ranks[rank].pid, number)

    def _go_on(self, done: object, what: str) -> None:
        assert callable(done)
        until = time.monotonic() + DEADLINE_S
        while not done():
            left = until - time.monotonic()
            assert left > 0, f"waited in vain until {what}; stderr: {[rank.stderr for rank in self.ranks]}"
            self._take(left)

    def _take(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            rank: Rank = key.data
            if key.fd == rank.pidfd:
                status = os.waitpid(rank.pid, 0)[1]
                rank.exit_code, rank.ended_s = os.waitstatus_to_exitcode(status), time.monotonic()
            elif data := os.read(key.fd, 1 << 16):
                rank.fds[key.fd] += data
                continue
            self._selector.unregister(key.fd)
            os.close(key.fd)


def _environment(rank: int, size: int, per_node: int, port: int) -> dict[str, str]:
    unwanted = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "NCCL_DEBUG")
    kept = {key: value for key, value in os.environ.items() if key not in unwanted}
    return kept | {
        "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank % per_node),
        "LOCAL_WORLD_SIZE": str(per_node), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONUTF8": "1",
    }  # fmt: skip
