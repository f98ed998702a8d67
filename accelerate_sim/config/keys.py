"""Looks up keys in the schema and in raw configs, and guesses the key that a misspelt one means."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from accelerate_sim.config.schema import RunConfig

KeyPath = tuple[str, ...]

OTHER_NAMES = {
    "learning_rate": "lr", "batch": "global_batch", "batch_size": "global_batch", "global_batch_size": "global_batch",
    "gpus": "gpus_per_node", "num_gpus": "gpus_per_node", "n_gpus": "gpus_per_node", "ngpus": "gpus_per_node",
    "gpu_type": "gpu", "machines": "nodes", "hosts": "nodes", "n_nodes": "nodes", "train_iters": "steps_per_epoch",
    "micro_batch_size": "micro_batch", "train_batch_size": "global_batch", "seq_len": "sequence_length",
    "seq_length": "sequence_length", "max_seq_length": "sequence_length", "num_train_epochs": "epochs",
    "max_steps": "steps_per_epoch", "steps": "steps_per_epoch", "warmup": "warmup_steps", "grad_clip": "max_grad_norm",
    "clip_grad": "max_grad_norm", "lr_scheduler": "schedule", "lr_scheduler_type": "schedule", "dtype": "precision",
    "activation_checkpointing": "recompute", "nnodes": "nodes", "num_nodes": "nodes", "nproc_per_node": "gpus_per_node",
    "rampup_batch_size": "batch_ramp", "tp": "tensor", "pp": "pipeline", "cp": "context", "ep": "expert",
    "optim": "optimizer",
    "vpp": "virtual_stages", "zero_stage": "sharding", "strategy": "sharding", "name": "dataset", "random_seed": "seed",
    "save_steps": "every", "logging_steps": "every", "eval_steps": "every", "save_total_limit": "keep_last",
}  # fmt: skip
"""Last word of our key, by the name that another training program has for it."""


def dotted(path: KeyPath) -> str:
    """The key as text: ``train.lr``."""
    return ".".join(path)


def path_of(key: str) -> KeyPath:
    """The path of a dotted key."""
    return tuple(key.split("."))


@cache
def all_keys() -> tuple[str, ...]:
    """Every dotted key that takes a value, in the order of the schema."""
    return tuple(_keys(RunConfig))


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section and name != "model":
            yield from _keys(section, f"{prefix}{name}.")
        else:
            yield prefix + name


@cache
def field_at(path: KeyPath) -> FieldInfo | None:
    """The schema's field at ``path``; None if there is no such key."""
    model: type[BaseModel] | None = RunConfig
    field = None
    for name in path:
        field = model.model_fields.get(name) if model else None
        if field is None:
            return None
        model = _section(field.annotation)
    return field


def _section(annotation: Any) -> type[BaseModel] | None:
    """The pydantic model among the branches of a type; None without one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section, get_args(annotation))), None)


def meant(path: KeyPath) -> str | None:
    """The known key that is most like ``path``; None if none is like it."""
    siblings = _siblings(path[:-1])
    name = OTHER_NAMES.get(path[-1].lower(), path[-1].lower())
    if (*path[:-1], name) != path and name in siblings:
        return dotted((*path[:-1], name))
    elsewhere = next((key for key in all_keys() if key.rpartition(".")[2] == name), None)
    if elsewhere and elsewhere != dotted(path):
        return elsewhere
    near = max(siblings, key=lambda key: _likeness(name, key), default="")
    if near and _likeness(name, near) >= 0.6:
        return dotted((*path[:-1], near))
    anywhere = max(all_keys(), key=lambda key: _likeness(name, key.rpartition(".")[2]))
    return anywhere if _likeness(name, anywhere.rpartition(".")[2]) >= 0.75 else None


def _siblings(parent: KeyPath) -> list[str]:
    if not parent:
        return list(RunConfig.model_fields)
    field = field_at(parent)
    section = _section(field.annotation) if field else None
    return list(section.model_fields) if section else []


def _likeness(written: str, key: str) -> float:
    """Likeness of two keys, about 0..1, from common letters and from the share of the key's words that were written."""
    words = key.split("_")
    shared = sum(word in written[:100].split("_") for word in words) / len(words)
    return SequenceMatcher(None, written[:100], key).ratio() + 0.4 * shared


def value_at(data: Mapping[str, Any], path: KeyPath) -> Any:
    """The value of a raw config at ``path``; None if there is none."""
    value: Any = data
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def without(data: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
    """A copy of a raw config that does not have ``path``."""
    name, *rest = path
    inner = data.get(name)
    if rest and isinstance(inner, Mapping):
        return {**data, name: without(inner, tuple(rest))}
    return {key: value for key, value in data.items() if key != name}


def with_value(data: Mapping[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    """A copy of a raw config that has ``value`` at ``path``."""
    name, *rest = path
    if not rest:
        return {**data, name: value}
    inner = data.get(name)
    return {**data, name: with_value(inner if isinstance(inner, Mapping) else {}, tuple(rest), value)}


def overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Two raw configs in one: sections key by key, everything else from ``over`` where it has it."""
    both = dict(base)
    for name, value in over.items():
        below = base.get(name)
        if name != "model" and isinstance(below, Mapping) and isinstance(value, Mapping):
            both[name] = {**below, **value}
        elif value is not None or not isinstance(below, Mapping):  # a section without keys changes nothing
            both[name] = value
    return both
