"""Scrapes, over a real socket and without a thread."""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from functools import cache

import numpy as np
import pytest

from accelerate_sim.process.signals import Signals
from accelerate_sim.records import DeviceIdentity, DeviceRecord, Record, StepRecord
from accelerate_sim.tracking.prometheus import PrometheusTracker
from accelerate_sim.tracking.tracker import RunStart

DASHBOARD = ("GPU_TEMP", "POWER_USAGE", "SM_CLOCK", "GPU_UTIL", "FB_USED")
"""Metrics that dashboard 12239 shows, with DCGM_FI_PROF_PIPE_TENSOR_ACTIVE."""
DEFAULT_COUNTERS = (
    ("DEV_SM_CLOCK", "gauge"), ("DEV_MEM_CLOCK", "gauge"), ("DEV_MEMORY_TEMP", "gauge"), ("DEV_GPU_TEMP", "gauge"),
    ("DEV_POWER_USAGE", "gauge"), ("DEV_TOTAL_ENERGY_CONSUMPTION", "counter"), ("DEV_PCIE_REPLAY_COUNTER", "counter"),
    ("DEV_GPU_UTIL", "gauge"), ("DEV_MEM_COPY_UTIL", "gauge"), ("DEV_ENC_UTIL", "gauge"), ("DEV_DEC_UTIL", "gauge"),
    ("DEV_XID_ERRORS", "gauge"), ("DEV_FB_FREE", "gauge"), ("DEV_FB_USED", "gauge"), ("DEV_FB_RESERVED", "gauge"),
    ("DEV_NVLINK_BANDWIDTH_TOTAL", "counter"), ("DEV_VGPU_LICENSE_STATUS", "gauge"),
    ("DEV_UNCORRECTABLE_REMAPPED_ROWS", "counter"), ("DEV_CORRECTABLE_REMAPPED_ROWS", "counter"),
    ("DEV_ROW_REMAP_FAILURE", "gauge"), ("PROF_GR_ENGINE_ACTIVE", "gauge"), ("PROF_PIPE_TENSOR_ACTIVE", "gauge"),
    ("PROF_DRAM_ACTIVE", "gauge"), ("PROF_PCIE_TX_BYTES", "gauge"), ("PROF_PCIE_RX_BYTES", "gauge"),
)  # fmt: skip
START = RunStart(1, 'a "model"', 42, 0, datetime(2026, 1, 1), {})
LIMIT_S = 30.0


def ignored(record: Record) -> None:
    """Takes the record of the address, which these tests have no use for."""


def devices(number: int) -> DeviceRecord:
    rank = np.arange(number)
    return DeviceRecord(
        identities=identities(number), product="NVIDIA H100 80GB HBM3", driver_version="550.90.12",
        utilization_pct=90 + rank % 10, memory_utilization_pct=40 + rank % 5, memory_busy_share=0.4 + rank % 5 / 100,
        memory_used_mib=(60 + rank % 8) * 1024, memory_reserved_mib=np.full(number, 551), memory_total_mib=81559,
        temperature_c=50 + rank % 20, memory_temperature_c=60 + rank % 20, power_w=600.0 + rank % 7,
        energy_j=1e6 + rank, sm_clock_mhz=np.full(number, 1980), memory_clock_mhz=2619, tensor_active=0.5,
        nvlink_bytes=10**12, pcie_bytes_per_s=2 * 10**10,
    )  # fmt: skip


@cache
def identities(number: int) -> tuple[DeviceIdentity, ...]:
    places = (divmod(rank, 8) for rank in range(number))
    return tuple(
        DeviceIdentity(f"node{node}", gpu, f"GPU-{node:08x}-{gpu:04x}", f"00000000:{gpu:02X}:00.0")
        for node, gpu in places
    )


