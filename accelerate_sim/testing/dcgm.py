"""``FakeDcgm``: an exporter of GPU metrics for a test, at a simulated moment that the test moves."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from accelerate_sim.api.source import planned_run
from accelerate_sim.monitoring.device_agent import DeviceAgent
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.timeline import Phase
from accelerate_sim.tracking.dcgm_text import DeviceText
from accelerate_sim.tracking.prometheus import CONTENT_TYPE


class MovableClock:
    """Simulated seconds since the first step of a run began."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0

    def advance(self, **time: float) -> None:
        """Let time pass, in the words of ``datetime.timedelta``: ``advance(minutes=20)``."""
        self.elapsed_s += timedelta(**time).total_seconds()

    def jump_to(self, elapsed_s: float) -> None:
        """Set the seconds since the first step began; below 0 the run starts up."""
        self.elapsed_s = elapsed_s


class FakeDcgm:
    """Answers scrapes at ``url`` with the metrics of all GPUs of a run, as dcgm-exporter would at that moment."""

    def __init__(
        self, config: str | Path, changes: Sequence[str] = (), *, port: int = 0, seed: int | None = None
    ) -> None:
        """Listen on a port of the loopback interface; 0: any free one. Raises ConfigError, OSError."""
        self.run = planned_run(config, changes, seed=seed)
        self.clock = MovableClock()
        self._agent, self._text = DeviceAgent(self.run), DeviceText()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        # A thread answers, since the test's process is busy with the test.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/metrics"

    def text(self) -> str:
        """The answer to a scrape at this moment. Raises ValueError for GPUs that NVIDIA did not make."""
        elapsed_s = self.clock.elapsed_s
        spent = spent_until(self.run, elapsed_s)
        devices = self._agent.read(elapsed_s, spent.phases, spent.step_j, spent.tokens)
        if devices is None:
            raise ValueError(f"{self.run.gpu.product} has no metrics of NVIDIA's")
        return "\n".join(self._text.lines(devices)) + "\n"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Spent:
    """The sums of a run until a second: time by phase, joules of a mean GPU in steps, and tokens."""

    def __init__(self) -> None:
        self.phases: dict[Phase, float] = {}
        self.step_j = 0.0
        self.tokens = 0


def spent_until(run: Run, elapsed_s: float) -> Spent:
    """The seconds in each phase but steps, the joules and the tokens of the steps that have ended by ``elapsed_s``."""
    spent = Spent()
    spent.phases["startup"] = run.startup.total + min(elapsed_s, 0.0)
    if elapsed_s <= 0.0:
        return spent
    for span in run.timeline.spans(0.0, elapsed_s):
        if span.phase != "step":
            spent.phases[span.phase] = spent.phases.get(span.phase, 0.0) + span.end_s - span.begin_s
    last = run.timeline.step_at(elapsed_s)
    ended = last + (run.timeline.step_end_s(last) <= elapsed_s)
    spent.step_j = sum(run.timing(step).seconds * run.telemetry.mean_step_power_w(step) for step in range(ended))
    spent.tokens = run.tokens_before(ended)
    return spent


def _handler(exporter: FakeDcgm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            data = exporter.text().encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing: the test's own output is of interest."""

    return Handler
