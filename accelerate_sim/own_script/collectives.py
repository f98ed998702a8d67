"""Methods of ``Accelerator`` by which ranks exchange a user's own tensors, objects and triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accelerate_sim.own_script.gradient_state import GradientState
from accelerate_sim.records import UnknownLengthRecord

if TYPE_CHECKING:
    from accelerate_sim.state import AcceleratorState


class ScriptCollectives:
    """The part of ``Accelerator`` that gathers."""

    gradient_state: GradientState
    state: AcceleratorState
    _triggered = False

    def gather(self, tensor: Any) -> Any:
        """Tensors of all ranks one after the other, on every rank; also in nested lists, tuples and dicts."""
        from accelerate_sim.own_script import gathering

        return gathering.gather(tensor)

    def gather_for_metrics(self, input_data: Any, use_gather_object: bool = False) -> Any:
        """As ``gather``, or ``gather_object`` where something is no tensor, without repetitions in the last batch."""
        from accelerate_sim.own_script import gathering
        from accelerate_sim.own_script.nested_tensors import recursively_apply

        if not use_gather_object:
            try:
                recursively_apply(lambda each: each, input_data, error_on_other_type=True)
            except TypeError:
                use_gather_object = True
        data = gathering.gather_object(input_data) if use_gather_object else gathering.gather(input_data)
        remainder = self.gradient_state.remainder
        if not self.gradient_state.end_of_dataloader or remainder == 0:
            return data
        if remainder < 0:
            self.state.session.report(UnknownLengthRecord())
            return data
        if use_gather_object:
            return data[:remainder]
        return recursively_apply(lambda tensor: tensor[:remainder], data)

    def pad_across_processes(self, tensor: Any, dim: int = 0, pad_index: float = 0, pad_first: bool = False) -> Any:
        """Tensors as long along ``dim`` as the longest one of any rank."""
        from accelerate_sim.own_script import gathering

        return gathering.pad_across_processes(tensor, dim=dim, pad_index=pad_index, pad_first=pad_first)

    def set_trigger(self) -> None:
        """Raise a flag that ``check_trigger`` finds on every rank."""
        self._triggered = True

    def check_trigger(self) -> bool:
        """True on all ranks if the flag is raised on one of them; it is lowered then."""
        from accelerate_sim.own_script import gathering

        triggered = bool(gathering.gather(np.array([self._triggered], np.int64)).any())
        if triggered:
            self._triggered = False
        return triggered
