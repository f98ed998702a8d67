"""Clients of the exporter that mean harm, or are many: the run goes on, and who asks properly is answered."""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from accelerate_sim.process.signals import Signals
from accelerate_sim.tracking import scrape_server
from accelerate_sim.tracking.scrape_server import MOST_CONNECTIONS, ScrapeServer

LIMIT_S = 30.0
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9400\r\n\r\n"
TEXT = "training_step 1\n"


class Text:
    """Page that is scraped; counts how often it was made."""

    def __init__(self) -> None:
        self.text, self.cost_s, self.made = TEXT, 0.0, 0

    def __call__(self) -> str:
        self.made += 1
        time.sleep(self.cost_s)
        return self.text


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as taken:
        yield taken


@pytest.fixture
def text() -> Text:
    return Text()


@pytest.fixture
def server(signals: Signals, text: Text) -> Iterator[ScrapeServer]:
    made = serving(signals, text)
    yield made
    made.close()


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def serving(signals: Signals, text: Text, address: str = "127.0.0.1:0") -> ScrapeServer:
    return ScrapeServer(signals, address, "/metrics", "text/plain", text)


def connect(clients: ExitStack, server: ScrapeServer, request: bytes = b"") -> socket.socket:
    client = clients.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S))
    client.sendall(request)
    return client


def answers(signals: Signals, clients: list[socket.socket], wait_s: float = 0.0) -> list[bytes]:
    """Bytes that each client receives until its connection ends, while the run goes on."""
    found = dict.fromkeys(clients, b"")
    left, deadline = list(clients), time.monotonic() + LIMIT_S
    while left:
        assert time.monotonic() < deadline, f"{len(left)} connections are still open"
        signals.wait(wait_s)
        for client in select.select(left, [], [], 0)[0]:
            try:
                data = client.recv(2**20)
            except ConnectionResetError:
                data = b""
            found[client] += data
            if not data:
                left.remove(client)
    return list(found.values())


def scrape(signals: Signals, server: ScrapeServer, request: bytes = REQUEST) -> bytes:
    with ExitStack() as opened:
        return answers(signals, [connect(opened, server, request)])[0]


def status(answer: bytes) -> str:
    return answer.split()[1].decode()


def test_silent_connections_are_few_and_keep_nobody_out(signals, server, clients):
    silent = [connect(clients, server) for _ in range(3 * MOST_CONNECTIONS)]
    assert answers(signals, silent[: 2 * MOST_CONNECTIONS]) == [b""] * 2 * MOST_CONNECTIONS
    assert scrape(signals, server).endswith(TEXT.encode())
    assert not select.select(silent[2 * MOST_CONNECTIONS + 1 :], [], [], 0)[0]  # the newest are still heard


def test_honest_clients_may_be_many_at_once(signals, server, clients):
    asking = [connect(clients, server, REQUEST) for _ in range(3 * MOST_CONNECTIONS)]
    assert [status(answer) for answer in answers(signals, asking)] == ["200"] * len(asking)


