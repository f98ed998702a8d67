"""What a training script imports: Hugging Face Accelerate's names, over a cluster that is not there."""

import os
import sys
from types import TracebackType

# One thread is all a simulated rank needs; BLAS would start one per core when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _leave_quietly(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    # Ctrl-C while modules are still being imported is no error of ours to show; Python exits as for any SIGINT.
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)


_previous_hook, sys.excepthook = sys.excepthook, _leave_quietly

from accelerate_sim.accelerator import Accelerator, RunKwargs  # noqa: E402
from accelerate_sim.commandline import launch  # noqa: E402
from accelerate_sim.config.schema import RunConfig  # noqa: E402
from accelerate_sim.data_loader import DataLoader, load_dataset  # noqa: E402
from accelerate_sim.export import export_model  # noqa: E402
from accelerate_sim.logging import get_logger  # noqa: E402
from accelerate_sim.modeling import AutoModelForCausalLM, AutoTokenizer, CausalLM, Tokenizer  # noqa: E402
from accelerate_sim.optimizer import AdamW  # noqa: E402
from accelerate_sim.progress import tqdm  # noqa: E402
from accelerate_sim.scheduler import LRScheduler, get_scheduler  # noqa: E402
from accelerate_sim.state import PartialState, set_seed  # noqa: E402
from accelerate_sim.version import __version__  # noqa: E402

sys.excepthook = _previous_hook

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
