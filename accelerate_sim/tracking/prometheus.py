"""Answers Prometheus: every GPU under dcgm-exporter's names, and the training under ours.

Label order, types and units are dcgm-exporter's (4.5, its default counters); the text is made here because client
libraries sort labels. Scrapes are answered between steps and while a step lasts, by the run's own waiting loop: no
thread. What is left out: counters that nothing here moves (memory clock, PCIe and NVLink traffic, most profiling).
"""

from __future__ import annotations

import hashlib
import select
import socket
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from accelerate_sim.interrupts import Interrupts
from accelerate_sim.records import DeviceRecord, EvalRecord, Record, StepRecord
from accelerate_sim.tracking.run_start import RunStart

ADDRESS = ("127.0.0.1", 9400)
LONGEST_REQUEST_BYTES = 65536
MIB = 2**20
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, str, str, Iterable[object]]
"""Name, type, help, a value per GPU."""


class PrometheusTracker:
    """An exporter on ``address``; OSError if that is in use. ``look`` gives the GPUs now."""

    def __init__(
        self, interrupts: Interrupts, look: Callable[[], DeviceRecord | None], address: tuple[str, int] = ADDRESS
    ) -> None:
        self._interrupts, self._look = interrupts, look
        self._listener = socket.create_server(address, backlog=16)
        self._listener.setblocking(False)
        interrupts.serve(self._listener.fileno(), select.POLLIN, self._accept)
        self._connections: dict[int, _Connection] = {}
        self._start: RunStart | None = None
        self._step: StepRecord | None = None
        self._eval: EvalRecord | None = None
        self._stepping_s = self._first_s = 0.0

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def begin(self, start: RunStart) -> None:
        """A run begins, or goes on."""
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

    def close(self) -> None:
        """Nobody is answered any more."""
        if self._listener.fileno() < 0:
            return
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._interrupts.dismiss(self._listener.fileno())
        self._listener.close()

    def text(self) -> str:
        """The whole answer."""
        devices = self._look()
        lines = [*self._training_lines(), *(_device_lines(devices) if devices else ())]
        return "\n".join(lines) + "\n"

    # --- HTTP -----------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:  # it has given up in between
            return
        peer.setblocking(False)
        connection = _Connection(peer)
        self._connections[peer.fileno()] = connection
        self._interrupts.serve(peer.fileno(), select.POLLIN, lambda: self._read(connection))

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.peer.recv(LONGEST_REQUEST_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.request += data
        if not data or len(connection.request) > LONGEST_REQUEST_BYTES:
            self._drop(connection)
        elif b"\r\n\r\n" in connection.request:
            connection.answer = memoryview(self._answer(connection.request))
            self._interrupts.dismiss(connection.peer.fileno())
            self._interrupts.serve(connection.peer.fileno(), select.POLLOUT, lambda: self._send(connection))
            self._send(connection)

    def _send(self, connection: _Connection) -> None:
        try:
            while connection.answer:
                connection.answer = connection.answer[connection.peer.send(connection.answer) :]
        except BlockingIOError:
            return
        except OSError:  # the reader has gone
            pass
        self._drop(connection)

    def _drop(self, connection: _Connection) -> None:
        fd = connection.peer.fileno()
        self._interrupts.dismiss(fd)
        del self._connections[fd]
        connection.peer.close()

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        status, body = "200 OK", b""
        if method not in (b"GET", b"HEAD"):
            status = "405 Method Not Allowed"
        elif path == b"/metrics":
            body = self.text().encode()
        else:
            status = "404 Not Found"
        head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"Connection: close\r\n\r\n" + (b"" if method == b"HEAD" else body)

    # --- Text -----------------------------------------------------------------------------------

    def _training_lines(self) -> Iterator[str]:
        start, step, validation = self._start, self._step, self._eval
        if start is None:
            return
        labels = f'{{run="{start.number}",model="{_escaped(start.model)}",seed="{start.seed}"}}'
        yield from _family("training_simulated_info", "gauge", "These figures are simulated.", [(labels, 1)])
        figures: list[tuple[str, str, str, object]] = []
        if step:
            passed_s = step.elapsed_s - self._first_s
            figures += [
                ("training_step", "counter", "Optimizer steps done.", step.step),
                ("training_epoch", "gauge", "Epoch, from 1.", step.epoch),
                ("training_loss", "gauge", "Training loss, in nats per token.", step.loss),
                ("training_grad_norm", "gauge", "Norm of the gradients before clipping.", step.grad_norm),
                ("training_learning_rate", "gauge", "Learning rate.", step.lr),
                ("training_tokens", "counter", "Tokens trained on.", step.tokens),
                ("training_tokens_per_second", "gauge", "Throughput of all GPUs.", step.tokens_per_s),
                ("training_mfu", "gauge", "Model FLOP/s over the peak, 0..1.", step.mfu),
                ("training_step_seconds", "gauge", "Time of the latest step.", step.step_time_s),
                ("training_goodput", "gauge", "Share of the time spent in steps, 0..1.",
                 round(min(1.0, self._stepping_s / passed_s), 6)),
            ]  # fmt: skip
        if validation:
            figures.append(("training_eval_loss", "gauge", "Validation loss, in nats per token.", validation.loss))
        for name, kind, meaning, value in figures:
            yield from _family(name, kind, meaning, [(labels, value)])


class _Connection:
    """One scraper."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.request = b""
        self.answer = memoryview(b"")


def _family(name: str, kind: str, meaning: str, samples: Iterable[tuple[str, object]]) -> list[str]:
    return [
        f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *[f"{name}{labels} {value}" for labels, value in samples]
    ]  # fmt: skip


def _device_lines(devices: DeviceRecord) -> Iterator[str]:
    number = len(devices.power_w)
    labels = _device_labels(devices.host, devices.product, devices.gpus_per_node, number)
    for name, kind, meaning, values in _device_samples(devices, number):
        yield from _family(name, kind, meaning, zip(labels, values, strict=True))


def _device_samples(devices: DeviceRecord, number: int) -> Iterator[Sample]:
    used = (devices.memory_used_bytes // MIB).tolist()
    total, nothing = devices.memory_total_bytes // MIB, [0] * number
    reserved = total // 128
    active = [round(percent / 100, 4) for percent in devices.utilization_pct.tolist()]
    yield "DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz).", devices.sm_clock_mhz.tolist()
    yield "DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", devices.temperature_c.round().astype(int).tolist()
    yield "DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", devices.power_w.tolist()
    energy = (devices.energy_j * 1000).astype(int).tolist()
    yield "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ).", energy
    yield "DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "Total number of PCIe retries.", nothing
    percents = devices.utilization_pct.astype(int).tolist()
    yield "DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", percents
    yield "DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder utilization (in %).", nothing
    yield "DCGM_FI_DEV_DEC_UTIL", "gauge", "Decoder utilization (in %).", nothing
    yield "DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.", nothing
    free = [max(0, total - reserved - mebibytes) for mebibytes in used]
    yield "DCGM_FI_DEV_FB_FREE", "gauge", "Framebuffer memory free (in MiB).", free
    yield "DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", used
    yield "DCGM_FI_DEV_FB_RESERVED", "gauge", "Framebuffer memory reserved (in MiB).", [reserved] * number
    yield "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter", "Rows remapped for uncorrectable errors.", nothing
    yield "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", "counter", "Rows remapped for correctable errors.", nothing
    yield "DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed.", nothing
    yield "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Ratio of time the graphics engine is active.", active
    tensor = [round(share * devices.tensor_active, 4) for share in active]
    yield "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gauge", "Ratio of cycles the tensor (HMMA) pipe is active.", tensor


@cache
def _device_labels(host: str, product: str, gpus_per_node: int, number: int) -> list[str]:
    """dcgm-exporter's labels in its order, with both spellings of the host's name that are in the field."""
    labels = []
    for rank in range(number):
        node, gpu = divmod(rank, gpus_per_node)
        name = _escaped(f"{host}{node}")
        digest = hashlib.blake2b(f"{name}/{gpu}".encode(), digest_size=16).hexdigest()
        uuid = "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))
        labels.append(
            f'{{gpu="{gpu}",UUID="GPU-{uuid}",pci_bus_id="00000000:{gpu * 16 + 11 & 255:02X}:00.0",'
            f'device="nvidia{gpu}",modelName="{_escaped(product)}",Hostname="{name}",hostname="{name}"}}'
        )
    return labels


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
