"""Links that fail or flap, nodes that are cut off, and a store that is gone, in one process and really."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.played_faults import FaultyRun, hold_claims, play_alone, play_launched
from tests.support.reading import Train

STORY = (
    "link link=1:0 action=flap at=step:3 for=8s",
    "link link=0:1 action=down at=step:6",
    "store action=slow at=step:7",
    "store action=reset at=step:8",
    "partition node=1 at=step:9",
    "link node=0 action=bandwidth gbps=50 at=step:11 for=3steps id=narrow",
    "store action=gone at=step:14",
)


def step_times(run: FaultyRun) -> dict[tuple[int, int], float]:
    """Seconds of each step by attempt and number."""
    events = map(json.loads, run.metrics.splitlines())
    steps = [event for event in events if event["event"] == "step"]
    return {(event["attempt"], event["step"]): event["step_time_s"] for event in steps}


def test_one_process_and_a_job_lose_their_network_in_the_same_way(train: Train, tmp_path: Path) -> None:
    one = play_alone(train, tmp_path / "one", *STORY)
    many = play_launched(tmp_path / "many", *STORY)
    assert (one.returncode, many.returncode) == (0, 0), one.stderr + many.stderr
    assert one.events == many.events
    assert one.metrics == many.metrics
    for run in (one, many):
        hold_claims(run)
        for host in ("node0", "node1"):
            log = "nodes", host, "syslog"
            assert run.directory.joinpath(*log).read_text() == one.directory.joinpath(*log).read_text()
            assert run.kernel(host) == one.kernel(host)
    roots = [event["truth"]["root"] for event in one.begun]
    assert roots[:2] == [2, 1]
    times = step_times(one)
    assert times[0, 3] == pytest.approx(8.0 + times[0, 4], abs=0.1)
    assert times[2, 12] > 1.05 * times[3, 12]


def test_a_flap_longer_than_the_retries_ends_the_job_as_a_link_that_is_down(train: Train, tmp_path: Path) -> None:
    run = play_alone(train, tmp_path / "one", "link link=1:0 action=flap for=40s at=step:12")
    assert run.returncode == 0
    hold_claims(run)
    assert "Attempt 2" in run.stdout
    ended = next(event for event in run.events if event["state"] == "end")
    assert ended["elapsed"] - run.begun[0]["elapsed"] == pytest.approx(4.096e-6 * 2**20 * 7 + 61.0)


def test_nccls_lines_have_their_order_and_the_form_of_the_release(train: Train, tmp_path: Path) -> None:
    words = "link link=1:0 action=down at=step:12"
    run = play_alone(train, tmp_path / "one", words, more=("--set", "cluster.nccl_version=2.30.7"))
    warned = re.findall(r"NCCL WARN (.*)", run.stdout)
    order = ["Got non-fatal async event: port error(10)", "Got CQE with error", "status=IBV_WC_RETRY_EXC_ERR(12)"]
    places = [next(k for k, text in enumerate(warned) if part in text) for part in order]
    assert places == sorted(places)
    quiet = play_alone(train, tmp_path / "two", f"{words} debug=NONE")
    assert "NCCL WARN" not in quiet.stdout
    assert "NCCL error: remote process exited" in quiet.stderr


def test_in_a_job_of_one_node_a_link_is_not_used(train: Train, tmp_path: Path) -> None:
    words = "link link=0:0 action=down at=step:12"
    run = play_alone(train, tmp_path / "one", words, restarts=0, more=("--set", "cluster.nodes=1"))
    assert run.returncode == 0
    hold_claims(run)
