"""``fail_store``: the store of a launched job really fails, and a call of each rank to it meets that.

As torch's monitor threads do, a rank asks the store over a connection of its own.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from fake_torch_dist.launcher.environment_names import STORE

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session

SIGN = "should dump"
"""Key that torch's monitor asks for."""
LIMIT = timedelta(seconds=30)
SHORTEST_S, LONGEST_S = 0.05, 1.0
"""Real seconds for which a slow store answers nobody at the least and at the most, as steps do not wait for it."""


def fail_store(session: Session, how: str, seconds: float) -> str:
    """In all ranks at once: let the launcher's store fail in the way ``how``. Returns the error of this rank's call.

    A ``slow`` store answers after so many ``seconds``, and there is no error; nor is one without a launcher of ours.
    """
    if not os.environ.get(STORE):
        return ""
    import fake_torch_dist as dist
    from fake_torch_dist.distributed_c10d import _get_default_store
    from fake_torch_dist.errors import DistNetworkError
    from fake_torch_dist.stores.prefix_store import PrefixStore
    from fake_torch_dist.stores.server import TROUBLE
    from fake_torch_dist.stores.tcp_store import TCPStore

    store = _get_default_store()
    store = store._underlying_non_prefix_store if isinstance(store, PrefixStore) else store
    if not isinstance(store, TCPStore):
        return ""
    with session.signals.at_once():
        client = store.clone()
        client.set_timeout(LIMIT)
        dist.barrier()
        if session.is_main_process:
            with suppress(DistNetworkError):  # the asker's connection is closed, too
                client.set(TROUBLE, how)
        dist.barrier()
        if how == "slow" and session.is_main_process:
            time.sleep(min(max(seconds, SHORTEST_S), LONGEST_S))
            client.set(TROUBLE, "over")
        try:
            client.check([SIGN])
        except DistNetworkError as error:
            return str(error)
        finally:
            client.close()
    return ""
