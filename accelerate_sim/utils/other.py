"""Small functions of ``accelerate.utils``: environment variables, files, generators."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TRUE, FALSE = {"y", "yes", "t", "true", "on", "1"}, {"n", "no", "f", "false", "off", "0"}


def str_to_bool(value: str, to_bool: bool = False) -> int | bool:
    """1 or 0 for a word that means yes or no, or True or False. ValueError for another word."""
    word = value.lower()
    if word not in TRUE | FALSE:
        raise ValueError(f"invalid truth value {word}")
    return word in TRUE if to_bool else int(word in TRUE)


def parse_flag_from_env(key: str, default: bool = False) -> bool:
    """An environment variable that means yes or no."""
    return str_to_bool(os.environ.get(key, str(default))) == 1


def parse_choice_from_env(key: str, default: str = "no") -> str:
    """An environment variable, or ``default``."""
    return os.environ.get(key, str(default))


@contextmanager
def patch_environment(**kwargs: Any) -> Iterator[None]:
    """Context with these environment variables, whose names are made upper case."""
    before = {key.upper(): os.environ.get(key.upper()) for key in kwargs}
    os.environ.update({key.upper(): str(value) for key, value in kwargs.items()})
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@contextmanager
def clear_environment() -> Iterator[None]:
    """Context without environment variables."""
    before = dict(os.environ)
    os.environ.clear()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def merge_dicts(source: Mapping[str, Any], destination: dict[str, Any]) -> dict[str, Any]:
    """``destination`` with the entries of ``source``, merged where both have a mapping."""
    for key, value in source.items():
        if isinstance(value, Mapping):
            merge_dicts(value, destination.setdefault(key, {}))
        else:
            destination[key] = value
    return destination


def listify(data: Any) -> Any:
    """Tensors in nested lists, tuples and dicts as Python numbers and lists."""
    from accelerate_sim.own_script.nested_tensors import recursively_apply

    return recursively_apply(lambda tensor: tensor.tolist(), data)


def is_cuda_available() -> bool:
    """True: the run's GPUs are simulated."""
    return True


def extract_model_from_parallel(
    model: Any, keep_fp32_wrapper: bool = True, keep_torch_compile: bool = True, recursive: bool = False
) -> Any:
    """The model itself, which is not wrapped here."""
    return model


def wait_for_everyone() -> None:
    """No rank goes on before all are here."""
    from accelerate_sim.state import PartialState

    PartialState().wait_for_everyone()


def save(obj: Any, f: Any, save_on_each_node: bool = False, safe_serialization: bool = False) -> None:
    """Pickle an object to a path, once for all ranks or once for each machine. ValueError for safetensors."""
    from accelerate_sim.own_script.checkpoints import write_pickle
    from accelerate_sim.state import PartialState

    if safe_serialization:
        raise ValueError("safe_serialization needs torch's tensors: leave it out, and the object is pickled")
    state = PartialState()
    if state.is_local_main_process if save_on_each_node else state.is_main_process:
        write_pickle(Path(f), obj)


def load(f: Any, map_location: Any = None, **kwargs: Any) -> Any:
    """The object of a file that ``save`` has written. Unpickling runs code: load only files that you have made."""
    from accelerate_sim.own_script.checkpoints import read_pickle

    return read_pickle(Path(f))


def synchronize_rng_states(rng_types: Sequence[Any] = (), generator: Any = None) -> None:
    """Give all ranks rank 0's random states, of Python and of numpy's global generator."""
    from accelerate_sim.own_script.checkpoints import random_states, set_random_states
    from accelerate_sim.own_script.gathering import broadcast_object_list

    states = [random_states()]
    broadcast_object_list(states)
    set_random_states(states[0])
