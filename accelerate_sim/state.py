"""``PartialState``: rank, size and run of this process, as in Accelerate. It reads them from the current session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate_sim.session.session import Session

if TYPE_CHECKING:
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.sim.layout import Ranks
    from accelerate_sim.sim.run import Run

NOT_INITIALIZED = (
    "You must initialize the accelerate state by calling either `PartialState()` or `Accelerator()` before using this."
)


class PartialState:
    """The state of the current session. All instances read the same one; ``Accelerator`` begins the run in it."""

    @property
    def session(self) -> Session:
        return Session.current()

    @property
    def initialized(self) -> bool:
        return self.session.active is not None

    @property
    def active(self) -> ActiveRun:
        """The active run. Raises the error that Accelerate raises if there is none."""
        if self.session.active is None:
            raise RuntimeError(NOT_INITIALIZED)
        return self.session.active

    @property
    def run(self) -> Run:
        return self.active.run

    @property
    def ranks(self) -> Ranks:
        """The ranks that this process runs."""
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


def set_seed(seed: int) -> None:
    """Check that ``seed`` is the seed of the run's config; another seed would make another run."""
    planned = PartialState().run.config.run.seed
    if seed != planned:
        raise ValueError(f"the run is planned with seed {planned}, not {seed}: run.seed in the config says which")
