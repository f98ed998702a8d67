"""The state of a run between two attempts of a job without an output directory: a key of the launcher's store."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelerate_sim.checkpoints.attempt_file import SavedAttemptEnd
from fake_torch_dist.launcher.environment_names import STORE
from fake_torch_dist.stores.server import NO_RESTART

if TYPE_CHECKING:
    from fake_torch_dist.stores.tcp_store import TCPStore

KEY = "outlives restarts/attempt"
"""Keys that begin so are not forgotten when the ranks start again."""
ASKED = "outlives restarts/faults asked for"


def keep(end: SavedAttemptEnd) -> None:
    """Leave the state with the launcher; without one of ours nothing is kept."""
    if store := _store():
        store.set(KEY, end.text())


def find() -> SavedAttemptEnd | None:
    """The state that an earlier attempt has left; None if none has."""
    store = _store()
    if store is None or not store.check([KEY]):
        return None
    return SavedAttemptEnd.of(json.loads(store.get(KEY)))


def keep_asked(run: int, words: Sequence[str]) -> None:
    """Leave the words of the faults that a run was asked for while it ran."""
    if store := _store():
        store.set(ASKED, json.dumps({"run": run, "words": words}).encode())


def find_asked(run: int) -> tuple[str, ...]:
    """The words of the faults that the run was asked for in earlier attempts."""
    store = _store()
    if store is None or not store.check([ASKED]):
        return ()
    kept = json.loads(store.get(ASKED))
    return tuple(kept["words"]) if kept["run"] == run else ()


def end_for_good() -> None:
    """Let the launcher start the job no more, as it could not run: a GPU is gone that does not come back."""
    if store := _store():
        store.set(NO_RESTART, b"1")


def _store() -> TCPStore | None:
    address = os.environ.get(STORE)
    if not address:
        return None
    from fake_torch_dist.stores.tcp_store import TCPStore

    host, _, port = address.rpartition(":")
    return TCPStore(host.strip("[]"), int(port), is_master=False, wait_for_workers=False)
