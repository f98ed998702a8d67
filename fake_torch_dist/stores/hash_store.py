"""``HashStore``: a store in this process."""

from __future__ import annotations

import time
from _queue import Empty, SimpleQueue  # not queue, as in ``lock``
from datetime import timedelta

from fake_torch_dist.stores.key_table import CHANGES, Table
from fake_torch_dist.stores.lock import Mutex
from fake_torch_dist.stores.message_store import MessageStore
from fake_torch_dist.stores.messages import Message
from fake_torch_dist.stores.timeouts import deadline_after, next_wait_s


class HashStore(MessageStore):
    """A dictionary in this process, for one process or its threads."""

    def __init__(self) -> None:
        self._table = Table()
        self._mutex = Mutex()
        self._waiting: list[SimpleQueue[None]] = []

    def _call(self, message: Message, timeout: timedelta) -> Message | None:
        with self._mutex:
            answer = self._table.answer(message)
            if message.kind in CHANGES:
                for waiting in self._waiting:
                    waiting.put(None)
            if answer is not None:
                return answer
            changed: SimpleQueue[None] = SimpleQueue()
            self._waiting.append(changed)
        deadline = deadline_after(timeout)
        try:
            while answer is None:
                try:
                    changed.get(timeout=next_wait_s(deadline))
                except Empty:
                    if deadline is not None and time.monotonic() >= deadline:
                        return None
                    continue
                with self._mutex:
                    answer = self._table.answer(message)
            return answer
        finally:
            with self._mutex:
                self._waiting.remove(changed)

    def clone(self) -> HashStore:
        made = HashStore()
        made._table, made._mutex, made._waiting = self._table, self._mutex, self._waiting
        made._timeout = self._timeout
        return made
