"""GPUs that break: Xids, memory errors and lost GPUs in one process and really, as faults.jsonl says."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelerate_sim.faults.kinds.xid_facts import XIDS
from tests.support.played_faults import FaultyRun, hold_claims, play_alone, play_launched
from tests.support.reading import Train

STORY = (
    "ecc gpu=0:1 type=sbe count=7 at=step:2",
    "xid gpu=1:1 code=31 at=step:3",
    "xid gpu=0:0 code=63 at=step:7",
    "xid gpu=1:0 code=79 at=step:8 id=bus",
    "ecc gpu=0:1 type=contained at=step:12",
    "xid gpu=1:1 code=119 at=step:13 timeout=2m",
    "lost gpu=0:1 xid=no at=step:17",
)


def test_one_process_and_a_job_break_in_the_same_way(train: Train, tmp_path: Path) -> None:
    one = play_alone(train, tmp_path / "one", *STORY, restarts=7)
    many = play_launched(tmp_path / "many", *STORY, restarts=7)
    assert (one.returncode, many.returncode) == (0, 0), one.stderr + many.stderr
    assert one.events == many.events
    assert one.metrics == many.metrics
    for run in (one, many):
        hold_claims(run)
    assert [event["kind"] for event in one.begun] == ["ecc", "xid", "xid", "xid", "ecc", "xid", "lost"]
    truths = {event["id"]: event["truth"] for event in one.begun}
    assert truths["bus"] == {"category": "gpu", "root": 2, "transient": False, "action": "reboot_node"}
    for host in ("node0", "node1"):
        kernels = [[line for line in run.kernel(host).splitlines() if "): 45, " not in line] for run in (one, many)]
        assert len(kernels[0]) == len(kernels[1]) > 0


def hold_xids(run: FaultyRun) -> None:
    """Each Xid, all of a GPU of node 1, is found where it is claimed."""
    assert run.returncode == 0, run.stderr
    hold_claims(run)
    assert run.kernel("node0") == ""
    for event in run.begun:
        dies = XIDS[int(event["params"]["code"])].effect == "die"
        assert event["expect"]["silent_ranks"] == ([] if dies else [2])


def test_each_xid_is_found_where_it_is_claimed(train: Train, tmp_path: Path) -> None:
    """Each that ends the job does so in an attempt of its own."""
    words = [f"xid gpu=1:0 code={code} at=step:{number} id=xid-{code}" for number, code in enumerate(XIDS, 2)]
    run = play_alone(train, tmp_path / "one", *words, restarts=len(words))
    hold_xids(run)
    assert [event["params"]["code"] for event in run.begun] == [str(code) for code in XIDS]


@pytest.mark.slow
@pytest.mark.parametrize("code", XIDS)
def test_an_xid_alone_is_found_where_it_is_claimed(train: Train, tmp_path: Path, code: int) -> None:
    run = play_alone(train, tmp_path / "one", f"xid gpu=1:0 code={code} at=step:12")
    hold_xids(run)
    assert len(run.begun) == 1


@pytest.mark.slow
def test_all_xids_really_happen_in_one_job(train: Train, tmp_path: Path) -> None:
    words = [f"xid gpu={k % 2}:{k // 2 % 2} code={code} at=step:{k + 2} id=xid-{code}" for k, code in enumerate(XIDS)]
    one = play_alone(train, tmp_path / "one", *words, restarts=len(words))
    many = play_launched(tmp_path / "many", *words, restarts=len(words))
    assert (one.returncode, many.returncode) == (0, 0), one.stderr + many.stderr
    assert one.events == many.events
    assert one.metrics == many.metrics
    for run in (one, many):
        hold_claims(run)
        assert [event["params"]["code"] for event in run.begun] == [str(code) for code in XIDS]
    assert many.stderr.count("failed (exitcode: ") == sum(facts.effect != "none" for facts in XIDS.values())


@pytest.mark.slow
@pytest.mark.parametrize("code", XIDS)
def test_each_xid_really_happens(tmp_path: Path, code: int) -> None:
    run = play_launched(tmp_path / "many", f"xid gpu=1:0 code={code} at=step:12")
    assert run.returncode == 0, run.stderr
    hold_claims(run)


def test_an_xid_that_only_warns_leaves_the_job_alone(train: Train, tmp_path: Path) -> None:
    run = play_alone(train, tmp_path / "one", "xid gpu=1:0 code=94 effect=none at=step:12", restarts=0)
    assert run.returncode == 0
    assert "CUDA error" not in run.stderr
    assert "): 94, " in run.kernel("node1")
    assert "): 45, " not in run.kernel("node1")


def test_an_xid_may_have_a_text_of_the_users(train: Train, tmp_path: Path) -> None:
    words = "xid gpu=0:1 code=110 body='SEC_FAULT: 1' at=step:12"
    run = play_alone(train, tmp_path / "one", words)
    assert run.returncode == 0
    hold_claims(run)
    assert run.kernel("node0").endswith("NVRM: Xid (PCI:0000:14:00): 110, SEC_FAULT: 1\n")
    refused = train("--fault", "xid gpu=0:1 code=110 at=step:1")
    assert refused.returncode == 2
    assert "Xid 110 has no lines here" in refused.stderr


def test_a_machine_that_never_comes_back_ends_the_job(train: Train, tmp_path: Path) -> None:
    run = play_alone(train, tmp_path / "one", "lost node=1 back=ever at=step:12")
    assert run.returncode == 1
    hold_claims(run)
    assert {each["op"] for each in run.begun[0]["expect"]["metrics"]} == {"absent"}
