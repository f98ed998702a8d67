"""Names of backends: ``Backend``, ``BackendConfig``, ``get_backend`` and the ``is_..._available`` functions.

"gloo" and "nccl" are the same transport here; there are no devices.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Final, NewType, NoReturn, TypeAlias

from fake_torch_dist import errors
from fake_torch_dist.api.registry import find_group
from fake_torch_dist.core.argument_kinds import text, whole_number, wrong_kind
from fake_torch_dist.core.process_group import ProcessGroup
from fake_torch_dist.core.reduce_op import ReduceOp
from fake_torch_dist.launcher.environment_names import RUN_ID

_DEVICES_OF: Final = {"gloo": ("cpu", "cuda"), "nccl": ("cuda",), "virtual": ("cpu",), "fake": ("cpu", "cuda")}

RankType: TypeAlias = int
"""torch's name for what a rank may be; there it may be symbolic, too."""

GroupName = NewType("GroupName", str)
"""torch's type of ``ProcessGroup.group_name``."""


class Backend(str):
    """A backend's name, in small letters; ``Backend.NCCL`` and the others are plain strings, as torch's."""

    UNDEFINED: ClassVar[str] = "undefined"
    GLOO: ClassVar[str] = "gloo"
    NCCL: ClassVar[str] = "nccl"
    UCC: ClassVar[str] = "ucc"
    MPI: ClassVar[str] = "mpi"
    XCCL: ClassVar[str] = "xccl"
    FAKE: ClassVar[str] = "fake"

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError(errors.BACKEND_NOT_A_STRING)
        return super().__new__(cls, name.lower())

    @classmethod
    def register_backend(cls, name: str, *_: object, **__: object) -> NoReturn:
        """Raise NotImplementedError: there is no way for another backend to move arrays here."""
        raise NotImplementedError(errors.NO_OTHER_BACKENDS.format(name=name))


class BackendConfig:
    """Which backend serves which device: of ``"gloo"``, ``"cpu:gloo,cuda:nccl"`` or ``Backend.UNDEFINED``.

    Errors: ValueError, torch's, for a malformed pair and for a device that is named twice.
    """

    def __init__(self, backend: str) -> None:
        self.device_backend_map: dict[str, Backend] = {}
        name = str(backend).lower()
        if name == Backend.UNDEFINED:
            self.device_backend_map["cpu"] = Backend(Backend.GLOO)
        elif ":" in name:
            for pair in name.split(","):
                self._add(pair, backend)
        else:
            self.device_backend_map = dict.fromkeys(_DEVICES_OF.get(name, ("cpu", "cuda")), Backend(name))

    def _add(self, pair: str, whole: str) -> None:
        parts = pair.split(":")
        if len(parts) != 2:
            raise ValueError(f"Invalid device:backend pairing: {pair}. {errors.BACKEND_STRING.format(backend=whole)}")
        device, name = parts
        if device in self.device_backend_map:
            text = errors.BACKEND_STRING.format(backend=whole)
            raise ValueError(f"Duplicate device type {device} in backend string: {whole}. {text}")
        self.device_backend_map[device] = Backend(name)

    def __repr__(self) -> str:
        return ",".join(f"{device}:{backend}" for device, backend in self.device_backend_map.items())

    def get_device_backend_map(self) -> dict[str, Backend]:
        """Backends by device."""
        return self.device_backend_map


def get_backend(group: ProcessGroup | None = None) -> Backend:
    """Name of the backend, in small letters, as it was given."""
    return Backend(find_group(group).backend)


def get_backend_config(group: ProcessGroup | None = None) -> str:
    """Which backend serves which device, as ``cpu:gloo,cuda:gloo``."""
    backend = find_group(group).backend
    if ":" in backend:
        return backend
    if backend == Backend.UNDEFINED:
        return "cpu:gloo,cuda:nccl"
    return ",".join(f"{device}:{backend}" for device in _DEVICES_OF[backend])


def get_default_backend_for_device(device: Any) -> str:
    """``gloo`` for cpu, ``nccl`` for cuda; ValueError for any other device."""
    kind = str(getattr(device, "type", device)).partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"Default backend not registered for device : {device}")
    return Backend.GLOO if kind == "cpu" else Backend.NCCL


def is_backend_available(backend: str) -> bool:
    """True if ``init_process_group`` accepts the name."""
    return text("backend", backend).lower() in _DEVICES_OF


def is_gloo_available() -> bool:
    """True."""
    return True


def is_nccl_available() -> bool:
    """True: "nccl" is a name for the transport that is there."""
    return True


def is_mpi_available() -> bool:
    """False."""
    return False


def is_ucc_available() -> bool:
    """False."""
    return False


def is_xccl_available() -> bool:
    """False."""
    return False


def supports_complex(reduceOp: ReduceOp) -> bool:
    """True if torch reduces complex tensors with this operation."""
    if not isinstance(reduceOp, ReduceOp):
        raise wrong_kind("reduceOp", "ReduceOp, such as ReduceOp.SUM", reduceOp)
    return reduceOp.name not in ("MAX", "MIN", "PRODUCT", "BAND", "BOR", "BXOR")


def is_torchelastic_launched() -> bool:
    """True if a launcher like torchrun started this process."""
    return os.environ.get(RUN_ID) is not None


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """LOCAL_RANK, or ``fallback_rank``; RuntimeError without both."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is not None:
        return whole_number("fallback_rank", fallback_rank)
    raise RuntimeError(errors.NO_LOCAL_RANK)
