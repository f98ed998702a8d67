"""``FakeCluster``: a job of real processes under fake-torchrun, which a test follows, disturbs and ends."""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from accelerate_sim.testing.nvidia_smi import private
from accelerate_sim.testing.output import json_lines, lines_of
from accelerate_sim.testing.run import run_options

TIMEOUT_S = 120.0
"""Real seconds for which a test waits for anything, unless it gives another time."""
END_S = 10.0
"""Real seconds that a job gets to end after SIGTERM."""
_URL = re.compile(r"http://\S+/metrics")


class FakeCluster:
    """``nodes`` x ``gpus`` ranks of train.py. Use it as a context, or by the fixture, so that it always ends."""

    def __init__(
        self,
        directory: Path,
        nodes: int,
        gpus: int,
        config: str | Path = "debug",
        *,
        arguments: Sequence[str] = (),
        faults: Sequence[str] = (),
        voice: str | None = None,
        hazards: Sequence[str] = (),
        seed: int | None = None,
        speed: str = "max",
        max_restarts: int = 0,
        metrics: bool = False,
        start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
    ) -> None:
        """Start the job. ``directory`` is empty, for its files. With ``metrics`` it answers Prometheus scrapes.

        ``speed`` holds from the first step on; start-up and export never wait. ``arguments`` are further ones of
        ``fake-train``. ``start`` takes the place of ``subprocess.Popen``.
        """
        self.directory = directory / "out"
        self.runtime_directory = private(directory / "runtime")
        exporter = ["--log-with", "prometheus", "--set", "log.prometheus_address=127.0.0.1:0"] if metrics else []
        words = [
            sys.executable, "-m", "fake_torch_dist.run", "--nnodes", str(nodes), "--nproc-per-node", str(gpus),
            "--max-restarts", str(max_restarts), "-m", "accelerate_sim.train", "--config", str(config),
            "--output-dir", str(self.directory), "--publish", "--set", "log.every=1", "--set", f"run.speed={speed}",
            "--set", "run.startup_speed=max", "--set", "faults.asked=true", *exporter,
            *run_options(faults, voice, hazards, seed), *arguments,
        ]  # fmt: skip
        variables = {"XDG_RUNTIME_DIR": str(self.runtime_directory), "PYTHONUTF8": "1"}
        self._process = start(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | variables, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout and self._process.stderr
        self._written = {"stdout": bytearray(), "stderr": bytearray()}
        self._selector = selectors.DefaultSelector()
        for stream, name in ((self._process.stdout, "stdout"), (self._process.stderr, "stderr")):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, name)

    # --- Its output ---------------------------------------------------------------------------

    @property
    def stdout(self) -> str:
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        return self._text("stderr")

    def lines(self, rank: int | None = None, stream: str = "stdout") -> list[str]:
        """The lines of ``stdout`` or ``stderr`` so far; with ``rank`` those that name it."""
        return lines_of(self._text(stream), rank)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The events of metrics.jsonl so far."""
        return json_lines(self.directory / "metrics.jsonl")

    @property
    def truth(self) -> list[dict[str, Any]]:
        """The transitions of all faults so far, as faults.jsonl has them."""
        return [event for event in json_lines(self.directory / "faults.jsonl") if event["event"] == "fault"]

    @property
    def metrics_url(self) -> str:
        """The address of the Prometheus exporter; the cluster was started with ``metrics=True``."""
        self.wait_for(_URL.pattern)
        found = _URL.search(self.stdout)
        assert found
        return found[0]

    # --- What happens ---------------------------------------------------------------------------

    def wait_for(self, text: str | None = None, *, step: int | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until standard output has a line that matches the regular expression ``text``, or the line of a step.

        Raises TimeoutError, and RuntimeError if the job ends before; both show its last lines.
        """
        pattern = re.compile(text if text is not None else rf"\bstep {step}\b")
        deadline = time.monotonic() + timeout_s
        while not pattern.search(self.stdout):
            if not self._read(deadline):
                if pattern.search(self.stdout):
                    return
                late = time.monotonic() >= deadline
                what = f"no line matches {pattern.pattern!r} after {timeout_s:g} s" if late else "the job has ended"
                raise (TimeoutError if late else RuntimeError)(f"{what}; its last lines:\n{self._tail()}")

    def kill(self, rank: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process of a rank, as a fault from outside would. Raises LookupError without one."""
        for path in self.runtime_directory.rglob("*.job"):
            pids = json.loads(path.read_text().splitlines()[1]).get("pids", ())
            if rank < len(pids):
                os.kill(pids[rank], number)
                return
        raise LookupError(f"no run is active that has a process for rank {rank}; wait for a step first")

    def inject(self, fault: str) -> None:
        """Let a fault happen now, in the words of ``--fault``: ``cluster.inject("kill rank=3 at=now")``."""
        self._control("fault", fault)

    def _control(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fake_torch_dist.run", "ctl", *words], capture_output=True, text=True, check=False,
            env=os.environ | {"XDG_RUNTIME_DIR": str(self.runtime_directory)}, timeout=TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"fake-torchrun ctl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    @property
    def exit_code(self) -> int:
        """The launcher's exit code, once it has ended by itself."""
        return self.wait()

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait for the end of the job. Returns its exit code; raises TimeoutError, which shows its last lines."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline):
            pass
        try:
            return self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the job still runs after {timeout_s:g} s; its last lines:\n{self._tail()}") from None

    def close(self) -> None:
        """End whatever still runs; a second call does nothing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                self.wait(END_S)
        if self._process.poll() is None:  # its processes end when they lose it
            self._process.kill()
        self._process.wait()
        deadline = time.monotonic() + END_S
        while self._read(deadline):  # until the last process has closed its output
            pass
        for stream in (self._process.stdout, self._process.stderr):
            assert stream
            stream.close()
        self._selector.close()

    def __enter__(self) -> FakeCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- Reading --------------------------------------------------------------------------------

    def _text(self, stream: str) -> str:
        while self._selector.get_map() and self._read(0.0):
            pass
        return self._written[stream].decode("utf-8", "replace")

    def _read(self, deadline: float) -> bool:
        """Wait for output until ``deadline``, on the monotonic clock, and take it. False if there is none any more."""
        if not self._selector.get_map():
            return False
        events = self._selector.select(max(0.0, deadline - time.monotonic()))
        for key, _ in events:
            data = os.read(key.fd, 1 << 16)
            self._written[key.data] += data
            if not data:
                self._selector.unregister(key.fileobj)
        return bool(events)

    def _tail(self) -> str:
        return "\n".join(self.stdout.splitlines()[-5:] + self.stderr.splitlines()[-5:])
