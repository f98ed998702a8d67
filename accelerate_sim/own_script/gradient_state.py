"""``GradientState`` and gradient accumulation: which micro-batch is the last one of an optimizer step."""

from __future__ import annotations

from types import TracebackType
from typing import Any, ClassVar, Protocol


class ReadLoader(Protocol):
    """A loader that is being read."""

    end_of_dataloader: bool
    remainder: int


class HasSync(Protocol):
    """An object with the attribute ``sync_gradients``."""

    sync_gradients: bool
    """True in the last micro-batch of an optimizer step."""


class _Alone:
    """The flag of a process without an ``Accelerator``."""

    sync_gradients = True


class GradientState:
    """All instances share their attributes, as Accelerate's do."""

    _shared_state: ClassVar[dict[str, Any]] = {}

    progress: HasSync
    """The training's progress, whose ``sync_gradients`` this state shows."""
    plugin_kwargs: dict[str, Any]
    """The fields of ``GradientAccumulationPlugin``."""
    dataloader_references: list[ReadLoader]
    """Loaders that are being read, the innermost one last."""

    def __init__(self, gradient_accumulation_plugin: Any = None) -> None:
        self.__dict__ = self._shared_state
        if not self.initialized:
            self.progress = _Alone()
            self.plugin_kwargs = {}
            self.dataloader_references = []
        if gradient_accumulation_plugin is not None:
            self.plugin_kwargs = gradient_accumulation_plugin.to_kwargs()

    @property
    def initialized(self) -> bool:
        """True once an instance has been made."""
        return bool(self._shared_state)

    def follow(self, progress: HasSync) -> None:
        """Show ``sync_gradients`` of a training from now on."""
        self.progress = progress

    @property
    def sync_gradients(self) -> bool:
        """True in the last micro-batch of an optimizer step."""
        return self.progress.sync_gradients

    @sync_gradients.setter
    def sync_gradients(self, sync_gradients: bool) -> None:
        self.progress.sync_gradients = sync_gradients

    @property
    def num_steps(self) -> int:
        """Micro-batches of one optimizer step."""
        return int(self.plugin_kwargs.get("num_steps", 1))

    @property
    def adjust_scheduler(self) -> bool:
        """True if a scheduler counts the micro-batches that it is not stepped for."""
        return bool(self.plugin_kwargs.get("adjust_scheduler", False))

    @property
    def sync_with_dataloader(self) -> bool:
        """True if the end of a loader ends the optimizer step."""
        return bool(self.plugin_kwargs.get("sync_with_dataloader", True))

    @property
    def sync_each_batch(self) -> bool:
        """True if gradients are averaged over the ranks after each micro-batch."""
        return bool(self.plugin_kwargs.get("sync_each_batch", False))

    @property
    def active_dataloader(self) -> ReadLoader | None:
        """The loader that is being read, None outside of a loop."""
        return self.dataloader_references[-1] if self.dataloader_references else None

    @property
    def in_dataloader(self) -> bool:
        """True while a prepared loader is being read."""
        return bool(self.dataloader_references)

    @property
    def end_of_dataloader(self) -> bool:
        """True in the loop's last batch."""
        loader = self.active_dataloader
        return loader is not None and loader.end_of_dataloader

    @property
    def remainder(self) -> int:
        """Samples of the last global batch that are not repetitions: 0 if all are, -1 if it is not known."""
        loader = self.active_dataloader
        return -1 if loader is None else loader.remainder

    def _add_dataloader(self, dataloader: ReadLoader) -> None:
        self.dataloader_references = [*self.dataloader_references, dataloader]

    def _remove_dataloader(self, dataloader: ReadLoader) -> None:
        self.dataloader_references = [each for each in self.dataloader_references if each is not dataloader]

    @classmethod
    def _reset_state(cls) -> None:
        cls._shared_state.clear()

    def __repr__(self) -> str:
        return (
            f"Sync Gradients: {self.sync_gradients}\n"
            f"At end of current dataloader: {self.end_of_dataloader}\n"
            f"Extra samples added: {self.remainder}\n"
            f"Gradient accumulation plugin: {self.plugin_kwargs}\n"
        )


class CountedAccumulation:
    """Context of one micro-batch in a script that plans its own steps; counts them and ends with the loader."""

    def __init__(self, state: GradientState) -> None:
        self.state = state
        self.step = 0
        """Micro-batches since the last optimizer step, or since the first one."""
        self.unaveraged = 0
        """Contexts of ``no_sync`` that are open."""

    def __enter__(self) -> None:
        state = self.state
        if state.sync_with_dataloader and state.end_of_dataloader:
            self.step = 0
            state.sync_gradients = True
        else:
            self.step += 1
            state.sync_gradients = self.step % state.num_steps == 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