def step(number: int) -> StepRecord:
    return StepRecord(
        1,
        1,
        number,
        datetime(2026, 1, 1),
        12.0 * number,
        10.0,
        2.5,
        12.18,
        1.0,
        1e-4,
        128,
        1000 * number,
        100.0,
        0.4,
        2**30,
    )


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as taken:
        yield taken


@pytest.fixture
def exporter(signals: Signals) -> Iterator[PrometheusTracker]:
    tracker = PrometheusTracker(signals, lambda: devices(64), "127.0.0.1:0", ignored)
    tracker.begin(START)
    tracker.observe(step(1))
    yield tracker
    tracker.close()


def ask(signals: Signals, port: int, request: bytes, pieces: int = 1) -> bytes:
    """The answer to a request that arrives in pieces, while the run goes on at full speed."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as scraper:
        for piece in range(pieces):
            scraper.sendall(request[piece * len(request) // pieces : (piece + 1) * len(request) // pieces])
            signals.wait(0.0)
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            signals.wait(0.0)
            if select.select([scraper], [], [], 0)[0]:
                data = scraper.recv(2**20)
                if not data:
                    return answer
                answer += data
    raise AssertionError("no answer")


def test_scrape_is_answered_between_steps(signals: Signals, exporter: PrometheusTracker) -> None:
    answer = ask(signals, exporter.port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: text/plain; version=0.0.4" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.decode() == exporter.text()


def test_scrape_is_answered_while_a_step_lasts(signals: Signals, exporter: PrometheusTracker) -> None:
    with socket.create_connection(("127.0.0.1", exporter.port), timeout=LIMIT_S) as scraper:
        scraper.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        signals.wait(0.3)
        scraper.setblocking(False)
        assert scraper.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("pieces", [1, 3, 20])
def test_request_may_come_in_pieces(signals: Signals, exporter: PrometheusTracker, pieces: int) -> None:
    answer = ask(signals, exporter.port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", pieces)
    assert answer.endswith(exporter.text().encode())


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", "200"),
        ("GET /nothing HTTP/1.1", "404"),
        ("POST /metrics HTTP/1.1", "405"),
        ("nonsense", "405"),
        ("GET /metrics?x HTTP/1", "200"),
    ],
)
def test_other_requests(signals: Signals, exporter: PrometheusTracker, request_line: str, status: str) -> None:
    assert ask(signals, exporter.port, f"{request_line}\r\n\r\n".encode()).split()[1] == status.encode()


def test_scraper_that_leaves_hurts_nobody(signals: Signals, exporter: PrometheusTracker) -> None:
    for request in (b"", b"GET", b"GET /metrics HTTP/1.1\r\n\r\n", b"x" * 70_000):
        with socket.create_connection(("127.0.0.1", exporter.port), timeout=LIMIT_S) as scraper:
            scraper.sendall(request)
        for _ in range(5):
            signals.wait(0.0)
    assert ask(signals, exporter.port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_port_in_use_is_an_error(signals: Signals, exporter: PrometheusTracker) -> None:
    with pytest.raises(OSError, match="in use"):
        PrometheusTracker(signals, lambda: None, f"127.0.0.1:{exporter.port}", ignored)


def test_gpus_have_the_names_and_the_label_order_of_dcgm_exporter(exporter: PrometheusTracker) -> None:
    text = exporter.text()
    names = [*(f"DCGM_FI_DEV_{name}" for name in DASHBOARD), "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"]
    for name in names:
        lines = [line for line in text.splitlines() if line.startswith(name + "{")]
        assert len(lines) == 64
        assert [re.findall(r"(\w+)=", line) for line in lines] == [
            ["gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "hostname", "DCGM_FI_DRIVER_VERSION"]
        ] * 64
        assert f"# TYPE {name} gauge" in text
    assert "# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter" in text
    assert re.search(
        r'DCGM_FI_DEV_FB_USED\{gpu="3",.*hostname="node1",DCGM_FI_DRIVER_VERSION="550.90.12"\} 64512\n', text
    )
    assert len(set(re.findall('UUID="([^"]+)"', text))) == 64


def test_default_counters_are_there_in_order(exporter: PrometheusTracker) -> None:
    """As dcgm-exporter's list of default counters has them."""
    assert re.findall(r"# TYPE (DCGM_\w+) (\w+)", exporter.text()) == [
        (f"DCGM_FI_{name}", kind) for name, kind in DEFAULT_COUNTERS
    ]


