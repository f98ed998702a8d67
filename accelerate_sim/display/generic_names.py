"""``--brand generic``: names that stand for those of models, GPUs, datasets, companies and products on the screen.

The names of the catalog and its families are replaced by what they are; a name of the user's own stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from accelerate_sim import catalog
from accelerate_sim.display.units import count_text

CLASSES = re.compile(r"\b\w+(?:ForCausalLM|LMHeadModel)\b")
FAMILIES = (
    "llama", "meta-llama", "codellama", "tinyllama", "mixtral", "mistral", "gpt", "qwen", "gemma", "pythia", "neox",
    "falcon", "smollm", "olmo", "deepseek", "nemotron", "kimi", "cohere", "bloom", "phi-",
)  # fmt: skip
"""Beginnings of names of models, such as those of configs."""
WORDS = {
    "NVIDIA": "Vendor", "GeForce": "Desktop", "Tesla": "Server", "Instinct": "Server", "AMD": "Vendor",
    "Hugging Face": "Hub", "HuggingFace": "Hub", "Meta": "Lab", "OpenAI": "Lab", "Google": "Lab", "Microsoft": "Lab",
    "NCCL": "Collectives", "RCCL": "Collectives", "CUDA": "gpu", "NVLSTree": "SwitchTree", "NVLS": "Switch",
    "NVLink": "link", "NVSwitch": "switch", "InfiniBand": "network", "PyTorch": "Framework", "torchrun": "launcher",
    "torch": "framework", "Megatron-LM": "Framework", "Megatron": "Framework", "DeepSpeed": "Framework",
    "TorchTitan": "Framework", "Accelerate": "Framework", "transformers": "framework", "tiktoken": "bytes",
    "SentencePiece": "pieces", "safetensors": "weights", "wandb": "tracker", "TensorBoard": "tracker",
    "Prometheus": "tracker", "Slurm": "scheduler", "Kubernetes": "scheduler", "WikiText": "corpus",
    "MLPerf": "benchmark", "nanoGPT": "framework", "NeMo": "Framework", "MaxText": "Framework", "JAX": "Framework",
    "jaxlib": "framework", "XLA": "Compiler", "LitLogger": "tracker", "litlogger": "tracker", "Lightning": "Framework",
    "gloo": "sockets", "mlx5": "nic", "Mellanox": "Vendor", "EleutherAI": "Lab", "allenai": "lab",
}  # fmt: skip
"""Names of companies and products, and what stands for them."""
INSIDE_WORDS = (
    "NVIDIA", "NCCL", "RCCL", "CUDA", "HuggingFace", "PyTorch", "torch", "Megatron", "DeepSpeed", "Slurm", "MaxText",
    "litlogger", "Mellanox",
)  # fmt: skip
"""Names of ``WORDS`` that are replaced inside longer words, too, such as ``libtorch_cuda.so``."""


class GenericNames:
    """A function of text that replaces every known name, in any case."""

    def __init__(self) -> None:
        self._names = {name.lower(): generic for name, generic in _catalog_names()}
        self._words = {name.lower(): generic for name, generic in WORDS.items()}
        self._known = _any_of(self._names)
        self._families = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(FAMILIES)})[\w.-]*", re.IGNORECASE)
        self._products = _any_of(self._words)
        self._parts = re.compile("|".join(sorted(INSIDE_WORDS, key=len, reverse=True)), re.IGNORECASE)
        self._renamed = cache(self._rename)

    def __call__(self, text: str) -> str:
        """The text with generic names; a name in small letters is replaced by one in small letters."""
        return self._renamed(text) if len(text) < 1000 else self._rename(text)

    def _rename(self, text: str) -> str:
        text = self._known.sub(lambda found: _in_case(found[0], self._names[found[0].lower()]), text)
        text = CLASSES.sub("DecoderModel", text)
        text = self._families.sub(lambda found: _in_case(found[0], "LM"), text)
        for products in (self._products, self._parts):
            text = products.sub(lambda found: _in_case(found[0], self._words[found[0].lower()]), text)
        return text


def _any_of(names: dict[str, str]) -> re.Pattern[str]:
    """A pattern for any of the names as whole words or after a count such as ``8x``, the longest first."""
    longest_first = sorted(map(re.escape, names), key=len, reverse=True)
    return re.compile(rf"(?:(?<![A-Za-z0-9])|(?<=\dx))(?:{'|'.join(longest_first)})(?![A-Za-z0-9])", re.IGNORECASE)


def _in_case(name: str, generic: str) -> str:
    return generic.lower() if name.islower() else generic


def _catalog_names() -> Iterator[tuple[str, str]]:
    for key in catalog.model_names():
        model = catalog.model(key)
        generic = f"LM-{count_text(float(f'{model.architecture.parameters:.2g}')).replace('.00', '')}"
        for name in (key, model.title, model.hub_id):
            if name:
                yield name, generic
        yield model.tokenizer, "byte-pair encoding"
    for key in catalog.gpu_names():
        gpu = catalog.gpu(key)
        generic = f"Accelerator {round(gpu.memory_bytes / 2**30)}GB"
        yield key, generic
        yield gpu.product, generic
    for key in catalog.dataset_names():
        dataset = catalog.dataset(key)
        for name in (key, dataset.title, dataset.hub_id):
            if name:
                yield name, "Corpus"
