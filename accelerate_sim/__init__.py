"""The names that a training script imports, as in Hugging Face Accelerate, over a simulated cluster.

They are loaded on first use, so that a command that needs a part of the package, as ``fake-nvidia-smi`` does, does not
load the rest.
"""

from fake_torch_dist.default_sigint import DefaultSigint

with DefaultSigint():
    import os
    from typing import TYPE_CHECKING

    from accelerate_sim.lazy_names import lazy_names

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
    from accelerate_sim.optimizer import SOAP, Adafactor, AdamW, Lion, Muon, get_optimizer
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
    "SOAP",
    "Accelerator",
    "AcceleratorState",
    "Adafactor",
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
    "Lion",
    "LocalSGD",
    "Muon",
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
    "get_optimizer",
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
    "optimizer": ("SOAP", "Adafactor", "AdamW", "Lion", "Muon", "get_optimizer"),
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
_OF_EVERY_RUN = (
    "accelerator",
    "config.schema",
    "data_loader",
    "logging",
    "modeling",
    "optimizer",
    "progress",
    "scheduler",
    "state",
)
"""Modules that are loaded together; each other one is loaded when one of its names is used."""

__getattr__ = lazy_names(__name__, _HOMES, together=_OF_EVERY_RUN)
