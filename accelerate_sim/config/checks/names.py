"""Checks that the catalog has the names in a config."""

from collections.abc import Callable, Iterator

from accelerate_sim import catalog
from accelerate_sim.catalog import UnknownName
from accelerate_sim.config.problems import Problem, shown
from accelerate_sim.config.schema import RunConfig

NAMES: dict[str, Callable[[], list[str]]] = {
    "model": catalog.model_names,
    "cluster.gpu": catalog.gpu_names,
    "data.dataset": catalog.dataset_names,
    "train.stack": catalog.stack_names,
}
"""Keys whose value is a name in the catalog."""
LOOK_UPS: dict[str, Callable[[str], object]] = {
    "model": catalog.model,
    "cluster.gpu": catalog.gpu,
    "data.dataset": catalog.dataset,
    "train.stack": catalog.stack,
}


def unknown_names(config: RunConfig) -> Iterator[Problem]:
    """Problems with models, GPUs and datasets that the catalog does not have."""
    names = [
        ("cluster.gpu", config.cluster.gpu),
        ("data.dataset", config.data.dataset),
        ("train.stack", config.train.stack),
    ]
    if isinstance(config.model, str):
        names.insert(0, ("model", config.model))
    for key, name in names:
        if problem := unknown_name(key, name):
            yield problem


def unknown_name(key: str, name: str) -> Problem | None:
    """The problem with a name that the catalog does not have; None if it has."""
    try:
        LOOK_UPS[key](name)
    except UnknownName as error:
        # H100 is guessed as H100-SXM and not as H800, which has as many letters in common.
        longer = [known for known in NAMES[key]() if known.lower().startswith(name.lower())]
        guesses = sorted(longer, key=len) or error.suggestions
        close = f"Did you mean '{guesses[0]}'? " if guesses else ""
        kind = {"gpu": "GPU", "stack": "software"}.get(error.kind, error.kind)
        if error.kind == "stack":  # --list has no table of these
            return Problem.about(key, shown(name), f"is unknown {kind}", f"{close}Use one of {NAMES[key]()}.")
        return Problem.about(key, shown(name), f"is an unknown {kind}", f"{close}--list {error.kind}s shows all.")
    return None
