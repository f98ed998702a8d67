"""The rank of this process as schedulers and MPI launchers give it, translated to the variables of torchrun.

Open MPI, MVAPICH2, JSM, Flux, Horovod, and MPICH, Intel MPI and PALS are read by the names that they, Accelerate and
Lightning know; Slurm in a step of srun, as Lightning does; Kubernetes by RANK, PET_NODE_RANK or JOB_COMPLETION_INDEX.
RANK and WORLD_SIZE, if both are set, take precedence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from accelerate_sim.process.place_variables import count, wrong
from accelerate_sim.process.slurm_step import host_of_rank_0, in_step, num_tasks, tasks_per_node
from fake_torch_dist.torch_names import MASTER_PORT

LOOPBACK: Final = "127.0.0.1"

_FIRST_SLURM_PORT: Final = 15000
_WITH_A_LAUNCHER: Final = "Start the ranks with fake-torchrun train.py, as the pod's torchrun would."


@dataclass(frozen=True, slots=True)
class _Names:
    """Names of the variables that one kind of launcher sets; empty where it sets none."""

    launcher: str
    rank: str
    size: str
    local_rank: str
    local_size: str = ""
    job: str = ""
    """Variable that differs from job to job."""


def _of_mpi(launcher: str, prefix: str, job: str = "") -> _Names:
    return _Names(launcher, f"{prefix}RANK", f"{prefix}SIZE", f"{prefix}LOCAL_RANK", f"{prefix}LOCAL_SIZE", job)


_LAUNCHERS: Final = (
    _of_mpi("Open MPI", "OMPI_COMM_WORLD_", "PMIX_NAMESPACE"),
    _of_mpi("MVAPICH2", "MV2_COMM_WORLD_"),
    _of_mpi("JSM", "JSM_NAMESPACE_", "LSB_JOBID"),
    _Names("Flux", "FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID", "", "FLUX_JOB_ID"),
    _of_mpi("Horovod", "HOROVOD_", "HOROVOD_GLOO_RENDEZVOUS_PORT"),
    _Names("MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "PALS_APID"),
    _of_mpi("MPI", "PMI_"),  # PALS and other launchers of Cray
)
"""Flux and others also set PMI_RANK, which says less, so it comes last."""
_WITHOUT_SIZE: Final = ("PMIX_RANK", "PALS_RANKID", "ALPS_APP_PE")
"""Ranks of launchers that set no size, or set it under another name."""
_SLURM: Final = _Names("Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "", "SLURM_JOB_ID")


@dataclass(frozen=True, slots=True)
class Detection:
    """A job of several processes that this one is a rank of."""

    launcher: str
    names: tuple[str, ...]
    """Variables that give rank and size."""
    variables: dict[str, str] = field(default_factory=dict)
    """torchrun's variables that the environment does not have, LOCAL_RANK if it is known. LOCAL_WORLD_SIZE is not
    among them: the ranks make sure of it when they meet."""
    local_size: int = 0
    """Ranks on this node, as far as the launcher says; 0 if it does not."""

    def sentence(self, environ: Mapping[str, str], nodes: int, local_world_size: int) -> str:
        """One line with the detected launcher and the layout that follows from its variables."""
        whole = {**environ, **self.variables}
        layout = f"{nodes} node{'s' * (nodes > 1)} x {local_world_size} rank{'s' * (local_world_size > 1)}"
        place = f"{whole['MASTER_ADDR']}:{whole['MASTER_PORT']}"
        named = " and ".join(self.names)
        return f"rank {whole['RANK']} of {whole['WORLD_SIZE']}, {self.launcher} ({named}): {layout}, meeting at {place}"


def detect(environ: Mapping[str, str]) -> Detection | None:
    """The job that this process is a rank of, other than torchrun's; None if there is none.

    Raises ConfigError if a launcher has started it as one of several and does not say which.
    """
    if environ.get("LOCAL_RANK") and environ.get("RANK") and environ.get("WORLD_SIZE"):
        if environ.get("LOCAL_WORLD_SIZE"):
            return None
        return Detection("torchrun", (), {}, _local_of(environ, environ["RANK"])[1])
    names = _scheduler(environ)
    if count(environ, "WORLD_SIZE") > 1 and environ.get("RANK"):
        _refuse_pods_of_several(environ)
        local_rank, size = _local_of(environ, environ["RANK"])
        return Detection("a launcher", ("RANK", "WORLD_SIZE"), {"LOCAL_RANK": local_rank} if local_rank else {}, size)
    return _translated(environ, names) if names else _pod(environ)


def rank_text(environ: Mapping[str, str]) -> str:
    """The rank of this process as RANK, a scheduler or an MPI launcher gives it; empty if none does."""
    names = _scheduler(environ)
    return environ.get("RANK", "") or (environ[names.rank] if names else "")


def unplaced(environ: Mapping[str, str]) -> str:
    """A line for a process that plays all ranks although the environment names several; empty otherwise."""
    for name, other in (("WORLD_SIZE", "RANK"), ("RANK", "WORLD_SIZE"), ("JOB_COMPLETION_INDEX", "WORLD_SIZE")):
        several = count(environ, name) > 1 if name == "WORLD_SIZE" else bool(environ.get(name))
        if several and not environ.get(other) and not environ.get("LOCAL_RANK"):
            return f"{name} is {environ[name]} and {other} is not set: this process plays all ranks"
    if count(environ, "SLURM_NTASKS") > 1 and not in_step(environ):
        return f"SLURM_NTASKS is {environ['SLURM_NTASKS']} and srun has not started this process: it plays all ranks"
    for name in _WITHOUT_SIZE:
        if count(environ, name):  # rank 0 may be alone
            return f"{name} is {environ[name]} and no variable says the number of ranks: this process plays all ranks"
    return ""


def is_started_by_machine(environ: Mapping[str, str]) -> bool:
    """True if a scheduler or MPI launcher has started this process, alone or as one of several.

    Its terminal, if it has one, is then a pty whose output goes to a log.
    """
    return in_step(environ) or any(environ.get(names.rank) for names in _LAUNCHERS)


# --- Slurm and MPI ------------------------------------------------------------------------------


def _scheduler(environ: Mapping[str, str]) -> _Names | None:
    for names in _LAUNCHERS:
        if environ.get(names.rank) and count(environ, names.size) > 1:
            # srun --mpi=pmi2 also sets PMI_RANK; Slurm's own variables say more.
            same = environ.get(names.rank) == environ.get(_SLURM.rank) and not environ.get(names.local_rank)
            return _SLURM if same and in_step(environ) else names
    return _SLURM if num_tasks(environ) > 1 and environ.get(_SLURM.rank) and in_step(environ) else None


def _translated(environ: Mapping[str, str], names: _Names) -> Detection:
    rank = environ[names.rank]
    size = environ.get("SLURM_STEP_NUM_TASKS", "") if names is _SLURM else ""
    found = {"RANK": rank, "WORLD_SIZE": size or environ[names.size]}
    local_rank, local_size = _local_of(environ, rank)
    found |= {"LOCAL_RANK": local_rank} if local_rank else {}
    if not environ.get("MASTER_ADDR"):
        on_one_host = str(local_size) == found["WORLD_SIZE"]
        address = LOOPBACK if on_one_host else host_of_rank_0(environ)
        found |= {"MASTER_ADDR": address} if address else {}
    if not environ.get("MASTER_PORT"):
        found["MASTER_PORT"] = str(_meeting_port(environ, names))
    return Detection(names.launcher, (names.rank, names.size), found, local_size)


def _local_of(environ: Mapping[str, str], rank: str) -> tuple[str, int]:
    """Local rank and number of ranks on this node, as far as they are known; empty and 0 otherwise."""
    local_rank = environ.get("LOCAL_RANK", "")
    local_size = environ.get("LOCAL_WORLD_SIZE", "") or environ.get("LOCAL_SIZE", "")  # DeepSpeed's
    for names in _LAUNCHERS:
        if environ.get(names.rank) == rank:
            local_rank = local_rank or environ.get(names.local_rank, "")
            local_size = local_size or environ.get(names.local_size, "")
    if environ.get(_SLURM.rank) == rank and in_step(environ):
        local_rank = local_rank or environ.get(_SLURM.local_rank, "")
        local_size = local_size or tasks_per_node(environ)
    if environ.get("FLUX_TASK_RANK") == rank and environ.get("FLUX_JOB_NNODES") == "1":
        local_size = local_size or environ.get("FLUX_JOB_SIZE", "")
    return local_rank, int(local_size) if local_size.isdecimal() else 0


def _meeting_port(environ: Mapping[str, str], names: _Names) -> int:
    """A port that all ranks of a job derive, other jobs another one: of Slurm's job id, as Lightning does."""
    job = environ.get(names.job) or environ.get("SLURM_JOB_ID") or environ.get("SLURM_JOBID", "")
    step = environ.get("SLURM_STEP_ID", "")
    if names is _SLURM and job.isdecimal():
        return _FIRST_SLURM_PORT + (int(job) + 101 * (int(step) if step.isdecimal() else 0)) % 10000
    if job:
        from binascii import crc32

        return _FIRST_SLURM_PORT + crc32(job.encode()) % 10000
    return MASTER_PORT  # as Accelerate's


