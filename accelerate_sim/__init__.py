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
    from accelerate_sim.progress import tqdm
    from accelerate_sim.scheduler import LRScheduler, get_scheduler
    from accelerate_sim.state import PartialState, set_seed
    from accelerate_sim.version import __version__

__all__ = [
    "Accelerator",
    "AdamW",
    "AutoModelForCausalLM",
    "AutoTokenizer",
    "CausalLM",
    "DataLoader",
    "LRScheduler",
    "PartialState",
    "RunConfig",
    "RunKwargs",
    "Tokenizer",
    "__version__",
    "export_model",
    "get_logger",
    "get_scheduler",
    "launch",
    "load_dataset",
    "set_seed",
    "tqdm",
]

_HOMES = {
    "accelerator": ("Accelerator", "RunKwargs"),
    "cli.app": ("launch",),
    "config.schema": ("RunConfig",),
    "data_loader": ("DataLoader", "load_dataset"),
    "export": ("export_model",),
    "logging": ("get_logger",),
    "modeling": ("AutoModelForCausalLM", "AutoTokenizer", "CausalLM", "Tokenizer"),
    "optimizer": ("AdamW",),
    "progress": ("tqdm",),
    "scheduler": ("LRScheduler", "get_scheduler"),
    "state": ("PartialState", "set_seed"),
    "version": ("__version__",),
}
"""The names by the module that has them."""


def __getattr__(name: str) -> object:
    """Load all names on first use, with SIGINT's default action meanwhile."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with DefaultSigint():
        for home, names in _HOMES.items():
            module = import_module(f"{__name__}.{home}")
            globals().update({each: getattr(module, each) for each in names})
    return globals()[name]
