"""Methods of ``Accelerator`` that return how far a run is, save it and continue it: planned, or of an own script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_sim.own_script.files import ScriptFiles
from accelerate_sim.own_script.simulated_objects import is_simulated

if TYPE_CHECKING:
    from accelerate_sim.session.active_run import ActiveRun
    from accelerate_sim.sim.run import Run
    from accelerate_sim.training_progress import TrainingProgress


class RunPosition(ScriptFiles):
    """The part of ``Accelerator`` that holds the position of its run."""

    active: ActiveRun
    run: Run
    own_script: bool
    _progress: TrainingProgress
    _prepared: list[Any]
    """Simulated objects that ``prepare`` has connected."""

    @property
    def elapsed_s(self) -> float:
        """Simulated seconds since the first step began."""
        return self._progress.elapsed_s

    @property
    def completed_steps(self) -> int:
        """Optimizer steps done, those before a resumed checkpoint included."""
        return self._progress.completed_steps

    @property
    def tokens_per_s(self) -> float:
        """Throughput of the latest step, all ranks together."""
        return self.run.timing(self.completed_steps - 1).tokens_per_s

    @property
    def project_dir(self) -> Any:
        """The directory of the run's checkpoints and of its exported model; in a user's script, what it sets."""
        return self.settings.project.project_dir if self.own_script else self.active.checkpoints.project_dir

    def save_state(self, output_dir: str | None = None, **save_kwargs: Any) -> Path:
        """Write a checkpoint below ``project_dir`` and delete those that are not kept. Raises OutputError.

        A user's own script writes the states of its objects to ``output_dir`` itself.
        """
        if self.own_script:
            return self._save_own_state(output_dir)
        if output_dir is None:
            raise ValueError("save_state: a checkpoint of a planned run has a name, checkpoint-<step>")
        # The phase is reported before the mark that a checkpoint sets, so that a resumed run has its record on disk.
        self._progress.begin_phase("checkpoint")
        return self.active.checkpoints.save(output_dir, self.completed_steps)

    @property
    def resume_from_checkpoint(self) -> Path | None:
        """The checkpoint that the run continues from; None for a run that begins at its first step."""
        return self.active.resumption.checkpoint if self.active.resumption else None

    def load_state(self, input_dir: str | Path | None = None, **load_kwargs: Any) -> None:
        """Continue after the step of a checkpoint, which in a planned run has to be ``resume_from_checkpoint``."""
        if self.own_script:
            self._load_own_state(input_dir)
            return
        from accelerate_sim.checkpoints.files import scheduler_state

        planned, resumption = self.resume_from_checkpoint, self.active.resumption
        if resumption is None or planned != Path(input_dir or ""):
            raise ValueError(f"the run goes on from {planned}, not from {input_dir}: --resume says from which")
        self._continue_after(resumption.state.step, scheduler_state(self.run, resumption.state.step))
        self.active.checkpoints.restore(resumption)

    def _go_on_after(self, steps: int) -> None:
        """Let the simulated objects of a user's own script be after so many optimizer steps."""
        self._continue_after(steps, {"last_epoch": steps})

    def _continue_after(self, steps: int, scheduler: Mapping[str, Any]) -> None:
        self._progress.continue_after(steps)
        for thing in self._prepared:
            if hasattr(thing, "load_state_dict"):
                thing.load_state_dict(scheduler)

    def skip_first_batches(self, dataloader: Any, num_batches: int = 0) -> Any:
        """A loader of the same data that leaves out its first batches."""
        if is_simulated(dataloader):
            return dataloader.without_first(num_batches)
        from accelerate_sim.own_script.sharded_loader import skip_first_batches

        return skip_first_batches(dataloader, num_batches)
