"""Who am I: the state that all parts of a training script share, as Accelerate's ``PartialState`` is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from accelerate_sim.session.session import Session

if TYPE_CHECKING:
    from accelerate_sim.sim.layout import Ranks
    from accelerate_sim.sim.run import Run

NOT_INITIALIZED = (
    "You must initialize the accelerate state by calling either `PartialState()` or `Accelerator()` before using this."
)


class PartialState:
    """All instances share their attributes; the first ``Accelerator`` of a run sets them."""

    _shared_state: ClassVar[dict[str, Any]] = {}

    run: Run
    session: Session
    origin_s: float
    """Simulated second at which the run began."""

    def __init__(self) -> None:
        self.__dict__ = self._shared_state

    @property
    def initialized(self) -> bool:
        return "run" in self._shared_state

    def begin(self, run: Run, session: Session) -> None:
        """Enter the world of ``run``: as one of its processes, or without a launcher as all of its ranks."""
        import fake_torch_dist as dist

        layout = run.layout
        if session.job:
            session.job.check_world(layout.world_size)
            with session.signals.at_once():
                session.job.meet()
        else:
            if dist.is_initialized():
                dist.destroy_process_group()
            nodes = dist.VirtualOptions(ranks_per_node=layout.gpus_per_node)
            dist.init_process_group(backend="virtual", world_size=layout.world_size, pg_options=nodes)
        self.run = run
        self.session = session
        self.origin_s = session.clock.now_s

    def end(self) -> None:
        """The process group is destroyed; the state is as before the run."""
        import fake_torch_dist as dist

        if dist.is_initialized():
            dist.destroy_process_group()
        self._shared_state.clear()

    @classmethod
    def required(cls) -> PartialState:
        """The state, or the error that Accelerate raises without one."""
        state = cls()
        if not state.initialized:
            raise RuntimeError(NOT_INITIALIZED)
        return state

    @property
    def ranks(self) -> Ranks:
        """Ranks that this process plays."""
        import numpy as np

        placement = self.session.placement
        return np.array([placement.rank]) if placement else np.arange(self.run.layout.world_size)

    @property
    def num_processes(self) -> int:
        import fake_torch_dist as dist

        return dist.get_world_size()

    @property
    def process_index(self) -> int:
        import fake_torch_dist as dist

        return dist.get_rank()

    @property
    def is_main_process(self) -> bool:
        return self.process_index == 0

    @property
    def training_origin_s(self) -> float:
        """Simulated second at which the first step begins."""
        return self.origin_s + self.run.startup.total


def set_seed(seed: int) -> None:
    """The seed that the run's config names; another one would be another run."""
    planned = PartialState.required().run.config.run.seed
    if seed != planned:
        raise ValueError(f"the run is planned with seed {planned}, not {seed}: run.seed in the config says which")