@pytest.mark.parametrize("request_begun", [b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"])
def test_a_request_has_to_come_soon(signals, server, clients, monkeypatch, request_begun):
    monkeypatch.setattr(scrape_server, "REQUEST_S", 0.05)
    assert answers(signals, [connect(clients, server, request_begun)], wait_s=0.01) == [b""]


def test_silence_ends_while_a_long_step_lasts(signals, server, clients, monkeypatch):
    monkeypatch.setattr(scrape_server, "REQUEST_S", 0.05)
    client = connect(clients, server)
    signals.wait(0.5)
    assert client.recv(1) == b""


def test_a_reader_that_rests_is_closed(signals, server, clients, text, monkeypatch):
    monkeypatch.setattr(scrape_server, "ANSWER_S", 0.05)
    text.text = "x" * 20_000_000
    client = connect(clients, server, REQUEST)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        signals.wait(0.02)
    (taken,) = answers(signals, [client])
    assert taken.startswith(b"HTTP/1.1 200") and len(taken) < len(text.text)
    text.text = TEXT


def test_a_large_answer_comes_whole(signals, server, text):
    text.text = "".join(f"line {number}\n" for number in range(500_000))
    assert scrape(signals, server).endswith(text.text.encode())


def test_a_run_without_free_descriptors_goes_on(signals, server, clients):
    waiting = [connect(clients, server, REQUEST) for _ in range(8)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (waiting[0].fileno(), before[1]))
    try:
        assert answers(signals, waiting) == [b""] * len(waiting)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert status(scrape(signals, server)) == "200"


def test_answers_take_a_tenth_of_the_time_however_many_ask(signals, server, text):
    text.cost_s = 0.02
    begin = time.monotonic()
    for _ in range(40):
        assert status(scrape(signals, server)) == "200"
    elapsed_s = time.monotonic() - begin
    assert text.made <= 1 + elapsed_s / (10 * text.cost_s)


def test_a_new_answer_is_made_when_the_last_has_aged(signals, server, text):
    scrape(signals, server)
    text.text = "training_step 2\n"
    deadline = time.monotonic() + LIMIT_S
    while not scrape(signals, server).endswith(b"training_step 2\n"):
        assert time.monotonic() < deadline, "the first answer is given for ever"


@pytest.mark.parametrize("host", [
    "localhost", "LOCALHOST:9400", "localhost.:9400", "127.0.0.1", "127.0.0.1:9400", "127.1.2.3", "[::1]:9400", "[::1]",
    "10.0.0.7:9400",
])  # fmt: skip
def test_addresses_and_localhost_are_names_of_the_exporter(signals, server, host):
    assert status(scrape(signals, server, f"GET /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())) == "200"


@pytest.mark.parametrize("headers", [
    "Host: rebound.example", "Host: rebound.example:9400", "HOST:rebound.example", "Host: localhost.rebound.example",
    "Host: 127.0.0.1.rebound.example:9400", "Host: localhost\r\nHost: rebound.example", "Host: x", "Host: ",
    "Accept: */*\r\nHost: rebound.example\r\nOrigin: http://rebound.example",
])  # fmt: skip
def test_names_that_lead_here_from_the_web_are_refused(signals, server, text, headers):
    answer = scrape(signals, server, f"GET /metrics HTTP/1.1\r\n{headers}\r\n\r\n".encode())
    assert status(answer) == "403" and TEXT.encode() not in answer and b"log.prometheus_address" in answer
    assert text.made == 0


def test_the_bound_name_is_a_name_of_the_exporter(signals, text):
    server = serving(signals, text, "localhost:0")
    assert status(scrape(signals, server, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")) == "200"
    assert status(scrape(signals, server, b"GET /metrics HTTP/1.1\r\nHost: other\r\n\r\n")) == "403"
    server.close()


def test_a_probe_gets_a_short_answer_and_makes_no_figures(signals, server, text):
    answer = scrape(signals, server, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:9400\r\n\r\n")
    assert status(answer) == "200" and answer.endswith(b"\r\n\r\nok\n")
    front = scrape(signals, server, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:9400\r\n\r\n")
    assert status(front) == "200" and b"/metrics" in front and b"/healthz" in front
    assert text.made == 0


def test_a_probe_of_a_run_that_does_not_go_on_is_told_why(signals, text):
    ailments = [None, "no progress", None]
    server = ScrapeServer(signals, "127.0.0.1:0", "/metrics", "text/plain", text, lambda: ailments.pop(0))
    probe = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = [scrape(signals, server, probe) for _ in range(3)]
    assert [status(answer) for answer in found] == ["200", "503", "200"]
    assert found[1].endswith(b"\r\n\r\nno progress\n")
    server.close()


def test_an_exporter_for_other_hosts_answers_to_any_name(signals, text):
    server = serving(signals, text, "0.0.0.0:0")
    assert status(scrape(signals, server, b"GET /metrics HTTP/1.1\r\nHost: node7.cluster:9400\r\n\r\n")) == "200"
    server.close()


def test_closing_leaves_nothing_to_serve(signals, text, clients):
    server = serving(signals, text)
    client = connect(clients, server)
    signals.wait(0.0)
    server.close()
    server.close()
    assert client.recv(1) == b""
    signals.wait(0.0)
