"""Names of Accelerate's that have no meaning in a simulation; ``Accelerator`` raises an AttributeError for each."""

from __future__ import annotations

from typing import NoReturn

WITHOUT_MEANING = {
    "scaler": "losses are not scaled here, in any precision",
    "deepspeed_plugin": "parallel.sharding in the config of the run says how the model is spread",
    "fp8_backend": "train.precision and train.stack in the config of the run say so",
    "parallelism_config": "the section parallel in the config of the run says how ranks are arranged",
    "torch_device_mesh": "fake_torch_dist.init_device_mesh makes one",
    "verify_device_map": "a simulated model is not dispatched over devices",
    "maybe_context_parallel": "parallel.context in the config of the run says so",
    "deepspeed_ulysses_dl_adapter": "parallel.context in the config of the run says so",
    "lomo_backward": "the optimizer LOMO is not simulated",
}
"""Accelerate's names that mean nothing here, and the reason or what there is in place of it."""


class NamesWithoutMeaning:
    """Raises an AttributeError that explains a name of ``Accelerator`` which is not there."""

    def __getattr__(self, name: str) -> NoReturn:
        if name in WITHOUT_MEANING:
            raise AttributeError(f"Accelerator.{name} has no meaning here: {WITHOUT_MEANING[name]}")
        raise AttributeError(f"accelerate_sim's Accelerator has no {name!r}")
