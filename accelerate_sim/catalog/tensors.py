"""From a family's modules and a model's widths to named tensors."""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from accelerate_sim.catalog.modules import BLOCKS, MLP_WEIGHTS, MOE_WEIGHTS, WEIGHTS, Module


class Tensor(NamedTuple):
    """A weight as it stands in a checkpoint."""

    name: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)


def module_tensors(module: Module, widths: Mapping[str, int]) -> list[Tensor]:
    """Return the weight of ``module`` and its bias if it has one; names keep their placeholders."""
    shape = tuple(widths[width] for width in WEIGHTS[module.role])
    if module.bare:
        return [Tensor(module.name, shape)]
    weight = Tensor(f"{module.name}.weight", shape[::-1] if module.transposed else shape)
    return [weight, Tensor(f"{module.name}.bias", shape[:1])] if module.bias else [weight]


def layer_modules(modules: Iterable[Module], *, sparse: bool) -> list[Module]:
    """Return what a mixture-of-experts layer has (``sparse``), or a layer with a dense MLP."""
    absent = MLP_WEIGHTS if sparse else MOE_WEIGHTS
    return [module for module in modules if module.role not in absent]


def block_modules(modules: Iterable[Module], kind: str) -> list[Module]:
    """Return what a layer has that is one block of this kind, a key of ``BLOCKS``: its modules and its norm."""
    absent = {role for other, roles in BLOCKS.items() if other != kind for role in roles}
    return [module for module in modules if module.role not in absent]


def expand(
    modules: Iterable[Module],
    widths: Mapping[str, int],
    *,
    layers: int,
    dense_layers: int,
    experts: int,
    pattern: str | None = None,
) -> Iterator[Tensor]:
    """Yield every tensor of a model in saving order.

    Layers from ``dense_layers`` on are mixture-of-experts layers with ``experts`` routed experts, unless ``pattern``
    states the kind of each layer.
    """
    for repeats, group in groupby(modules, lambda module: "{layer}" in module.name):
        block = list(group)
        if not repeats:
            yield from _with_experts(block, widths, layer=0, experts=0)
            continue
        for layer in range(layers):
            sparse = layer >= dense_layers
            present = block_modules(block, pattern[layer]) if pattern else layer_modules(block, sparse=sparse)
            yield from _with_experts(present, widths, layer=layer, experts=experts)


def _with_experts(
    modules: Iterable[Module], widths: Mapping[str, int], *, layer: int, experts: int
) -> Iterator[Tensor]:
    """Yield the tensors of one layer: all of expert 0, then all of expert 1, and so on."""
    for repeats, group in groupby(modules, lambda module: "{expert}" in module.name):
        tensors = [tensor for module in group for tensor in module_tensors(module, widths)]
        for expert in range(experts if repeats else 1):
            for name, shape in tensors:
                yield Tensor(name.format(layer=layer, expert=expert), shape)
