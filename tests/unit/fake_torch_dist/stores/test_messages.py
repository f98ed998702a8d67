"""Messages of stores as bytes, and a table that is asked nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.stores.key_table import Table
from fake_torch_dist.stores.messages import Kind, Message, decode, encode


@given(fields=st.lists(st.binary(max_size=5), min_size=9, max_size=20), begin=st.integers(-25, 25))
def test_many_fields_are_a_sequence_as_any_other(fields: list[bytes], begin: int):
    """They are cut out of their message only when asked for."""
    decoded = decode(encode(Message(Kind.DONE, 0, fields))).fields
    assert not isinstance(decoded, list) and decoded == fields and decoded != fields[1:]
    assert list(decoded) == fields and decoded[-1] == fields[-1] and decoded[begin:] == fields[begin:]
    with pytest.raises(IndexError):
        decoded[len(fields)]


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
