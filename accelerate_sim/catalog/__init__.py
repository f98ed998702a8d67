"""Facts, each with its source: language models, accelerators and text corpora.

``model("llama-3-70b")``, ``gpu("H100-SXM")`` and ``dataset("fineweb-edu")`` return frozen fact
sheets; a misspelt name raises ``UnknownName`` with suggestions. Nothing here is random, and nothing
depends on a run.
"""

from accelerate_sim.catalog.architecture import Architecture
from accelerate_sim.catalog.constants import Constant, constant_table, constants
from accelerate_sim.catalog.datasets import DatasetSpec, dataset, dataset_names
from accelerate_sim.catalog.entries import UnknownName
from accelerate_sim.catalog.gpus import GpuSpec, gpu, gpu_names, with_driver
from accelerate_sim.catalog.models import ModelSpec, model, model_names
from accelerate_sim.catalog.stacks import SoftwareStack, stack, stack_names
from accelerate_sim.catalog.tensors import Tensor
from accelerate_sim.catalog.variants import LatentAttention, Mamba, MixtureOfExperts

__all__ = [
    "Architecture",
    "Constant",
    "DatasetSpec",
    "GpuSpec",
    "LatentAttention",
    "Mamba",
    "MixtureOfExperts",
    "ModelSpec",
    "SoftwareStack",
    "Tensor",
    "UnknownName",
    "constant_table",
    "constants",
    "dataset",
    "dataset_names",
    "gpu",
    "gpu_names",
    "model",
    "model_names",
    "stack",
    "stack_names",
    "with_driver",
]
