"""Close store connections in forked children, which would keep alive a server that only the parent uses."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Closable(Protocol):
    """An object that holds a descriptor."""

    def close(self) -> None:
        """Close the descriptor."""


_not_for_children: set[weakref.ref[Closable]] = set()


def keep_from_children(owner: Closable) -> None:
    """Close ``owner`` in every child that this process forks, so that the child does not keep the server alive."""
    _not_for_children.add(weakref.ref(owner, _not_for_children.discard))


def _close_in_child() -> None:
    for reference in list(_not_for_children):
        owner = reference()
        if owner is not None:
            owner.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
