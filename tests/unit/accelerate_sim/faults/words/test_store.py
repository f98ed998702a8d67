"""Ranks whose store is gone print torch's lines once a second, by release."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from accelerate_sim.faults.words import store
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import STDERR


def client(torch: str = "2.13", host: str = "node0") -> store.Client:
    return store.Client(rank=9, host=host, port=29500, start=datetime(2026, 11, 3), draw=Draw(1), torch=torch)


def test_the_first_receive_fails_and_then_every_send() -> None:
    lines = store.gone(client(), seconds=4)
    heads = [line for line in lines if "[c10d]" in line.text]
    assert [re.findall(r"TCPStore\.cpp:(\d+)\] \[c10d\] (\w+) failed", line.text)[0] for line in heads] == [
        ("125", "recvValue"), ("106", "sendBytes"), ("106", "sendBytes"), ("106", "sendBytes"),
    ]  # fmt: skip
    assert heads[1].after_s - heads[0].after_s == pytest.approx(1.0)
    assert {line.stream for line in lines} == {STDERR}
    assert all(line.text.startswith("[rank9]:[W") for line in heads)


@pytest.mark.parametrize(
    "torch, reason, line",
    [("2.13", store.CLOSED, 787), ("2.13", store.RESET, 784), ("2.9", store.CLOSED, 682), ("2.9", store.RESET, 679)],
)
def test_the_place_is_that_of_the_release_and_of_the_reason(torch: str, reason: str, line: int) -> None:
    texts = [each.text for each in store.gone(client(torch), reason, seconds=1)]
    assert texts[0].endswith(f"): {reason}")
    assert texts[1] == (
        f"Exception raised from recvBytes at /pytorch/torch/csrc/distributed/c10d/Utils.hpp:{line} "
        "(most recent call first):"
    )


def test_older_releases_have_a_shorter_reason() -> None:
    assert store.gone(client("2.7"))[0].text.endswith(": failed to recv, got 0 bytes")


def test_the_monitor_says_that_it_cannot_check_the_dump_flag() -> None:
    flags = [line.text for line in store.gone(client(), seconds=2) if "should dump" in line.text]
    assert len(flags) == 2
    assert flags[0].endswith(
        '[PG ID 0 PG GUID 0 Rank 9] Failed to check the "should dump" flag on TCPStore, (maybe TCPStore '
        "server has shut "
        f"down too early), with error: {store.CLOSED}"
    )
    assert flags[1].endswith("with error: Broken pipe")


def test_a_store_that_does_not_answer_is_tried_again_and_then_given_up() -> None:
    texts = [line.text for line in store.unreachable(client(), 2000)]
    why = "The client socket has timed out after 2000ms while trying to connect to (node0, 29500)."
    assert [text.endswith(why) for text in texts] == [True] * 4
    assert re.search(r"\[W.* - retrying \(try=0, timeout=2000ms, delay=1\d\d\dms\): ", texts[1])
    assert re.search(r"\[E.* - timed out \(try=1, timeout=2000ms\): ", texts[3])


def test_missing_clients_are_counted() -> None:
    assert store.clients_missing(600, 56, 64).endswith("after 600 seconds waiting for clients. 56/64 clients joined.")
    assert (
        "of (nowhere, 29500) cannot be retrieved (gai error: -2" in store.unknown_host(client(host="nowhere"))[0].text
    )
