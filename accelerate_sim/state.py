"""``PartialState``: rank, size and run of this process, as in Accelerate. It reads them from the current session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from accelerate_sim.own_script.device import Device
from accelerate_sim.own_script.process_control import ProcessControl
from accelerate_sim.session.session import Session

if TYPE_CHECKING:
    from accelerate_sim.config.schema import RunConfig
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.sim.layout import Ranks
    from accelerate_sim.sim.run import Run
    from accelerate_sim.utils.dataclasses import DistributedType

NOT_INITIALIZED = (
    "You must initialize the accelerate state by calling either `PartialState()` or `Accelerator()` before using this."
)


class PartialState(ProcessControl):
    """The state of the current session. All instances read the same one; ``Accelerator`` begins the run in it.

    A script that asks for its rank before it makes an ``Accelerator`` begins a run by that.
    """

    _shared_state: ClassVar[dict[str, Any]] = {}
    """Values that a script has set: cpu, precision and the length of a split."""

    cpu: bool
    """True if devices are called cpu."""
    split_length: int | None
    """Entries that ``split_between_processes`` has last been given; None before, and for arrays."""

    def __init__(self, cpu: bool = False, **kwargs: Any) -> None:
        self.__dict__ = self._shared_state
        self._shared_state["cpu"] = cpu or self._shared_state.get("cpu", False)
        self._shared_state.setdefault("split_length", None)

    @property
    def session(self) -> Session:
        """The current session."""
        return Session.current()

    @property
    def initialized(self) -> bool:
        """True while a run is active."""
        return self.session.active is not None

    @property
    def active(self) -> ActiveRun:
        """The active run. Raises the error that Accelerate raises if there is none."""
        if self.session.active is None:
            raise RuntimeError(NOT_INITIALIZED)
        return self.session.active

    @property
    def run(self) -> Run:
        """The simulated run."""
        return self.active.run

    @property
    def own_script(self) -> bool:
        """True if no config of the run was handed in."""
        active = self.session.active
        return active is not None and active.own_script

    @classmethod
    def entered(cls) -> Self:
        """The state of a process whose run is active; in a script without an ``Accelerator`` the run begins now."""
        state = cls()
        if not state.initialized:
            from accelerate_sim.session.script_run import begin_script_run

            begin_script_run(state.session, "no", 1)
        return state

    @classmethod
    def planned_config(cls) -> RunConfig | None:
        """The config of the run that is under way, None without one or in a user's own script."""
        state = cls()
        return state.run.config if state.initialized and not state.own_script else None

    def end(self) -> None:
        """End the run and leave its process group; the state is as before the run."""
        from accelerate_sim.session.begin_run import end_run
        from fake_torch_dist import LocalTensor

        end_run(self.session)
        LocalTensor.act_as_rank(None)
        self._shared_state.clear()

    destroy_process_group = end

    @property
    def ranks(self) -> Ranks:
        """The ranks that this process runs."""
        import numpy as np

        placement = self.session.placement
        return np.array(placement.ranks) if placement else np.arange(self.run.layout.world_size)

    @property
    def num_played(self) -> int:
        """Ranks that this process plays."""
        placement = self.entered().session.placement
        return placement.num_played if placement else self.num_processes

    @property
    def plays_all_ranks(self) -> bool:
        """True without a launcher."""
        return self.entered().session.placement is None

    @property
    def num_processes(self) -> int:
        """Ranks of the run."""
        return self.entered().run.layout.world_size

    @property
    def process_index(self) -> int:
        """The rank that this process plays, 0 if it plays all."""
        placement = self.entered().session.placement
        return placement.rank if placement else 0

    @property
    def local_process_index(self) -> int:
        """The rank's number in its machine, 0 in a process that plays all ranks."""
        placement = self.entered().session.placement
        return placement.local_rank if placement else 0

    @property
    def device(self) -> Device:
        """The rank's GPU; of a process that plays all ranks, the first one's."""
        if self.cpu:
            return Device("cpu", 0 if self.use_distributed else None)
        return Device("cuda", self.local_process_index)

    default_device = device

    @property
    def distributed_type(self) -> DistributedType:
        """Kind of the environment, by its devices."""
        from accelerate_sim.utils.dataclasses import DistributedType

        if not self.use_distributed:
            return DistributedType.NO
        return DistributedType.MULTI_CPU if self.cpu else DistributedType.MULTI_GPU

    @property
    def backend(self) -> str | None:
        """Backend whose place the simulated one takes, None with one rank."""
        return ("gloo" if self.cpu else "nccl") if self.use_distributed else None

    @property
    def debug(self) -> bool:
        """False: shapes are always checked before a collective."""
        return False

    def set_device(self) -> None:
        """Use the rank's device, which is the only one it has."""

    def wait_for_everyone(self) -> None:
        """Block until all ranks are here."""
        import fake_torch_dist as dist

        with self.entered().session.signals.at_once():
            dist.barrier()

    def holds_all_results(self, entries: object) -> bool:
        """True for a list with one entry for each entry that was split: a process of all ranks has made them all."""
        return isinstance(entries, list) and len(entries) == self.split_length

    def note_split(self, length: int | None) -> None:
        """Store how many entries were split among the ranks."""
        self.split_length = length

    def __repr__(self) -> str:
        backend = f"  Backend: {self.backend}" if self.backend else ""
        return (
            f"Distributed environment: {self.distributed_type!s}{backend}\nNum processes: {self.num_processes}\n"
            f"Process index: {self.process_index}\nLocal process index: {self.local_process_index}\n"
            f"Device: {self.device}\n"
        )


class AcceleratorState(PartialState):
    """The same state, with the precision that the script has asked for."""

    @property
    def mixed_precision(self) -> str:
        """Number format of the forward pass: no, bf16, fp16 or fp8."""
        return str(self._shared_state.get("precision", "no"))

    def set_precision(self, precision: str) -> None:
        """Keep the precision of the run that has begun."""
        self._shared_state["precision"] = precision

    def refuse_other_precision(self, precision: str) -> None:
        """Raise ValueError if the run that is under way has another precision, as Accelerate does."""
        if self.initialized and "precision" in self._shared_state and precision != self.mixed_precision:
            raise ValueError(
                "AcceleratorState has already been initialized and cannot be changed, restart your runtime completely "
                f"and pass `mixed_precision='{precision}'` to `Accelerator()`."
            )

    def __repr__(self) -> str:
        return f"{super().__repr__()}\nMixed precision type: {self.mixed_precision}\n"


def set_seed(seed: int, device_specific: bool = False, deterministic: bool = False) -> int:
    """Seed Python's and numpy's generators; ``device_specific`` adds the rank. Returns the seed that they have.

    ValueError in a run whose config names another seed. A script's own run is the same whatever its seed.
    """
    state = PartialState()
    if state.initialized and not state.own_script:
        planned = state.run.config.run.seed
        if seed != planned:
            raise ValueError(f"the run is planned with seed {planned}, not {seed}: run.seed in the config says which")
        return seed
    import random

    import numpy as np

    seed += state.process_index if device_specific else 0
    random.seed(seed)
    np.random.seed(seed % 2**32)
    return seed
