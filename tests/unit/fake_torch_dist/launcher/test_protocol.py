"""Messages between the processes of a launcher arrive as the types that were sent, and nothing else does."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import pytest

from fake_torch_dist.launcher.failures import ProcessFailure
from fake_torch_dist.launcher.protocol.agent_messages import (
    FROM_AGENT,
    TO_AGENT,
    RankExited,
    RankStarted,
    RankTargets,
    StartRanks,
    StreamTarget,
    TargetKind,
)
from fake_torch_dist.launcher.protocol.assignment import NodeAssignment
from fake_torch_dist.launcher.protocol.codec import NotAMessageError, UnexpectedMessageError, decode, encode
from fake_torch_dist.launcher.protocol.host_messages import FROM_HOST, TO_HOST, AttemptOver, Hello, Join, JoinRequest
from fake_torch_dist.launcher.protocol.stop import StopJob

ASSIGNMENT = NodeAssignment(
    attempt=1, restarts=0, group_rank=1, num_nodes=2, first_rank=4, world_size=8, master_addr="localhost",
    master_port=29500, run_id="job", store="127.0.0.1:1", token="", node="node1",
)  # fmt: skip
REQUEST = JoinRequest(
    backend="c10d", run_id="job", min_nodes=1, max_nodes=2, node_rank=-1, nproc_per_node=4, host="a", pid=7
)
FAILURE = ProcessFailure(local_rank=0, rank=4, node="b", pid=9, exitcode=-11, timestamp_s=1.5, message="a\nb")


def test_a_start_arrives_whole() -> None:
    targets = (
        RankTargets(StreamTarget(TargetKind.TERMINAL, columns=80, rows=24), StreamTarget(TargetKind.AS_STDOUT), ""),
        RankTargets(StreamTarget(TargetKind.FILE, "/tmp/pipe"), StreamTarget(TargetKind.PIPE), "/tmp/e.json"),
    )
    for terminal in ("/dev/pts/1", None):
        order = StartRanks(ASSIGNMENT, targets, terminal, 12, color=True)
        assert decode(encode(order).rstrip(), TO_AGENT) == (order, 0)


def test_descriptors_are_counted() -> None:
    started = RankStarted(1, 3, 77, ("stdout", "stderr"))
    assert decode(encode(started, 2), FROM_AGENT) == (started, 2)


def test_bytes_and_optional_fields_arrive() -> None:
    for message in (
        Hello(b"\0\xff"), Join(b"proof", REQUEST), AttemptOver(0, failed=True, failure=FAILURE),
        AttemptOver(0, failed=False, failure=None),
    ):  # fmt: skip
        assert decode(encode(message), TO_HOST) == (message, 0)


def test_a_signal_arrives_as_its_number_and_a_whole_grace_as_a_float() -> None:
    stop, _ = decode(encode(StopJob(signal.SIGTERM, 30, "why")), FROM_HOST)
    assert isinstance(stop, StopJob)
    assert (type(stop.signal), type(stop.grace_s), stop.grace_s) == (int, float, 30.0)


def test_a_stop_of_the_agent_and_one_of_the_job_are_two_types() -> None:
    with pytest.raises(UnexpectedMessageError):
        decode(b'{"kind": "stop", "signal": 15, "grace_s": 1, "descriptors": 0}', FROM_HOST)
    assert decode(b'{"kind": "stop", "signal": 15, "grace_s": 1, "descriptors": 0}', TO_AGENT)


def test_a_newer_version_may_add_fields() -> None:
    content = json.loads(encode(Join(b"", replace(REQUEST, protocol="another 9"))))
    content["application"]["more"] = [1]
    message, _ = decode(json.dumps(content).encode(), TO_HOST)
    assert isinstance(message, Join) and message.application.protocol == "another 9"


@pytest.mark.parametrize(
    "line",
    [b"", b"GET / HTTP/1.0", b"[]", b"7", b'{"kind": "hello"}', b'{"descriptors": 0}', b"\xff", b"[" * 99999,
     b'{"kind": "hello", "nonce": "", "descriptors": true}'],
    ids=range(9),
)  # fmt: skip
def test_other_programs_are_told_from_messages(line: bytes) -> None:
    with pytest.raises(NotAMessageError):
        decode(line, TO_HOST)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "goodbye"), ("kind", ["exit"]), ("kind", "rank"),
     ("pid", "7"), ("pid", True), ("pid", None), ("pid", 1.5),
     ("time_s", "now"), ("was_signalled", 1)],
)  # fmt: skip
def test_a_wrong_field_is_an_error(name: str, value: object) -> None:
    content = json.loads(encode(RankExited(0, 1, 2, 3, 4.0, was_signalled=False)))
    with pytest.raises(UnexpectedMessageError):
        decode(json.dumps(content | {name: value}).encode(), FROM_AGENT)


@pytest.mark.parametrize("name", ["proof", "application"])
def test_a_missing_field_is_an_error(name: str) -> None:
    content = json.loads(encode(Join(b"", REQUEST)))
    del content[name]
    with pytest.raises(UnexpectedMessageError):
        decode(json.dumps(content).encode(), TO_HOST)


@pytest.mark.parametrize(("name", "value"), [("kind", "tape"), ("columns", "80"), ("path", None)])
def test_a_wrong_field_of_an_inner_class_is_an_error(name: str, value: object) -> None:
    target = StreamTarget(TargetKind.PIPE)
    content = json.loads(encode(StartRanks(ASSIGNMENT, (RankTargets(target, target, ""),), None, 0, color=False)))
    content["ranks"][0]["stdout"][name] = value
    with pytest.raises(UnexpectedMessageError):
        decode(json.dumps(content).encode(), TO_AGENT)


def test_what_is_no_hexadecimal_is_no_bytes() -> None:
    with pytest.raises(UnexpectedMessageError):
        decode(b'{"kind": "hello", "nonce": "zz", "descriptors": 0}', TO_HOST)
