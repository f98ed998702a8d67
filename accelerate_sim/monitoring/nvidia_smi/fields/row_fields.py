"""Fields of the queries whose rows are processes, pages, rows or clocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from accelerate_sim.monitoring.nvidia_smi.fields.errors import ERRORS
from accelerate_sim.monitoring.nvidia_smi.fields.field import Fields, fixed, of_gpu, unavailable
from accelerate_sim.monitoring.nvidia_smi.fields.gpu_fields import GPU_FIELDS
from accelerate_sim.monitoring.nvidia_smi.reading import Gpu

_OF_THE_BOARD: Fields = {
    "timestamp": GPU_FIELDS["timestamp"],
    "gpu_name": of_gpu(lambda gpu: gpu.name, "", "name"),
    "gpu_bus_id": of_gpu(lambda gpu: gpu.bus_id, "", "pci.bus_id"),
    "gpu_serial": GPU_FIELDS["serial"],
    "gpu_uuid": of_gpu(lambda gpu: gpu.uuid, "", "uuid"),
}
_OF_A_PROCESS: Fields = {**_OF_THE_BOARD, "gpu_name": of_gpu(lambda gpu: gpu.name)}

COMPUTE_APPS: Fields = {
    **_OF_A_PROCESS,
    "pid": of_gpu(lambda gpu: gpu.pid),
    "process_name": of_gpu(lambda gpu: gpu.command, "", "name"),
    "used_gpu_memory": of_gpu(lambda gpu: gpu.process_mib, "MiB", "used_memory"),
}
ACCOUNTED_APPS: Fields = {
    **_OF_A_PROCESS,
    "vgpu_instance": unavailable(),
    "pid": of_gpu(lambda gpu: gpu.pid),
    "gpu_utilization": fixed(0, "%", "gpu_util"),
    "mem_utilization": fixed(0, "%", "mem_util"),
    "max_memory_usage": fixed(0, "MiB"),
    "time": fixed(0, "ms"),
}
RETIRED_PAGES: Fields = {
    **_OF_THE_BOARD,
    "retired_pages.address": unavailable(),
    "retired_pages.timestamp": unavailable(),
    "retired_pages.cause": unavailable(),
}
CAUSES = ("Single Bit ECC", "Double Bit ECC")
"""Each board without page retirement has a row for each cause."""
REMAPPED_ROWS: Fields = {
    **_OF_THE_BOARD,
    **{name: field for name, field in ERRORS.items() if name.startswith("remapped_rows.")},
}
SUPPORTED_CLOCKS: Fields = {
    **_OF_THE_BOARD,
    "memory": of_gpu(lambda gpu: gpu.board.memory_clock_mhz, "MHz", "mem"),
    "graphics": of_gpu(lambda gpu: gpu.max_clock_mhz, "MHz", "gr"),
}


class RowTable(NamedTuple):
    """The fields of one query, and the GPUs that have rows in it."""

    fields: Fields
    has_rows: str = "always"
    """``always``, ``process`` for GPUs with a process, ``never`` for what is switched off, ``pages``."""

    def rows_of(self, gpu: Gpu) -> tuple[str, ...]:
        """A cause for each row of a GPU; empty where the rows have none."""
        if self.has_rows == "process":
            return ("",) if gpu.has_process else ()
        if self.has_rows == "pages":
            return CAUSES if gpu.board.architecture != "Volta" else ()
        return ("",) if self.has_rows == "always" else ()


TABLES: Mapping[str, RowTable] = {
    "gpu": RowTable(GPU_FIELDS),
    "compute-apps": RowTable(COMPUTE_APPS, "process"),
    "accounted-apps": RowTable(ACCOUNTED_APPS, "never"),
    "retired-pages": RowTable(RETIRED_PAGES, "pages"),
    "remapped-rows": RowTable(REMAPPED_ROWS),
    "supported-clocks": RowTable(SUPPORTED_CLOCKS),
}
"""The tables by the end of their option, ``--query-gpu`` and so on."""
