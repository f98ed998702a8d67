"""What a training script imports: Hugging Face Accelerate's names, over a cluster that is not there."""

import os

from accelerate_sim.deadly_ctrl_c import DeadlyCtrlC

# One thread is all a simulated rank needs; BLAS would start one per core when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

with DeadlyCtrlC():
    from accelerate_sim.accelerator import Accelerator, RunKwargs
    from accelerate_sim.commandline import launch
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
