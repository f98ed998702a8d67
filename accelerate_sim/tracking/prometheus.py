"""An exporter for Prometheus: every GPU under dcgm-exporter's names, and the training under names of its own.

Scrapes are answered between steps and while a step lasts, by the run's own waiting loop (``scrape_server``), without a
thread. GPUs that NVIDIA did not make have no metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from accelerate_sim.config.problems import ConfigError
from accelerate_sim.process.signals import Signals
from accelerate_sim.records import DeviceRecord, EvalRecord, ExporterRecord, Record, StepRecord
from accelerate_sim.tracking.dcgm_text import DeviceText, escaped, family
from accelerate_sim.tracking.registry import problem
from accelerate_sim.tracking.scrape_server import ScrapeServer
from accelerate_sim.tracking.tracker import RunStart, TrackerContext

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class PrometheusTracker:
    """Answers scrapes on ``address`` (host:port) with the GPUs that ``look`` reads. OSError if the port is in use.

    ``report`` gets a record of the address when the first run begins, and ``ailment`` says why a probe of the job's
    health fails. ``ranks`` are those whose GPUs are served; None: all. ``rank`` is that of this process: the figures of
    the training are rank 0's.
    """

    def __init__(
        self,
        signals: Signals,
        look: Callable[[], DeviceRecord | None],
        address: str,
        report: Callable[[Record], None],
        *,
        ailment: Callable[[], str | None] = lambda: None,
        ranks: range | None = None,
        rank: int = 0,
    ) -> None:
        self._look, self._ranks, self._rank = look, ranks, rank
        self._report = report
        self._address = address
        self._server = ScrapeServer(signals, address, "/metrics", CONTENT_TYPE, self.text, ailment)
        self._device_text = DeviceText()
        self._start: RunStart | None = None
        self._step: StepRecord | None = None
        self._eval: EvalRecord | None = None
        self._stepping_s = self._first_s = 0.0

    @classmethod
    def open(cls, context: TrackerContext) -> PrometheusTracker:
        """The tracker of a session. Raises ConfigError if nothing can listen on the address."""
        address = context.log.prometheus_address
        try:
            return cls(
                context.signals, context.look, address, context.report,
                ailment=context.ailment, ranks=context.served_ranks,
            )  # fmt: skip
        except OSError as error:
            reason = f"has prometheus, which can't listen on {address}: {error.strerror}"
            way_out = "End what listens there, or name another address with --set log.prometheus_address=HOST:PORT."
            raise ConfigError([problem(context.log.trackers, reason, way_out)]) from None

    @property
    def port(self) -> int:
        return self._server.port

    def begin(self, start: RunStart) -> None:
        """Answer with the figures of this run from now on."""
        if self._start is None:
            host = self._address.rpartition(":")[0]
            self._report(ExporterRecord("Prometheus", f"http://{host}:{self.port}/metrics", self._rank))
        self._start, self._step, self._eval = start, None, None
        self._stepping_s = 0.0

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                if self._step is None:
                    self._first_s = record.elapsed_s - record.step_time_s
                self._step = record
                self._stepping_s += record.step_time_s
            case EvalRecord():
                self._eval = record

    def flush(self) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None:
        """Stop answering scrapes."""
        self._server.close()

    def text(self) -> str:
        """The body of the answer to a scrape."""
        devices = self._look()
        if devices and self._ranks is not None:
            devices = devices.of(self._ranks)
        lines = [*self._training_lines(), *(self._device_text.lines(devices) if devices else ())]
        return "\n".join(lines) + "\n"

    # --- Text -----------------------------------------------------------------------------------

    def _training_lines(self) -> Iterator[str]:
        start, step, validation = self._start, self._step, self._eval
        if start is None:
            return
        labels = f'{{run="{start.number}",model="{escaped(start.model)}",seed="{start.seed}"}}'
        yield from family("training_simulated_info", "gauge", "These figures are simulated.", [(labels, 1)])
        figures: list[tuple[str, str, str, object]] = []
        if step and not self._rank:
            passed_s = step.elapsed_s - self._first_s
            figures += [
                ("training_step", "gauge", "Optimizer steps done.", step.step),
                ("training_epoch", "gauge", "Epoch, from 1.", step.epoch),
                ("training_loss", "gauge", "Training loss, in nats per token.", step.loss),
                ("training_grad_norm", "gauge", "Norm of the gradients before clipping.", step.grad_norm),
                ("training_learning_rate", "gauge", "Learning rate.", step.lr),
                ("training_global_batch", "gauge", "Sequences in the latest step.", step.global_batch),
                ("training_tokens_total", "counter", "Tokens trained on.", step.tokens),
                ("training_tokens_per_second", "gauge", "Throughput of all GPUs.", step.tokens_per_s),
                ("training_mfu", "gauge", "Model FLOP/s over the peak, 0..1.", step.mfu),
                ("training_step_seconds", "gauge", "Time of the latest step.", step.step_time_s),
                ("training_goodput", "gauge", "Share of the time spent in steps, 0..1.",
                 round(min(1.0, self._stepping_s / passed_s), 6)),
            ]  # fmt: skip
        if validation and not self._rank:
            figures.append(("training_eval_loss", "gauge", "Validation loss, in nats per token.", validation.loss))
        for name, kind, meaning, value in figures:
            yield from family(name, kind, meaning, [(labels, value)])
