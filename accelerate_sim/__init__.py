"""The names that a training script imports, as in Hugging Face Accelerate, over a simulated cluster.

They are loaded on first use, so that a command that needs a part of the package, as ``fake-nvidia-smi`` does, does not
load the rest.
"""

from fake_torch_dist.default_sigint import DefaultSigint

with DefaultSigint():
    import os
    from importlib import import_module
    from typing import TYPE_CHECKING

# One thread is all a simulated rank needs; BLAS would start one per core when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if TYPE_CHECKING:
    from accelerate_sim.accelerator import Accelerator, RunKwargs
    from accelerate_sim.cli.app import launch
    from accelerate_sim.config.schema import RunConfig
    from accelerate_sim.data_loader import DataLoader, load_dataset
    from accelerate_sim.export import export_model
    from accelerate_sim.logging import get_logger
    from accelerate_sim.modeling import AutoModelForCausalLM, AutoTokenizer, CausalLM, Tokenizer
    from accelerate_sim.optimizer import AdamW
    from accelerate_sim.own_script.gradient_state import GradientState
    from accelerate_sim.own_script.local_sgd import LocalSGD
    from accelerate_sim.own_script.sharded_loader import skip_first_batches
    from accelerate_sim.own_script.trackers import GeneralTracker
    from accelerate_sim.progress import tqdm
    from accelerate_sim.scheduler import (
        LRScheduler,
        get_cosine_schedule_with_warmup,
        get_linear_schedule_with_warmup,
        get_scheduler,
    )
    from accelerate_sim.state import AcceleratorState, PartialState, set_seed
    from accelerate_sim.utils.dataclasses import (
        AutocastKwargs,
        DataLoaderConfiguration,
        DistributedDataParallelKwargs,
        DistributedType,
        GradientAccumulationPlugin,
        GradScalerKwargs,
        InitProcessGroupKwargs,
        ProfileKwargs,
    )
    from accelerate_sim.utils.memory import find_executable_batch_size
    from accelerate_sim.utils.other import synchronize_rng_states
    from accelerate_sim.version import __version__

__all__ = [
    "Accelerator",
    "AcceleratorState",
    "AdamW",
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "AutocastKwargs",
    "CausalLM",
    "DataLoader",
    "DataLoaderConfiguration",
    "DistributedDataParallelKwargs",
    "DistributedType",
    "GeneralTracker",
    "GradScalerKwargs",
    "GradientAccumulationPlugin",
    "GradientState",
    "InitProcessGroupKwargs",
    "LRScheduler",
    "LocalSGD",
    "PartialState",
    "ProfileKwargs",
    "RunConfig",
    "RunKwargs",
    "Tokenizer",
    "__version__",
    "export_model",
    "find_executable_batch_size",
    "get_cosine_schedule_with_warmup",
    "get_linear_schedule_with_warmup",
    "get_logger",
    "get_scheduler",
    "launch",
    "load_dataset",
    "set_seed",
    "skip_first_batches",
    "synchronize_rng_states",
    "tqdm",
]

# fmt: off
_HOMES = {
    "accelerator": ("Accelerator", "RunKwargs"),
    "cli.app": ("launch",),
    "config.schema": ("RunConfig",),
    "data_loader": ("DataLoader", "load_dataset"),
    "export": ("export_model",),
    "own_script.gradient_state": ("GradientState",),
    "own_script.local_sgd": ("LocalSGD",),
    "logging": ("get_logger",),
    "modeling": ("AutoModelForCausalLM", "AutoTokenizer", "CausalLM", "Tokenizer"),
    "optimizer": ("AdamW",),
    "own_script.trackers": ("GeneralTracker",),
    "progress": ("tqdm",),
    "scheduler": (
        "LRScheduler", "get_cosine_schedule_with_warmup", "get_linear_schedule_with_warmup", "get_scheduler",
    ),
    "own_script.sharded_loader": ("skip_first_batches",),
    "state": ("AcceleratorState", "PartialState", "set_seed"),
    "utils.dataclasses": (
        "AutocastKwargs",
        "DataLoaderConfiguration",
        "DistributedDataParallelKwargs",
        "DistributedType",
        "GradScalerKwargs",
        "GradientAccumulationPlugin",
        "InitProcessGroupKwargs",
        "ProfileKwargs",
    ),
    "utils.memory": ("find_executable_batch_size",),
    "utils.other": ("synchronize_rng_states",),
    "version": ("__version__",),
}
# fmt: on
"""The names by the module that has them."""
_FOR_OWN_SCRIPTS = {
    "gradient_state", "local_sgd", "own_trackers", "sharded_loader",
    "utils.dataclasses", "utils.memory", "utils.other",
}  # fmt: skip
"""Modules that only a user's own script needs; each is loaded when one of its names is used."""


def __getattr__(name: str) -> object:
    """Load all names of a planned run on first use, with SIGINT's default action meanwhile."""
    if name not in __all__:
        raise AttributeError(f"accelerate_sim has no {name!r}; what is there: accelerate_sim.__all__")
    wanted = next(home for home, names in _HOMES.items() if name in names)
    homes = {wanted} if wanted in _FOR_OWN_SCRIPTS else _HOMES.keys() - _FOR_OWN_SCRIPTS
    with DefaultSigint():
        for home in sorted(homes):
            module = import_module(f"{__name__}.{home}")
            globals().update({each: getattr(module, each) for each in _HOMES[home]})
    return globals()[name]
