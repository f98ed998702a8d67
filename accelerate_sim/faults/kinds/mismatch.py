"""The kind of fault of versions: a machine whose NCCL, driver, Python or mounts are not those of the others.

Everything that states a version agrees on it: NCCL's lines, nvidia-smi, the exporter's labels, and the exceptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from accelerate_sim.catalog.gpus import DRIVERS, HOPPER_DRIVER, Driver
from accelerate_sim.faults.consequences import Death, Ending, FaultLine, RaiseEnd, Truth
from accelerate_sim.faults.fault import Value
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.kinds.link_lines import nccl_process_of
from accelerate_sim.faults.kinds.xid_strike import gpu_labels, metric
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import MOST_LOGGING_RANKS, NOTICED_S, of_rank, torch_of
from accelerate_sim.faults.words import cuda, kernel, nccl, nccl_error
from accelerate_sim.faults.words.torch_release import release
from accelerate_sim.gpu_condition import Condition

RELEASES = ("2.18.6", "2.19.3", "2.20.5", "2.21.5", "2.22.3", "2.23.4", "2.24.3", "2.25.1", "2.26.5", "2.27.7",
            "2.28.9", "2.29.7", "2.30.7")  # fmt: skip
"""Releases of NCCL, one of each minor version."""
TOO_OLD = {12: Driver(version="520.61.05", cuda="11.8"), 13: DRIVERS[570]}
"""A driver that is too old for programs of each major version of CUDA."""
PHASES = {"nccl": "nccl", "mount": "load"}
"""The phase of the start at which a part is missed, where it is not the first one."""


def phase_of(keys: Mapping[str, Value]) -> str:
    """The phase at which a rank meets the part that differs."""
    return PHASES.get(str(keys["what"]), "launch")


# --- The versions -------------------------------------------------------------------------------


def other_nccl(version: str) -> str:
    """The release of NCCL before that of the job, or the one after it if none is known before."""
    mine = release(version)
    earlier = [each for each in RELEASES if release(each) < mine]
    return earlier[-1] if earlier else next(each for each in RELEASES if release(each) > mine)


def driver_of_job(strike: Occurrence) -> Driver:
    """The driver of the machines that are right."""
    board = strike.run.gpu.board
    return board.driver if board else HOPPER_DRIVER


def old_driver(driver: Driver) -> Driver:
    """A driver on which programs that were built for the CUDA of ``driver`` do not start."""
    return TOO_OLD.get(int(driver.cuda.partition(".")[0]), TOO_OLD[12])


def other_library(driver: Driver) -> Driver:
    """A driver whose library has been installed without its kernel module: the next one, or the one before the last."""
    branches = sorted(DRIVERS)
    later = [branch for branch in branches if branch > driver.major]
    return DRIVERS[later[0] if later else branches[-2]]


def changed(strike: Occurrence, rank: int, now: Condition, after_s: float) -> Condition:
    """The condition of a GPU whose machine has another driver; what else differs is not the GPU's."""
    match strike.fault["what"]:
        case "driver":
            old = old_driver(driver_of_job(strike))
            return now._replace(driver=old.version, cuda=old.cuda)
        case "library":
            return now._replace(library=other_library(driver_of_job(strike)).version)
    return now


# --- The ends of the ranks ----------------------------------------------------------------------


def ending(strike: Occurrence) -> Ending | None:
    """The ranks of the machine fail; those of all machines see that NCCLs differ. None if they all have the same."""
    ranks = range(strike.run.layout.world_size) if strike.fault["what"] == "nccl" else strike.hit.ranks
    if strike.fault["what"] == "nccl" and len(strike.hit.ranks) == len(ranks):
        return None
    return Ending(tuple(Death(rank, _error(strike, rank)) for rank in ranks), NOTICED_S)


def _error(strike: Occurrence, rank: int) -> RaiseEnd:
    match strike.fault["what"]:
        case "nccl":
            version = nccl_of(strike, rank)
            whole = nccl_error.backend_error(
                nccl_error.USAGE, _nccl_text(strike, rank), torch=torch_of(strike), nccl=version
            )
        case "driver":
            whole = cuda.exception(cuda.OLD_DRIVER, torch_of(strike)).rstrip("\n")
        case "library":
            whole = cuda.exception(cuda.DRIVER_MISMATCH, torch_of(strike)).rstrip("\n")
        case "python":
            whole = "ModuleNotFoundError: No module named 'torch'"
        case _:
            whole = "FileNotFoundError: [Errno 2] No such file or directory: '/mnt/data/tokens'"
    name, _, text = whole.partition(": ")
    return RaiseEnd(name, text)


