"""Properties of ``Accelerator`` that say which rank this process is, how many there are, and on what devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate_sim.own_script.device import Device
from accelerate_sim.own_script.process_control import ProcessControl
from accelerate_sim.state import AcceleratorState

if TYPE_CHECKING:
    from accelerate_sim.utils.dataclasses import DistributedType


class ProcessProperties(ProcessControl):
    """The part of ``Accelerator`` that shows its state."""

    state: AcceleratorState

    @property
    def num_processes(self) -> int:
        return self.state.num_processes

    @property
    def process_index(self) -> int:
        return self.state.process_index

    @property
    def local_process_index(self) -> int:
        return self.state.local_process_index

    @property
    def plays_all_ranks(self) -> bool:
        return self.state.plays_all_ranks

    @property
    def device(self) -> Device:
        return self.state.device

    @property
    def distributed_type(self) -> DistributedType:
        return self.state.distributed_type

    @property
    def mixed_precision(self) -> str:
        return self.state.mixed_precision

    @property
    def multi_device(self) -> bool:
        return self.distributed_type == "MULTI_GPU"

    def note_split(self, length: int | None) -> None:
        self.state.note_split(length)
