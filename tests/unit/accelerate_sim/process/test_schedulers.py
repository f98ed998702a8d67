"""The variables of schedulers and MPI launchers, and what a process makes of them."""

from __future__ import annotations

import socket

import pytest

from accelerate_sim.config.problems import ConfigError
from accelerate_sim.process.placement import Placement
from accelerate_sim.process.schedulers import Detection, detect, is_started_by_machine, rank_text, unplaced
from accelerate_sim.process.slurm_step import first_host

STEP = {
    "SLURM_JOB_ID": "31234", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[007-008]", "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}  # fmt: skip
BATCH = {"SLURM_JOB_ID": "31234", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
}  # fmt: skip
MASTER = {"MASTER_ADDR": "h0", "MASTER_PORT": "29500"}


def found(environ: dict[str, str]) -> Detection:
    detection = detect(environ)
    assert detection
    return detection


@pytest.fixture(autouse=True)
def names_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, *_: object) -> list[tuple[object, ...]]:
        if host == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_task_of_a_step_is_a_rank():
    detection = found(STEP)
    assert detection.launcher == "Slurm"
    assert detection.local_size == 4
    assert detection.variables == {
        "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu007", "MASTER_PORT": "16234",
    }  # fmt: skip
    assert found(STEP | {"SLURM_STEP_ID": "2"}).variables["MASTER_PORT"] != "16234"
    place = Placement.of(STEP)
    assert place and (place.rank, place.local_rank, place.local_world_size, place.likely_local_size) == (5, 1, 0, 4)


def test_what_is_set_beside_slurms_variables_is_kept():
    assert found(STEP | MASTER).variables == {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    mapped = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
    assert found(STEP | MASTER | mapped).local_size == 4
    assert detect(STEP | MASTER | mapped | {"LOCAL_WORLD_SIZE": "4"}) is None


def test_a_node_whose_name_is_unknown_has_the_address_that_srun_gives():
    step = STEP | {"SLURM_STEP_NODELIST": "unknown", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7"}
    assert found(step).variables["MASTER_ADDR"] == "10.0.0.7"


def test_one_node_meets_on_loopback():
    assert found(STEP | {"SLURM_STEP_TASKS_PER_NODE": "8"}).variables["MASTER_ADDR"] == "127.0.0.1"


@pytest.mark.parametrize(
    "changes, size",
    [
        ({"SLURM_TASKS_PER_NODE": "4(x2)"}, 4),
        ({"SLURM_STEP_NUM_NODES": "4"}, 2),
        ({"SLURM_NNODES": "8"}, 1),
        ({"SLURM_NTASKS_PER_NODE": "2"}, 2),
        ({}, 0),
    ],
)
def test_the_size_of_a_node_is_found_in_many_places(changes: dict[str, str], size: int):
    step = {name: value for name, value in STEP.items() if name != "SLURM_STEP_TASKS_PER_NODE"}
    assert found(step | changes).local_size == size


def test_nodes_of_several_sizes_are_refused():
    with pytest.raises(ConfigError, match=r"^environment: SLURM_STEP_TASKS_PER_NODE = 5,3 nodes would differ in size"):
        detect(STEP | {"SLURM_STEP_TASKS_PER_NODE": "5,3"})


def test_a_batch_script_is_no_task_and_is_told_so():
    assert detect(BATCH) is None
    assert unplaced(BATCH) == "SLURM_NTASKS is 8 and srun has not started this process: it plays all ranks"
    assert not is_started_by_machine(BATCH)
    assert detect(BATCH | {"SLURM_STEP_ID": str(0xFFFFFFFB)}) is None  # the batch step by its id
    alone = STEP | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
    assert detect(alone) is None
    assert is_started_by_machine(alone)  # srun --pty


@pytest.mark.parametrize(
    "nodes, first",
    [("node[0-3,7]", "node0"), ("gpu-[008-010],login", "gpu-008"), ("a,b", "a"), ("r[1-2]n[3,4]", "r1n3"), ("", "")],
)
def test_the_first_host_of_a_list(nodes: str, first: str):
    assert first_host(nodes) == first


@pytest.mark.parametrize(
    "environ, launcher",
    [
        (OPEN_MPI, "Open MPI"),
        ({"MV2_COMM_WORLD_RANK": "3", "MV2_COMM_WORLD_SIZE": "4", "MV2_COMM_WORLD_LOCAL_RANK": "3",
          "MV2_COMM_WORLD_LOCAL_SIZE": "4"}, "MVAPICH2"),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "3", "MPI_LOCALNRANKS": "4"}, "MPI"),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", "PMI_LOCAL_RANK": "3", "PMI_LOCAL_SIZE": "4", "PALS_RANKID": "3"}, "MPI"),
        ({"HOROVOD_RANK": "3", "HOROVOD_SIZE": "4", "HOROVOD_LOCAL_RANK": "3", "HOROVOD_LOCAL_SIZE": "4"}, "Horovod"),
        ({"FLUX_TASK_RANK": "3", "FLUX_JOB_SIZE": "4", "FLUX_TASK_LOCAL_ID": "3", "FLUX_JOB_NNODES": "1",
          "PMI_RANK": "3", "PMI_SIZE": "4"}, "Flux"),
    ],
)  # fmt: skip
def test_a_process_of_mpirun_is_a_rank(environ: dict[str, str], launcher: str):
    detection = found(environ)
    assert (detection.launcher, detection.local_size) == (launcher, 4)
    variables = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    assert detection.variables == variables
    assert is_started_by_machine(environ)


