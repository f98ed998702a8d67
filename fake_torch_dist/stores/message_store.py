"""``MessageStore``: a store that turns every operation into a message and asks for the answer.

``HashStore``, ``FileStore`` and ``TCPStore`` are such stores; each finds the answers in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fake_torch_dist.errors import DistStoreError
from fake_torch_dist.stores.base import LENGTHS_DIFFER, QueueEmptyError, Store
from fake_torch_dist.stores.keys_and_values import Text, as_bytes, as_int64, as_list_of_bytes
from fake_torch_dist.stores.messages import Kind, Message
from fake_torch_dist.stores.timeouts import as_timeout, milliseconds

# torch 2.13.0
QUEUE_EMPTY = "queue is empty"  # QueueEmptyError
WAIT_TIMEOUT = "Wait timeout after {ms}ms, keys: {keys}"  # DistStoreError; torch ends after the second word


class MessageStore(Store):
    """A store all of whose operations are messages. Ours; a subclass defines ``_call``."""

    _KEY_PREFIX: bytes = b""
    """A prefix of all users' keys, which separates them from keys of the store's own."""

    def _call(self, message: Message, timeout: timedelta) -> Message | None:
        """The answer, whatever its kind; None if there was none within ``timeout``."""
        raise NotImplementedError

    def _timed_out(self, message: Message, timeout: timedelta) -> DistStoreError:
        names = ", ".join(key.decode("utf-8", "surrogateescape") for key in message.fields)
        return DistStoreError(WAIT_TIMEOUT.format(ms=milliseconds(timeout), keys=names))

    def _ask(self, kind: Kind, number: int, fields: Sequence[bytes], timeout: timedelta | None = None) -> Message:
        timeout = self._timeout if timeout is None else timeout
        message = Message(kind, number, fields)
        answer = self._call(message, timeout)
        if answer is None:
            raise self._timed_out(message, timeout)
        if answer.kind == Kind.EMPTY:
            raise QueueEmptyError(QUEUE_EMPTY)
        if answer.kind == Kind.REFUSED:
            raise ValueError(answer.fields[0].decode("utf-8", "replace"))
        return answer

    def _key(self, call: str, key: object) -> bytes:
        return self._KEY_PREFIX + as_bytes(call, "key", key)

    def _keys(self, call: str, keys: object) -> list[bytes]:
        return [self._KEY_PREFIX + key for key in as_list_of_bytes(call, "keys", keys)]

    def set(self, key: Text, value: Text) -> None:
        self._ask(Kind.SET, 0, (self._key("set", key), as_bytes("set", "value", value)))

    def get(self, key: Text) -> bytes:
        return self._ask(Kind.GET, 0, (self._key("get", key),)).fields[0]

    def add(self, key: Text, value: int) -> int:
        number = as_int64("add", "value", value)
        return self._ask(Kind.ADD, number, (self._key("add", key),)).number

    def check(self, keys: Sequence[Text]) -> bool:
        return bool(self._ask(Kind.CHECK, 0, self._keys("check", keys)).number)

    def compare_set(self, key: Text, expected_value: Text, desired_value: Text) -> bytes:
        expected = as_bytes("compare_set", "expected_value", expected_value)
        desired = as_bytes("compare_set", "desired_value", desired_value)
        return self._ask(Kind.COMPARE_SET, 0, (self._key("compare_set", key), expected, desired)).fields[0]

    def delete_key(self, key: Text) -> bool:
        return bool(self._ask(Kind.DELETE, 0, (self._key("delete_key", key),)).number)

    def num_keys(self) -> int:
        return self._ask(Kind.NUM_KEYS, 0, ()).number

    def wait(self, keys: Sequence[Text], timeout: timedelta | None = None) -> None:
        limit = None if timeout is None else as_timeout("wait", timeout)
        self._ask(Kind.WAIT, 0, self._keys("wait", keys), limit)

    def append(self, key: Text, value: Text) -> None:
        self._ask(Kind.APPEND, 0, (self._key("append", key), as_bytes("append", "value", value)))

    def multi_get(self, keys: Sequence[Text]) -> list[bytes]:
        return list(self._ask(Kind.GET, 0, self._keys("multi_get", keys)).fields)

    def multi_set(self, keys: Sequence[Text], values: Sequence[Text]) -> None:
        names, contents = self._keys("multi_set", keys), as_list_of_bytes("multi_set", "values", values)
        if len(names) != len(contents):
            raise DistStoreError(LENGTHS_DIFFER)
        if names:
            self._ask(Kind.SET, 0, [field for pair in zip(names, contents, strict=True) for field in pair])

    def list_keys(self) -> list[str]:
        prefix = self._KEY_PREFIX
        found = self._ask(Kind.LIST_KEYS, 0, ()).fields
        return [key[len(prefix) :].decode("utf-8", "surrogateescape") for key in found if key.startswith(prefix)]

    def queue_push(self, key: Text, value: Text) -> None:
        self._ask(Kind.PUSH, 0, (self._key("queue_push", key), as_bytes("queue_push", "value", value)))

    def queue_pop(self, key: Text, block: bool = True) -> bytes:
        return self._ask(Kind.POP, bool(block), (self._key("queue_pop", key),)).fields[0]

    def queue_len(self, key: Text) -> int:
        return self._ask(Kind.QUEUE_LEN, 0, (self._key("queue_len", key),)).number

    def has_extended_api(self) -> bool:
        return True