# --- Kubernetes ---------------------------------------------------------------------------------


def _pod(environ: Mapping[str, str]) -> Detection | None:
    """The rank of a pod that runs one process: PET_NODE_RANK, or JOB_COMPLETION_INDEX with WORLD_SIZE."""
    if environ.get("LOCAL_RANK"):
        return None
    if count(environ, "PET_NNODES") > 1 or ":" in environ.get("PET_NNODES", ""):
        _refuse_pods_of_several(environ)
        if environ.get("PET_NODE_RANK") and ":" not in environ["PET_NNODES"]:
            pod = {"RANK": environ["PET_NODE_RANK"], "WORLD_SIZE": environ["PET_NNODES"]}
            masters = {name: environ.get(f"PET_{name}", "") for name in ("MASTER_ADDR", "MASTER_PORT")}
            given = {name: value for name, value in masters.items() if value and not environ.get(name)}
            return Detection("a pod", ("PET_NODE_RANK", "PET_NNODES"), pod | given)
        reason = "is set for torchrun, which would say the rank of this process"
        raise wrong("PET_NNODES", environ["PET_NNODES"], reason, _WITH_A_LAUNCHER)
    if count(environ, "WORLD_SIZE") > 1 and environ.get("JOB_COMPLETION_INDEX"):
        names = ("JOB_COMPLETION_INDEX", "WORLD_SIZE")
        return Detection("an indexed job", names, {"RANK": environ["JOB_COMPLETION_INDEX"]})
    return None


def _refuse_pods_of_several(environ: Mapping[str, str]) -> None:
    """Raise ConfigError if each pod is to start several ranks, or an unknown number, and this is one process."""
    each = environ.get("PET_NPROC_PER_NODE", "")
    if each not in ("", "1"):
        reason = "asks for that many ranks in each pod, and this process is one"
        raise wrong("PET_NPROC_PER_NODE", each, reason, _WITH_A_LAUNCHER)


def apply(detection: Detection | None) -> None:
    """Give this process torchrun's variables, which fake_torch_dist reads."""
    if detection:
        os.environ.update(detection.variables)
