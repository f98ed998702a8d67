"""``KeptCheckpoints``: the checkpoints of a run that are there, and the deletion of those that newer ones replace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from accelerate_sim.config.sections.output import CheckpointConfig
from accelerate_sim.records import DeletedRecord, LitterRecord, Record


class Saved(NamedTuple):
    """A checkpoint: its name, and the loss of the validation before it; None if there was none."""

    name: str
    loss: float | None

    @property
    def step(self) -> int:
        return int(self.name.rpartition("-")[2])


def superseded(saved: Sequence[Saved], config: CheckpointConfig) -> list[Saved]:
    """Checkpoints to delete, the oldest first: not among the newest ``keep_last`` or the best ``keep_best``.

    A checkpoint that was saved because a signal ended the process is not counted, and goes once a newer one exists.
    """
    planned = [one for one in saved if config.every and one.step % config.every == 0]
    validated = sorted((one.loss, -one.step, one) for one in planned if one.loss is not None)
    kept = {*planned[-config.keep_last :], *(one for _, _, one in validated[: config.keep_best]), *saved[-1:]}
    return [one for one in saved if one not in kept]


@dataclass
class KeptCheckpoints:
    """The checkpoints in ``directory``, the newest last. ``delete`` removes one, and returns the error of a rest."""

    directory: Path
    config: CheckpointConfig
    delete: Callable[[str], OSError | None]
    report: Callable[[Record], None]
    saved: list[Saved] = field(default_factory=list)
    _has_warned: bool = False

    @property
    def last(self) -> Path | None:
        """Path of the newest checkpoint."""
        return self.directory / self.saved[-1].name if self.saved else None

    @property
    def names(self) -> set[str]:
        return {one.name for one in self.saved}

    def keep(self, name: str, loss: float | None) -> None:
        """Add a checkpoint as the newest, and delete those that it replaces. It is complete by now."""
        self.saved = [one for one in self.saved if one.name != name]
        self.saved.append(Saved(name, loss))
        self.delete_superseded()

    def restore(self, saved: Sequence[tuple[str, float | None]]) -> None:
        """Take the checkpoints of a process before this one as those that are there."""
        self.saved = [Saved(*one) for one in saved]

    def add_unplanned(self, name: str) -> None:
        """Add a checkpoint that was saved because a signal ends the process."""
        self.saved.append(Saved(name, None))

    def adopt(self, name: str) -> None:
        """Add an unplanned checkpoint of a process before this one, before the newest."""
        self.saved.insert(-1, Saved(name, None))

    def delete_superseded(self) -> None:
        """Delete the checkpoints that are not kept."""
        for old in superseded(self.saved, self.config):
            if error := self.delete(old.name):
                self.warn_of_litter(error)
            self.report(DeletedRecord(str(self.directory / old.name), self.config.keep_last, self.config.keep_best))
            self.saved.remove(old)

    def warn_of_litter(self, error: OSError) -> None:
        """Report, once, that files which are not needed any more could not be deleted."""
        if not self._has_warned:
            self.report(LitterRecord(str(self.directory), error.strerror or str(error)))
        self._has_warned = True
