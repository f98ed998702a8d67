"""A family's modules for a model that departs from it: another MLP, other biases, other positions.

What training software builds from flags (gated or not, biases in linear layers, learned positions) need not be what
any class of ``transformers`` has.
"""

from collections.abc import Iterable, Iterator

from accelerate_sim.catalog.modules import Module

GATES = frozenset({"gate", "expert_gate", "shared_gate"})
POSITIONS = frozenset({"positions", "positions_from_2"})
_ATTENTION = {"q", "k", "v", "qkv", "o", "q_down", "q_up", "kv_down", "kv_up"}
_MLP = {f"{kind}{role}" for kind in ("", "expert_", "shared_") for role in ("gate", "up", "down")}
LINEAR = frozenset({*_ATTENTION, *_MLP, "gate_up"})
"""Roles of modules that have a bias or not."""


def has_gate(roles: Iterable[str]) -> bool:
    """Return True where the MLPs of these modules multiply with a gate."""
    return not {*GATES, "gate_up"}.isdisjoint(roles)


def departed(
    modules: tuple[Module, ...], *, gated: bool, bias: bool | None, learned_positions: bool
) -> tuple[Module, ...]:
    """The modules with or without gates, biases (None: as they are) and a table of positions; the same if they agree.

    Names of modules that the family does not have are made like those of its own.
    """
    roles = {module.role for module in modules}
    if gated != has_gate(roles):
        modules = tuple(_gated(modules) if gated else _ungated(modules))
    if bias is not None:
        modules = tuple(module._replace(bias=bias) if module.role in LINEAR else module for module in modules)
    if learned_positions and not roles & POSITIONS:
        at = next(number for number, module in enumerate(modules) if module.role == "embedding") + 1
        parent = modules[at - 1].name.rpartition(".")[0]
        modules = (*modules[:at], Module("positions", f"{parent}.embed_positions"), *modules[at:])
    if not learned_positions:
        modules = tuple(module for module in modules if module.role not in POSITIONS)
    return modules


def _gated(modules: Iterable[Module]) -> Iterator[Module]:
    for module in modules:
        if module.role in ("up", "expert_up", "shared_up"):
            yield module._replace(role=module.role.replace("up", "gate"), name=f"{module.name}_gate")
        yield module


def _ungated(modules: Iterable[Module]) -> Iterator[Module]:
    for module in modules:
        if module.role == "gate_up":
            yield module._replace(role="up", name=module.name.replace("gate_up", "up"))
        elif module.role not in GATES:
            yield module
