"""Kinds of fault of the storage: disk, corrupt.

Rank 0 writes the files of a run, so an error of the storage is raised in rank 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate_sim.faults.consequences import Death, Ending, FaultLine, RaiseEnd, Truth
from accelerate_sim.faults.fault import Value
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.spans import EVER, NOTHING, FaultSpan
from accelerate_sim.faults.words import kernel, storage
from accelerate_sim.faults.words.draw import Draw

NOTICED_S = 1.0
"""Seconds from the end of one rank until the launcher has ended the others."""
WRITER = 0
"""The rank that writes the files."""
MID_FILE = ("full", "quota", "io")
"""Errors that come while a file is written; the others come when it is opened."""
FILE_SERVER = "10.0.128.4"


def _ends(strike: Occurrence) -> Ending | None:
    action = str(strike.fault["action"])
    if action == "slow":
        return None
    if action == "full" and strike.fault["writer"] == "torch":
        name, _, text = storage.save_on_full_disk(Draw(strike.seed)).partition(": ")
    else:
        # ``write`` names no path in its error, ``open`` does; a disk fills and fails while a file is written.
        path = None if action in MID_FILE else f"checkpoint-{strike.step - 1}/{strike.fault['path']}"
        error = storage.system_error(action, path)
        name, text = type(error).__name__, str(error)
    return Ending((Death(WRITER, RaiseEnd(name, text)),), NOTICED_S)


def _saving(strike: Occurrence) -> float:
    factor = strike.fault["factor"]
    assert isinstance(factor, float)
    return factor if strike.fault["action"] == "slow" else 1.0


def _slow_length(params: Mapping[str, Value]) -> FaultSpan | None:
    return EVER if params["action"] == "slow" else None


def _kernel_lines(strike: Occurrence) -> Iterator[FaultLine]:
    match strike.fault["action"]:
        case "stale":
            timed = kernel.nfs_stops(FILE_SERVER)
        case "readonly":
            timed = kernel.ext4_read_only("md0")
        case "io":
            timed = kernel.nvme_timeout(4, Draw(strike.seed, "nvme"))
        case _:
            timed = []
    for line in timed:
        yield FaultLine(line.text, WRITER, "kernel", line.after_s)


def _disk_check(params: Mapping[str, Value]) -> str | None:
    if params["writer"] == "torch" and params["action"] != "full":
        return f"writer=torch has words for action=full, not for action={params['action']}"
    if params["factor"] != DISK_KEYS["factor"].default and params["action"] != "slow":
        return f"factor says how slow a disk is, and action is {params['action']}"
    return None


def _disk_expected(strike: Occurrence) -> Mapping[str, Any]:
    if strike.fault["action"] == "slow":
        return {"metrics": [{"name": "checkpoint.seconds", "op": "rises_by", "value": _saving(strike)}]}
    return {}


def _leave_part(strike: Occurrence, directory: Path, checkpoint: Path | None) -> None:
    """Leave the part of the checkpoint that was written before a disk was full or failed."""
    from accelerate_sim.faults.partial_checkpoint import leave_part

    if checkpoint and strike.fault["action"] in MID_FILE and strike.phase == "checkpoint":
        leave_part(checkpoint, f"checkpoint-{strike.step - 1}", str(strike.fault["path"]))


def _damages(strike: Occurrence) -> tuple[str]:
    return ("checkpoint",)


def _damage(strike: Occurrence, directory: Path, checkpoint: Path | None) -> None:
    """Damage a file of the newest checkpoint."""
    from accelerate_sim.faults.damaged_checkpoint import damage

    if checkpoint:
        damage(checkpoint, str(strike.fault["how"]), str(strike.fault["file"]))


DISK_KEYS = {
    "action": Key("word", "full", "full, quota, io, readonly, stale or permission: an error; slow: checkpoints take "
                  "longer.", ("full", "quota", "io", "readonly", "stale", "permission", "slow")),
    "path": Key("text", "model.safetensors", "File of the checkpoint whose writing fails."),
    "writer": Key("word", "plain", "Words of the error of a full disk: Python's, or those of torch.save.",
                  ("plain", "torch")),
    "factor": Key("float", 5.0, "Time of a checkpoint on a slow disk over the usual.", least=1.0, most=1000.0),
}  # fmt: skip

KINDS = (
    FaultKind(
        name="disk", help="the storage fails as a checkpoint is written: an error ends the writer; or it is only slow",
        targets=("storage",),
        target="storage=checkpoint",
        keys=DISK_KEYS, phase="checkpoint", lasts=NOTHING, lasts_by=_slow_length, check=_disk_check,
        ends=_ends, saving=_saving, on_disk=_leave_part, lines=_kernel_lines, truth=Truth("storage"),
        expect=_disk_expected,
    ),
    FaultKind(
        name="corrupt", help="a file of the newest checkpoint is damaged, which shows only when it is read",
        targets=("storage",),
        target="storage=checkpoint",
        keys={
            "how": Key("word", "truncate", "Half of it is missing, its first bytes, one byte, all bytes, or the file.",
                       ("truncate", "header", "flip", "zero", "missing")),
            "file": Key("text", "*.safetensors", "Pattern of file names; the first that fits is damaged."),
        },
        damages=_damages, on_disk=_damage, truth=Truth("storage", transient=False, action="none", quiet=True),
    ),
)  # fmt: skip
