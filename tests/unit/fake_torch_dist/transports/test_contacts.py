"""Contacts of ranks as bytes: whole, short, and few of them parsed."""

from __future__ import annotations

import pytest

from fake_torch_dist.transports.wire import HOST_BYTES, NAME_BYTES, Contact, Contacts

HERE, THERE = bytes(HOST_BYTES), b"\1" * HOST_BYTES


def contact(rank: int, host: bytes = HERE, tcp: str = "") -> Contact:
    return Contact(host, 4_000_000 + rank, rank.to_bytes(NAME_BYTES, "big"), tcp)


@pytest.mark.parametrize("tcp", ["", "10.0.0.7:41234", "[fe80::1%eth0]:65535"])
@pytest.mark.parametrize("rest", [b"", b"\0\n what a rank adds"])
def test_a_contact_comes_out_of_its_bytes_with_what_follows_it(tcp: str, rest: bytes):
    whole = contact(7, THERE, tcp)
    assert Contact.parse(whole.packed() + rest) == (whole, rest)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.0\r\n\r\n", bytes(HOST_BYTES)])
def test_too_few_bytes_are_no_contact(data: bytes):
    with pytest.raises(ValueError, match=f"a contact of {len(data)} bytes"):
        Contact.parse(data)


def test_each_rank_is_found_and_the_ranks_of_each_host():
    all_of = [contact(rank, HERE if rank % 3 else THERE) for rank in range(10)]
    contacts = Contacts([each.packed() for each in all_of])
    assert [contacts[rank] for rank in range(len(contacts))] == all_of
    assert contacts.on_host(THERE) == [0, 3, 6, 9]
    assert contacts.on_host(b"\2" * HOST_BYTES) == []


def test_ranks_of_a_host_that_follow_each_other_are_a_range():
    """It takes no memory for each rank."""
    contacts = Contacts([contact(rank, HERE if rank < 4 else THERE).packed() for rank in range(6)])
    assert contacts.on_host(HERE) == range(4)
    assert contacts.on_host(THERE) == range(4, 6)


def test_a_contact_takes_few_bytes_as_all_ranks_get_those_of_all():
    assert len(contact(1).packed()) <= 40


def test_two_ranks_have_sockets_of_different_names():
    assert contact(1).unix != contact(2).unix
    assert contact(1).unix.startswith("\0")