@pytest.mark.parametrize(
    "environ, job",
    [
        (OPEN_MPI, "PMIX_NAMESPACE"),
        ({"FLUX_TASK_RANK": "3", "FLUX_JOB_SIZE": "4", "FLUX_JOB_NNODES": "1", "PMI_RANK": "3", "PMI_SIZE": "4"},
         "FLUX_JOB_ID"),
        ({"PMI_RANK": "3", "PMI_SIZE": "4", "PMI_LOCAL_SIZE": "4"}, "PALS_APID"),
    ],
)  # fmt: skip
def test_two_jobs_on_one_host_meet_at_different_ports(environ: dict[str, str], job: str):
    assert len({found(environ | {job: f"job{number}"}).variables["MASTER_PORT"] for number in range(2)}) == 2


def test_flux_over_hosts_needs_an_address():
    flux = {"FLUX_TASK_RANK": "3", "FLUX_JOB_SIZE": "4", "FLUX_TASK_LOCAL_ID": "1", "FLUX_JOB_NNODES": "2"}
    assert "MASTER_ADDR" not in found(flux).variables
    assert found(flux).local_size == 0


def test_mpi_over_hosts_needs_an_address():
    with pytest.raises(ConfigError, match=r"RANK is set, but MASTER_ADDR is not.*mpirun -x MASTER_ADDR=HOST"):
        Placement.of({**OPEN_MPI, "LOCAL_RANK": "", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"} | {"LOCAL_RANK": ""})


def test_mpi_inside_a_step_of_slurm_goes_first_unless_srun_has_set_its_variables():
    proxy = STEP | {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
    assert found(proxy | OPEN_MPI).launcher == "Open MPI"
    assert found(STEP | {"PMI_RANK": "5", "PMI_SIZE": "8"}).launcher == "Slurm"


def test_pods():
    pod = {"RANK": "2", "WORLD_SIZE": "4"} | MASTER
    assert found(pod).names == ("RANK", "WORLD_SIZE")
    indexed = found({"JOB_COMPLETION_INDEX": "2", "WORLD_SIZE": "4"} | MASTER)
    assert indexed.variables == {"RANK": "2"}
    masters = {"PET_MASTER_ADDR": "job-0", "PET_MASTER_PORT": "29400"}
    one_each = {"PET_NODE_RANK": "2", "PET_NNODES": "4", "PET_NPROC_PER_NODE": "1"} | masters
    assert found(one_each).variables == {
        "RANK": "2", "WORLD_SIZE": "4", "MASTER_ADDR": "job-0", "MASTER_PORT": "29400",
    }  # fmt: skip
    for several in ("8", "auto"):
        with pytest.raises(ConfigError, match=f"PET_NPROC_PER_NODE = {several} asks for .* Start the ranks with fake"):
            detect(one_each | {"PET_NPROC_PER_NODE": several})
        with pytest.raises(ConfigError, match="PET_NPROC_PER_NODE"):
            detect(pod | {"PET_NPROC_PER_NODE": several})
    with pytest.raises(ConfigError, match="PET_NNODES = 2:4 is set for torchrun"):
        detect(one_each | {"PET_NNODES": "2:4"})


@pytest.mark.parametrize(
    "environ, said",
    [
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE is 4 and RANK is not set: this process plays all ranks"),
        ({"RANK": "3"}, "RANK is 3 and WORLD_SIZE is not set: this process plays all ranks"),
        ({"JOB_COMPLETION_INDEX": "1"}, "JOB_COMPLETION_INDEX is 1 and WORLD_SIZE is not set: this process plays"),
        ({"PMIX_RANK": "2"}, "PMIX_RANK is 2 and no variable says the number of ranks: this process plays all ranks"),
        ({"PMIX_RANK": "0"}, ""),
        ({"WORLD_SIZE": "1", "RANK": "0"}, ""),
        ({}, ""),
    ],
)
def test_a_process_that_plays_all_ranks_says_why_if_that_may_be_a_mistake(environ: dict[str, str], said: str):
    assert detect(environ) is None
    assert unplaced(environ).startswith(said)
    assert bool(unplaced(environ)) == bool(said)


@pytest.mark.parametrize(
    "environ, rank",
    [
        ({}, ""),
        ({"RANK": "3"}, "3"),
        (STEP | {"SLURM_PROCID": "5"}, "5"),
        (STEP | {"SLURM_PROCID": "5", "RANK": "2"}, "2"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "1"),
        (BATCH, ""),
    ],
)
def test_the_rank_is_known_before_the_layout_is(environ: dict[str, str], rank: str):
    """Rank 0 alone prints a mistake in the layout."""
    assert rank_text(environ) == rank
