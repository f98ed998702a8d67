"""Contacts of ranks as bytes: whole, short, and few of them parsed."""

from __future__ import annotations

import pytest

from fake_torch_dist.meeting.rank_values import RankValues
from fake_torch_dist.transports.contacts import HOST_BYTES, NAME_BYTES, Contact, Contacts

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


def contacts_on(host: bytes, all_of: list[Contact]) -> Contacts:
    """The contacts as a rank of this host gets them from a store of any kind."""
    return Contacts(RankValues.of_table([each.host + each.packed() for each in all_of], host))


def test_each_rank_is_found_and_the_ranks_of_each_host():
    all_of = [contact(rank, HERE if rank % 3 else THERE) for rank in range(10)]
    contacts = contacts_on(THERE, all_of)
    assert [contacts[rank] for rank in range(len(contacts))] == all_of
    assert contacts.near == [0, 3, 6, 9]
    assert contacts_on(HERE, all_of).near == [1, 2, 4, 5, 7, 8]


def test_ranks_of_a_host_that_follow_each_other_are_a_range():
    """It takes no memory for each rank."""
    all_of = [contact(rank, HERE if rank < 4 else THERE) for rank in range(6)]
    assert contacts_on(HERE, all_of).near == range(4)
    assert contacts_on(THERE, all_of).near == range(4, 6)


def test_addresses_that_ranks_bring_later_are_those_of_their_contacts():
    all_of = [contact(rank, bytes([rank]) * HOST_BYTES) for rank in range(3)]
    host = all_of[1].host
    names = RankValues.of_table([each.host + each.packed() for each in all_of], host)
    addresses = RankValues.of_table([each.host + b"10.0.0.%d:7" % each.host[0] for each in all_of], host)
    contacts = Contacts(names, addresses)
    assert [contacts[rank].tcp for rank in range(3)] == ["10.0.0.0:7", "10.0.0.1:7", "10.0.0.2:7"]
    assert contacts.near == range(1, 2)


def test_contacts_that_are_closed_ask_for_no_more():
    all_of = [contact(rank, HERE) for rank in range(3)]
    contacts = contacts_on(HERE, all_of)
    contacts.fetch([1])
    contacts.close()
    assert contacts[1] == all_of[1]
    with pytest.raises(ConnectionError, match=r"ranks \[2\] cannot be had .* has left the world"):
        contacts.fetch([1, 2])


def test_a_contact_takes_few_bytes_as_many_ranks_get_those_of_all():
    assert len(contact(1).packed()) <= 40


def test_two_ranks_have_sockets_of_different_names():
    assert contact(1).unix != contact(2).unix
    assert contact(1).unix.startswith("\0")
