"""The files of a checkpoint except for run_state.json: weights, optimizer, schedule, random numbers, history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts import atomic
from accelerate_sim.artifacts import training_files as files
from accelerate_sim.artifacts.file_image import FileImage
from accelerate_sim.artifacts.model_config import config_images
from accelerate_sim.artifacts.model_files import Sizes, weight_images
from accelerate_sim.checkpoints.trainer_state import TrainerHistory
from accelerate_sim.records import NoHolesRecord, Record
from accelerate_sim.sim.run import Run


@dataclass
class CheckpointFiles:
    """Makes the files of the checkpoints of one run."""

    run: Run
    history: TrainerHistory
    directory: Path | None
    """The directory of the run; None if nothing is written."""
    report: Callable[[Record], None]

    def images(self, step: int) -> list[FileImage]:
        """The files of the checkpoint after ``step`` steps. Raises OutputError."""
        run, layout = self.run, self.run.layout
        groups = files.rank_groups(layout.nodes, layout.gpus_per_node)
        return [
            *self._weights,
            *config_images(run.model.architecture, run.model.tokenizer_vocab),
            *files.optimizer_images(groups, run.model.architecture.parameters, step, self.sizes),
            *files.random_state_images(groups, run.noise_seed, step),
            files.scheduler_image(scheduler_state(run, step)),
            files.trainer_state_image(self.history.trainer_state(step)),
        ]

    @cached_property
    def _weights(self) -> list[FileImage]:
        """Files of the weights, which are the same in every checkpoint."""
        shards, index = weight_images(self.run.model.architecture, self.sizes)
        return [*shards, *index]

    @cached_property
    def sizes(self) -> Sizes:
        """Shapes of the tensors on disk: the true ones on file systems with sparse files. Raises OutputError."""
        asked = self.run.config.checkpoint.shards
        if self.directory is None or asked == "tiny":
            return asked
        with atomic.explained(self.directory / "checkpoint", "Put things right and go on with --resume auto."):
            sparse = atomic.keeps_holes(self.directory)
        if not sparse:
            self.report(NoHolesRecord(str(self.directory)))
        return "sparse" if sparse else "tiny"


def scheduler_state(run: Run, step: int) -> Mapping[str, Any]:
    """The learning-rate schedule after ``step`` steps, in the form of ``state_dict()`` of torch's schedulers."""
    return {"last_epoch": step, "_step_count": step + 1, "_last_lr": [run.lr(step)]}
