"""This process's place as the environment's variables give it."""

from __future__ import annotations

import os

import pytest

from accelerate_sim.config.problems import ConfigError
from accelerate_sim.process.placement import Placement, own_placement, scheduler_restarts

LAUNCHED = {
    "RANK": "13", "LOCAL_RANK": "5", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip


def test_without_a_launcher_there_is_no_place() -> None:
    assert Placement.of({}) is None
    assert Placement.of({"RANK": "0", "WORLD_SIZE": "1"}) is None


def test_a_launcher_says_which_rank_this_is() -> None:
    place = Placement.of(LAUNCHED | {"TORCHELASTIC_RESTART_COUNT": "2"})
    assert place == Placement(rank=13, local_rank=5, world_size=16, local_world_size=8, attempt=2)
    assert (place.node, place.num_nodes, place.is_main) == (1, 2, False)


def test_without_a_number_of_local_ranks_the_layout_is_not_known() -> None:
    place = Placement.of({key: value for key, value in LAUNCHED.items() if key != "LOCAL_WORLD_SIZE"})
    assert place and (place.rank, place.local_rank, place.local_world_size) == (13, 5, 0)


def test_a_rank_without_a_local_rank_is_one() -> None:
    place = Placement.of({key: value for key, value in LAUNCHED.items() if not key.startswith("LOCAL")})
    assert place and (place.rank, place.local_rank, place.world_size, place.local_world_size) == (13, -1, 16, 0)
    with pytest.raises(ConfigError, match=r"^environment: RANK is set, but MASTER_ADDR is not\. Set it to the host"):
        Placement.of({"RANK": "1", "WORLD_SIZE": "2"})


@pytest.mark.parametrize("name", ["SLURM_RESTART_COUNT", "JOBSET_RESTART_ATTEMPT"])
def test_a_scheduler_that_starts_the_job_again_counts(name: str) -> None:
    place = Placement.of(LAUNCHED | {"TORCHELASTIC_RESTART_COUNT": "1", name: "2"})
    assert place and place.attempt == 3
    assert (scheduler_restarts({}), scheduler_restarts({name: "2"})) == (0, 2)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"RANK": "16"}, "RANK = 16 is not from 0 to 15"),
        ({"RANK": "-1"}, "RANK = '-1' is not a whole number"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE = 0 is less than 1"),
        ({"LOCAL_RANK": "8"}, "LOCAL_RANK = 8 is not from 0 to 7"),
        ({"WORLD_SIZE": "20"}, "WORLD_SIZE = 20 is not a multiple of LOCAL_WORLD_SIZE = 8"),
        ({"MASTER_PORT": ""}, "LOCAL_RANK is set, but MASTER_PORT is not"),
    ],
)
def test_a_place_that_cannot_be_is_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^environment: {said}"):
        Placement.of(LAUNCHED | changes)


def test_a_forked_process_reads_its_own_placement():
    """The parent has read that it has none; a launcher sets the child's variables after the fork."""
    assert own_placement() is None
    pid = os.fork()
    if pid == 0:
        os.environ.update(LAUNCHED)
        placement = own_placement()
        os._exit(placement.rank if placement else 100)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 13


@pytest.mark.parametrize("number", [1, 2, 8])
def test_a_process_that_plays_several_ranks_counts_them(number):
    process = Placement(rank=5, local_rank=1, world_size=12, local_world_size=4)
    played = process.playing(number)
    assert played.ranks == range(5 * number, 6 * number) and played.rank == played.ranks[0]
    assert (played.process, played.num_processes) == (5, 12)
    assert (played.node, played.num_nodes) == (process.node, process.num_nodes) == (1, 3)
    assert (played.local_rank, played.world_size, played.local_world_size) == (number, 12 * number, 4 * number)
    assert not played.plays_node and Placement(5, 0, 12, 1).playing(number).plays_node


@pytest.mark.parametrize(("text", "sentence"), [("zero", "is not a whole number"), ("0", "is less than 1")])
def test_a_wrong_number_of_ranks_a_process_is_named(monkeypatch, text, sentence):
    monkeypatch.setenv("FAKE_TORCHRUN_RANKS_PER_PROCESS", text)
    own_placement.cache_clear()
    with pytest.raises(ConfigError, match=f"FAKE_TORCHRUN_RANKS_PER_PROCESS.*{sentence}"):
        own_placement()
    own_placement.cache_clear()
