"""Ranks of machines whose NCCL or driver differs: their exceptions, and the versions that they state."""

from __future__ import annotations

from functools import cache

import pytest

from accelerate_sim.catalog.gpus import DRIVERS, Driver
from accelerate_sim.config.load import ConfigSource
from accelerate_sim.faults.consequences import RaiseEnd
from accelerate_sim.faults.kinds.mismatch import old_driver, other_library, other_nccl
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.planned import schedule_of
from accelerate_sim.session.faults.nccl_versions import versions_of
from accelerate_sim.session.start_message import StartMessage
from accelerate_sim.sim.run import Run
from fake_torch_dist.nccl.communicator import Versions
from tests.support.repository import ROOT

SMALL = ("cluster.nodes=2", "cluster.gpus_per_node=2")


@cache
def run_with(fault: str, *changes: str) -> Run:
    source = ConfigSource.read(ROOT / "configs/debug.yaml", (*SMALL, *changes)).with_faults((fault,), "--fault")
    return Run(source.resolve())


def strike_of(fault: str, *changes: str) -> Occurrence:
    attempt = schedule_of(run_with(fault, *changes), 1).attempt(0)
    assert attempt
    return attempt.occurrences[0]


def errors(strike: Occurrence) -> dict[int, str]:
    assert strike.ending
    return {death.rank: death.how.text for death in strike.ending.deaths if isinstance(death.how, RaiseEnd)}


def test_every_rank_sees_the_first_one_whose_nccl_is_not_its_own() -> None:
    said = errors(strike_of("mismatch node=1 what=nccl", "cluster.nccl_version=2.27.7"))
    last = {rank: text.rpartition("detected : ")[2] for rank, text in said.items()}
    assert last == {
        0: "rank 2 version 22605 rank 0 version 22707", 1: "rank 2 version 22605 rank 1 version 22707",
        2: "rank 0 version 22707 rank 2 version 22605", 3: "rank 0 version 22707 rank 3 version 22605",
    }  # fmt: skip
    assert all("\nncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n" in text
               for text in said.values())  # fmt: skip
    assert ["NCCL version 2.26.5\n" in said[rank] for rank in range(4)] == [False, False, True, True]


def test_all_machines_with_the_same_other_nccl_go_on() -> None:
    assert strike_of("mismatch node=0-1 what=nccl").ending is None


def test_nccls_lines_state_the_versions_of_the_ranks_own_machine() -> None:
    for what, mine in {"nccl": Versions("2.20.5", "12.4"), "driver": Versions("2.21.5", "12.4", "11.8")}.items():
        config = run_with(f"mismatch node=1 what={what}").config.model_dump(mode="json")
        usual = Versions("2.21.5", "12.4")
        first = [versions_of(rank, StartMessage(config, attempt=0, restarts=1), usual) for rank in range(4)]
        assert first == [usual, usual, mine, mine]
        again = [versions_of(rank, StartMessage(config, attempt=1, restarts=1), usual) for rank in range(4)]
        assert again == [usual] * 4


@pytest.mark.parametrize(
    "what, phase",
    [("nccl", "nccl"), ("mount", "load"), ("driver", "launch"), ("library", "launch"), ("python", "launch")],
)
def test_a_part_is_missed_when_a_rank_needs_it(what: str, phase: str) -> None:
    strike = strike_of(f"mismatch node=1 what={what}")
    assert strike.phase == phase
    assert strike_of(f"mismatch node=1 what={what} at=phase:warmup").phase == "warmup"


@pytest.mark.parametrize("driver", DRIVERS.values(), ids=str)
def test_another_driver_is_another_one(driver: Driver) -> None:
    assert old_driver(driver).major < min(driver.major, 580)
    assert float(old_driver(driver).cuda) < int(driver.cuda.partition(".")[0])
    assert other_library(driver).version != driver.version


@pytest.mark.parametrize("mine, other", [("2.21.5", "2.20.5"), ("2.30.7", "2.29.7"), ("2.18.1", "2.19.3")])
def test_another_nccl_is_the_release_before_it(mine: str, other: str) -> None:
    assert other_nccl(mine) == other
