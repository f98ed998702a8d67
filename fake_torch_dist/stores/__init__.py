"""Key-value stores, by which ranks find each other; each in the module of its name.

Operations are ``messages``, and ``key_table`` defines the meaning of each; so a dictionary in this process, a log in a
file and a server behind a socket give the same answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fake_torch_dist.stores.base import QueueEmptyError, Store
from fake_torch_dist.stores.file_store import FileStore
from fake_torch_dist.stores.hash_store import HashStore
from fake_torch_dist.stores.prefix_store import PrefixStore

__all__ = ["FileStore", "HashStore", "PrefixStore", "QueueEmptyError", "Store", "TCPStore"]

if TYPE_CHECKING:
    from fake_torch_dist.stores.tcp_store import TCPStore
else:

    def __getattr__(name: str) -> Any:
        """``TCPStore`` on first use: the others work on systems without sockets."""
        if name != "TCPStore":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from fake_torch_dist.stores.tcp_store import TCPStore

        return TCPStore
