"""``Table``: the meaning of every operation of a store, for dictionaries, files and servers alike.

What this module does not do: wait (a store does), torch's wrap-around of ``add`` beyond 64 bits and its reading of
b"12abc" as 12 (both are refused here).
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from fake_torch_dist.stores.messages import Kind, Message

CHANGES: Final = frozenset({Kind.SET, Kind.ADD, Kind.APPEND, Kind.COMPARE_SET, Kind.DELETE, Kind.PUSH, Kind.POP})
"""Kinds of messages that can change a table."""

_WHOLE_NUMBER: Final = re.compile(rb"\s*[+-]?[0-9]+\s*")
_DONE: Final = Message(Kind.DONE)


class Table:
    """Values and queues by key, and the effect of every kind of message on them."""

    __slots__ = ("queues", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.queues: dict[bytes, deque[bytes]] = {}

    def answer(self, message: Message) -> Message | None:
        """The answer; None if the message has to wait for the key ``blocker(message)``. ValueError for a malformed
        message."""
        kind, number, fields = message
        values = self.values
        match kind:
            case Kind.SET if fields and len(fields) % 2 == 0:
                values.update(zip(fields[::2], fields[1::2], strict=True))
                return _DONE
            case Kind.GET:
                if any(key not in values for key in fields):
                    return None
                return Message(Kind.DONE, 0, [values[key] for key in fields])
            case Kind.ADD if len(fields) == 1:
                return self._add(fields[0], number)
            case Kind.APPEND if len(fields) == 2:
                values[fields[0]] = values.get(fields[0], b"") + fields[1]
                return _DONE
            case Kind.COMPARE_SET if len(fields) == 3:
                key, expected, desired = fields
                if values.get(key, b"") == expected and (key in values or not expected):
                    values[key] = desired
                return Message(Kind.DONE, 0, [values.get(key, expected)])
            case Kind.CHECK:
                return Message(Kind.DONE, self.blocker(message) is None)
            case Kind.WAIT:
                return _DONE if self.blocker(message) is None else None
            case Kind.DELETE if len(fields) == 1:
                return Message(Kind.DONE, values.pop(fields[0], None) is not None)
            case Kind.NUM_KEYS if not fields:
                return Message(Kind.DONE, len(values))
            case Kind.LIST_KEYS if not fields:
                return Message(Kind.DONE, 0, list(values))
            case Kind.PUSH if len(fields) == 2:
                self.queues.setdefault(fields[0], deque()).append(fields[1])
                return _DONE
            case Kind.POP if len(fields) == 1:
                return self._pop(fields[0], bool(number))
            case Kind.QUEUE_LEN if len(fields) == 1:
                return Message(Kind.DONE, len(self.queues.get(fields[0], ())))
            case Kind.WAIT_COUNT if len(fields) == 1:
                return _DONE if self.blocker(message) is None else None
        raise ValueError(f"no such request: {kind} with {len(fields)} fields")

    def blocker(self, message: Message) -> bytes | None:
        """The first key that ``message`` would wait for; None if all that it needs is there."""
        kind, number, fields = message
        if kind == Kind.WAIT_COUNT:
            count = self.values.get(fields[0], b"0")
            return None if _WHOLE_NUMBER.fullmatch(count) and int(count) >= number else fields[0]
        for key in fields:
            there = key in self.values if kind != Kind.POP else key in self.queues
            if not there and (kind not in (Kind.WAIT, Kind.CHECK) or key not in self.queues):
                return key
        return None

    def _add(self, key: bytes, number: int) -> Message:
        value = self.values.get(key) or b"0"
        if not _WHOLE_NUMBER.fullmatch(value) or len(value) > 64:
            return _refusal(f"add: the value of key {_shown(key)} is {value[:40]!r}, which is not a whole number")
        total = int(value) + number
        if not -(2**63) <= total < 2**63:
            return _refusal(f"add: the value of key {_shown(key)} would be {total}, which needs more than 64 bits")
        self.values[key] = b"%d" % total
        return Message(Kind.DONE, total)

    def _pop(self, key: bytes, block: bool) -> Message | None:
        queue = self.queues.get(key)
        if queue is None:
            return None if block else Message(Kind.EMPTY)
        value = queue.popleft()
        if not queue:
            del self.queues[key]
        return Message(Kind.DONE, 0, [value])


def _refusal(text: str) -> Message:
    return Message(Kind.REFUSED, 0, [text.encode()])


def _shown(key: bytes) -> str:
    return repr(key.decode("utf-8", "surrogateescape"))