def test_last_error_has_its_text(exporter: PrometheusTracker) -> None:
    lines = [line for line in exporter.text().splitlines() if line.startswith("DCGM_FI_DEV_XID_ERRORS{")]
    assert len(lines) == 64
    assert all(line.endswith(',err_code="0",err_msg="No Error"} 0') for line in lines)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_address_may_be_of_ipv6(signals: Signals) -> None:
    tracker = PrometheusTracker(signals, lambda: None, "[::1]:0", ignored)
    with socket.create_connection(("::1", tracker.port), timeout=LIMIT_S):
        signals.wait(0.0)
    tracker.close()


def test_gpus_that_the_tools_do_not_know_are_left_out(signals: Signals) -> None:
    tracker = PrometheusTracker(signals, lambda: None, "127.0.0.1:0", ignored)
    tracker.begin(START)
    assert "DCGM" not in tracker.text()
    assert "training_simulated_info{" in tracker.text()
    tracker.close()


def test_training_is_there_with_labels_of_the_run(exporter: PrometheusTracker) -> None:
    text = exporter.text()
    assert r'training_loss{run="1",model="a \"model\"",seed="42"} 2.5' in text
    assert r'training_goodput{run="1",model="a \"model\"",seed="42"} 1.0' in text
    assert "training_simulated_info" in text
    exporter.observe(step(2))
    assert "training_step{" in exporter.text() and "} 2\n" in exporter.text()
    assert re.search(r"training_goodput.* 0\.909\d+\n", exporter.text())  # 20 of 22 s


@pytest.mark.slow
@pytest.mark.parametrize(("number", "limit_s"), [(64, 0.02), (16_384, 2.0)])
def test_scrape_is_quick(signals: Signals, number: int, limit_s: float) -> None:
    tracker = PrometheusTracker(signals, lambda: devices(number), "127.0.0.1:0", ignored)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        size = len(tracker.text().encode())
        times.append(time.perf_counter() - begin)
    tracker.close()
    print(f"{number:,} GPUs: {size / 1e6:.1f} MB in {min(times) * 1e3:.1f} ms")
    assert min(times) < limit_s


@pytest.mark.real
def test_prometheus_client_reads_it(exporter: PrometheusTracker) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    families = {family.name: family for family in parser.text_string_to_metric_families(exporter.text())}
    assert len(families["DCGM_FI_DEV_GPU_TEMP"].samples) == 64
    assert families["training_loss"].samples[0].labels == {"run": "1", "model": 'a "model"', "seed": "42"}
    assert families["training_loss"].samples[0].value == 2.5


def test_the_exporter_of_a_further_node_serves_its_gpus_and_no_figures_of_the_training(signals: Signals) -> None:
    reported: list[Record] = []
    tracker = PrometheusTracker(
        signals, lambda: devices(64), "127.0.0.1:0", reported.append, ranks=range(16, 24), rank=16
    )
    tracker.begin(START)
    tracker.observe(step(1))
    text = tracker.text()
    tracker.close()
    found = re.findall(r'^DCGM_FI_DEV_GPU_TEMP\{gpu="(\d)".*Hostname="(\w+)".*\} (\d+)$', text, re.MULTILINE)
    assert found == [(str(gpu), "node2", str(66 + gpu if gpu < 4 else 46 + gpu)) for gpu in range(8)]
    assert "training_simulated_info{" in text and "training_step{" not in text
    assert [getattr(record, "rank", None) for record in reported] == [16]
