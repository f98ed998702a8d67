"""``lazy_names``: makes the ``__getattr__`` of a package that loads its modules when their names are first used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module

from fake_torch_dist.default_sigint import DefaultSigint


def lazy_names(
    package: str,
    homes: Mapping[str, Collection[str]],
    *,
    together: Collection[str] = (),
    without_meaning: Mapping[str, str] | None = None,
) -> Callable[[str], object]:
    """Return a ``__getattr__`` for ``package`` that loads the module of a name, with SIGINT's default action meanwhile.

    ``homes`` has the names by their module in accelerate_sim. The modules in ``together`` are loaded at once, so that
    nothing happens between them. ``without_meaning`` has names that are refused, and the reason.
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def load(name: str) -> object:
        if name not in home_of:
            reason = (without_meaning or {}).get(name)
            if reason:
                raise AttributeError(f"{package}.{name} has no meaning here: {reason}")
            raise AttributeError(f"{package} has no {name!r}; what is there: {package}.__all__")
        home = home_of[name]
        namespace = vars(sys.modules[package])
        with DefaultSigint():
            for each in together if home in together else (home,):
                module = import_module(f"accelerate_sim.{each}")
                namespace.update({found: getattr(module, found) for found in homes[each]})
        return namespace[name]

    return load
