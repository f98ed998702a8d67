"""torch.distributed's surface over numpy arrays, without torch.

Processes that play one rank each, started by a launcher, use ndarrays as tensors::

    import numpy as np
    import fake_torch_dist as dist

    dist.init_process_group("gloo")
    x = np.full(3, float(dist.get_rank()))
    dist.all_reduce(x)
    dist.destroy_process_group()

In the *virtual world* this process plays every rank, and a tensor is a ``LocalTensor``, one ndarray with a leading axis
of ranks::

    dist.init_process_group("virtual", world_size=4)
    x = dist.LocalTensor.from_ranks(np.arange(4.0))
    dist.all_reduce(x)
    x.item()  # 6.0 on every rank

Ours and not torch's: ``LocalTensor``, ``shards_of``, ``fold``, ``fold_world``, ``VirtualOptions``, ``Future``.
A name of torch's that is missing here raises an AttributeError that says so.
"""

from __future__ import annotations

import os

# Nothing else is imported here: this runs before any program of the package can take Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fake_torch_dist.public import *  # noqa: F403 - every public name, for type checkers alone
else:  # a type checker that saw this would let every name pass

    def _is_submodule(name: str) -> bool:
        """``from . import errors`` looks here first, and takes the submodule when there is no such name."""
        return os.path.exists(os.path.join(os.path.dirname(__file__), f"{name}.py"))

    def __getattr__(name: str) -> Any:
        import importlib

        from fake_torch_dist.torch_names import TORCH_NAMES, TORCH_VERSION

        if name in TORCH_NAMES and _is_submodule(name):
            return importlib.import_module(f".{name}", __name__)
        if (name.startswith("__") and name != "__all__") or _is_submodule(name):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        public = importlib.import_module(".public", __name__)
        if name == "__all__" or name in public.__all__ or name in public.PRIVATE:
            found = getattr(public, name)
            globals()[name] = found
            return found
        if name in TORCH_NAMES:
            raise AttributeError(
                f"fake_torch_dist has no {name!r} yet; torch.distributed {TORCH_VERSION} does. "
                "What is there: fake_torch_dist.__all__"
            )
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