def nccl_of(strike: Occurrence, rank: int) -> str:
    """The version of NCCL of a rank."""
    version = strike.run.config.cluster.nccl_version
    return other_nccl(version) if rank in strike.hit.ranks and strike.fault["what"] == "nccl" else version


def _other(strike: Occurrence, rank: int) -> int:
    """The first rank whose NCCL is not that of a rank."""
    is_hit = rank in strike.hit.ranks
    ranks = range(strike.run.layout.world_size)
    return next(each for each in ranks if (each in strike.hit.ranks) != is_hit)


def _versions(strike: Occurrence, rank: int) -> tuple[int, int, int, int]:
    """The other rank and its version as NCCL numbers it, then the rank and its own."""
    other = _other(strike, rank)
    return other, _code(nccl_of(strike, other)), rank, _code(nccl_of(strike, rank))


def _nccl_text(strike: Occurrence, rank: int) -> str:
    return nccl.mismatch_text(*_versions(strike, rank))


def _code(version: str) -> int:
    """The version as NCCL numbers it: 22707 for 2.27.7."""
    major, minor, patch = [*(int(part) for part in re.findall(r"\d+", version)[:3]), 0, 0][:3]
    return major * 10_000 + minor * 100 + patch


# --- The lines ----------------------------------------------------------------------------------


def lines(strike: Occurrence) -> Iterator[FaultLine]:
    """NCCL's warning in each process, or the kernel's lines about a library of another version."""
    if strike.fault["what"] == "nccl" and strike.ending and strike.fault["debug"] == "WARN":
        for rank in range(strike.run.layout.world_size)[:MOST_LOGGING_RANKS]:
            said = nccl.version_mismatch(nccl_process_of(strike, rank), *_versions(strike, rank))
            yield from of_rank(rank, said, rf" NCCL WARN Mismatched NCCL version detected : rank \d+ .* rank {rank} ")
    if strike.fault["what"] == "library":
        mine, library = driver_of_job(strike).version, other_library(driver_of_job(strike)).version
        per_node = strike.run.layout.gpus_per_node
        for rank in strike.hit.ranks:
            said = kernel.api_mismatch(library, mine)
            sign = rf"NVRM: API mismatch: the client has the version {library}, but" if rank % per_node == 0 else ""
            yield from of_rank(rank, said, *[sign] * bool(sign))


def expect(strike: Occurrence) -> Mapping[str, Any]:
    """The exporter's label of another driver; it has no samples where the driver refuses it."""
    found, hit = [], strike.hit.ranks[:MOST_LOGGING_RANKS]
    if strike.fault["what"] == "driver":
        label = {"DCGM_FI_DRIVER_VERSION": old_driver(driver_of_job(strike)).version}
        found = [metric("DCGM_FI_DEV_XID_ERRORS", gpu_labels(strike, rank) | label, "==", 0) for rank in hit]
    if strike.fault["what"] == "library":
        found = [metric("DCGM_FI_DEV_GPU_TEMP", gpu_labels(strike, rank), "absent") for rank in hit]
    return {"metrics": found}


KINDS = (
    FaultKind(
        name="mismatch",
        help="a machine has another NCCL, an old driver, a library of another driver, no torch, or lacks a mount: "
             "its ranks fail at start",
        targets=("node",),
        target="node=any",
        keys={
            "what": Key("word", "nccl", "The part that differs.", ("nccl", "driver", "library", "python", "mount")),
            "debug": Key("word", "WARN", "NCCL_DEBUG of the job; with NONE NCCL's warnings are not printed.",
                         ("WARN", "NONE")),
        },
        phase="nccl", phase_by=phase_of, ends=ending, lines=lines, telemetry=changed, is_there_before=True,
        nccl=nccl_of, truth=Truth("software", transient=False, action="replace_node"), expect=expect,
    ),
)  # fmt: skip
