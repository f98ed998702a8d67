"""Batch sizes that fit, found by trying, and objects that are let go."""

from __future__ import annotations

import functools
import gc
import inspect
from collections.abc import Callable
from typing import Any

OUT_OF_MEMORY = ("out of memory", "CUDNN_STATUS_NOT_SUPPORTED", "can't allocate memory")


def release_memory(*objects: Any) -> list[None]:
    """None for each object, to be assigned in place of it; objects without another reference are freed."""
    gc.collect()
    return [None] * len(objects)


def should_reduce_batch_size(exception: Exception) -> bool:
    """True if an error says that memory was short."""
    if isinstance(exception, MemoryError):
        return True
    return isinstance(exception, RuntimeError) and any(text in str(exception) for text in OUT_OF_MEMORY)


def find_executable_batch_size(
    function: Callable[..., Any] | None = None,
    starting_batch_size: int = 128,
    reduce_batch_size_fn: Callable[[], int] | None = None,
) -> Callable[..., Any]:
    """Decorator: call the function with a batch size first, nine tenths of it after each shortage of memory.

    TypeError if the caller hands in a batch size; RuntimeError when none is left.
    """
    if function is None:
        return functools.partial(
            find_executable_batch_size,
            starting_batch_size=starting_batch_size,
            reduce_batch_size_fn=reduce_batch_size_fn,
        )
    size = starting_batch_size

    @functools.wraps(function)
    def tried(*args: Any, **kwargs: Any) -> Any:
        nonlocal size
        names = list(inspect.signature(function).parameters)
        if len(names) < len(args) + 1:
            given = ", ".join(f"{name}={value}" for name, value in zip(names[1:], args[1:], strict=False))
            raise TypeError(
                f"Batch size was passed into `{function.__name__}` as the first argument when called."
                f"Remove this as the decorator already does so: `{function.__name__}({given})`"
            )
        while size:
            try:
                return function(size, *args, **kwargs)
            except Exception as error:
                if not should_reduce_batch_size(error):
                    raise
            gc.collect()
            size = reduce_batch_size_fn() if reduce_batch_size_fn else int(size * 0.9)
        raise RuntimeError("No executable batch size found, reached zero.")

    return tried
