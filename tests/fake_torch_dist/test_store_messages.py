"""Messages of stores as bytes, and a table that is asked nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.stores.messages import Kind, Message, decode, encode
from fake_torch_dist.stores.table import Table


@given(st.integers(0, 255), st.integers(-(2**63), 2**63 - 1), st.lists(st.binary(max_size=20), max_size=4))
def test_messages_arrive_as_they_left(kind: int, number: int, fields: list[bytes]):
    data = encode(Message(kind, number, fields))
    assert decode(data) == (kind, number, fields)
    with pytest.raises(ValueError, match=r"a message|a field"):
        decode(data + b"\0")


@given(st.binary(max_size=60))
def test_garbage_is_no_message_or_a_message(data: bytes):
    try:
        message = decode(data)
    except ValueError:
        return
    assert encode(message) == data


def test_a_table_refuses_what_is_no_request():
    table = Table()
    for message in (Message(99), Message(Kind.SET, 0, [b"odd"]), Message(Kind.ADD), Message(Kind.NUM_KEYS, 0, [b"x"])):
        with pytest.raises(ValueError, match="no such request"):
            table.answer(message)
    assert not table.values
