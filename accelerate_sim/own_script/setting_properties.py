"""Properties of ``Accelerator`` that return what the script has set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelerate_sim.own_script.settings import ScriptSettings


class SettingProperties:
    """The part of ``Accelerator`` that shows its settings."""

    if TYPE_CHECKING:

        @property
        def settings(self) -> ScriptSettings: ...

    @property
    def split_batches(self) -> bool:
        """True if a batch is cut among the ranks."""
        return self.settings.loaders.split_batches

    @property
    def even_batches(self) -> bool:
        """True if ranks that have run out of batches get the first ones again."""
        return self.settings.loaders.even_batches

    @even_batches.setter
    def even_batches(self, even_batches: bool) -> None:
        self.settings.loaders.even_batches = even_batches

    @property
    def dispatch_batches(self) -> bool | None:
        """None: each rank reads its own batches."""
        return self.settings.loaders.dispatch_batches

    @property
    def use_seedable_sampler(self) -> bool:
        """As the script has set it; shuffled samples always are in one order on all ranks."""
        return self.settings.loaders.use_seedable_sampler

    @property
    def non_blocking(self) -> bool:
        """As the script has set it; nothing is copied to a device here."""
        return self.settings.loaders.non_blocking

    @property
    def device_placement(self) -> bool:
        """As the script has set it; each rank's tensors are in its memory."""
        return self.settings.device_placement

    @property
    def step_scheduler_with_optimizer(self) -> bool:
        """True if schedulers step when the optimizer does."""
        return self.settings.step_scheduler_with_optimizer
