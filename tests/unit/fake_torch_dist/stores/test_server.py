"""The server: who waits is answered, and gatherings end when the last has come."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest

from fake_torch_dist.stores import gatherings
from fake_torch_dist.stores.authentication import Greeting
from fake_torch_dist.stores.gatherings import Gathered, packed_ranks
from fake_torch_dist.stores.messages import Kind, Message
from fake_torch_dist.stores.server import StoreServer
from tests.support.store_peer import Peer, comes_true

# -- waiting ----------------------------------------------------------------------------------------------------------


def test_nothing_to_do_is_nothing_readable(server: StoreServer):
    peer = Peer(server)
    assert peer.gets_nothing(Message(Kind.WAIT, 0, [b"a"]))
    assert not select.select([server.fileno()], [], [], 0.05)[0]


def test_who_waits_is_answered_when_the_last_key_comes(server: StoreServer):
    peer, other = Peer(server), Peer(server)
    peer.send(Message(Kind.GET, 0, [b"a", b"b", b"c"]))
    for key in (b"c", b"a", b"b"):
        assert peer.gets_nothing()
        other.ask(Message(Kind.SET, 0, [key, key * 2]))
    assert peer.read() == Message(Kind.DONE, 0, [b"aa", b"bb", b"cc"])


def test_the_first_who_waits_gets_the_first_of_the_queue(server: StoreServer):
    first, second, third, other = (Peer(server) for _ in range(4))
    for peer in (first, second, third):
        assert peer.gets_nothing(Message(Kind.POP, 1, [b"q"]))
    assert third.ask(Message(Greeting.WITHDRAW)) == Message(Kind.DONE, 0, [])
    first.sock.close()
    assert comes_true(server, lambda: server.num_clients == 3)
    for value in (b"1", b"2"):
        other.ask(Message(Kind.PUSH, 0, [b"q", value]))
    assert second.read() == Message(Kind.DONE, 0, [b"1"])
    assert third.gets_nothing()
    assert other.ask(Message(Kind.QUEUE_LEN, 0, [b"q"])) == Message(Kind.DONE, 1, [])


def test_whatever_is_sent_withdraws_what_waits(server: StoreServer):
    peer, other = Peer(server), Peer(server)
    assert peer.gets_nothing(Message(Kind.GET, 0, [b"a"]))
    assert peer.ask(Message(Kind.ADD, 2, [b"n"])) == Message(Kind.DONE, 2, [])
    other.ask(Message(Kind.SET, 0, [b"a", b"1"]))
    assert peer.gets_nothing()
    assert not server._parked


def test_waiting_for_a_count(server: StoreServer):
    peer, other = Peer(server), Peer(server)
    peer.send(Message(Kind.WAIT_COUNT, 2, [b"n"]))
    other.ask(Message(Kind.ADD, 1, [b"n"]))
    assert peer.gets_nothing()
    other.ask(Message(Kind.ADD, 1, [b"n"]))
    assert peer.read() == Message(Kind.DONE, 0, [])


# -- gatherings -------------------------------------------------------------------------------------------------------


def contribution(rank: int, value: bytes, size: int = 3, key: bytes = b"g", host: bytes = b"h") -> Message:
    return Message(Kind.GATHER, rank, [key, b"%d" % size, value, host])


def values_in(answer: Message) -> list[bytes]:
    """The values of an answer that has those of all ranks, in rank order."""
    found = Gathered.parse(answer).values
    return [found[rank] for rank in range(len(found))]


def test_a_gathering_answers_all_when_the_last_has_come(server: StoreServer):
    peers = [Peer(server) for _ in range(3)]
    for number in range(2):  # the next one begins where the last has ended
        values = [b"%d of %d" % (rank, number) for rank in range(3)]
        assert peers[2].gets_nothing(contribution(2, values[2]))
        assert peers[0].gets_nothing(contribution(0, values[0]))
        assert peers[0].ask(Message(Kind.GATHER_COUNTS, 0, [b"other"])) == Message(Kind.DONE, 0, [])
        assert peers[0].gets_nothing(contribution(0, values[0]))  # what it asked between has withdrawn the first
        answers = [peers[1].ask(contribution(1, values[1])), peers[0].read(), peers[2].read()]
        assert [values_in(answer) for answer in answers] == [values] * 3
        assert {answer.number for answer in answers} == {number}


def test_a_gathering_keeps_what_was_left_and_takes_the_last(server: StoreServer):
    first, second = Peer(server), Peer(server)
    assert first.gets_nothing(contribution(0, b"old", 2))
    assert first.ask(Message(Greeting.WITHDRAW)).kind == Kind.DONE
    assert first.ask(Message(Kind.GATHER_COUNTS, 0, [b"g"])) == Message(Kind.DONE, 0, [b"0 1"])
    assert first.gets_nothing(contribution(0, b"new", 2))
    assert second.ask(Message(Kind.GATHER_COUNTS, 0, [b"g"])) == Message(Kind.DONE, 0, [b"0 2"])
    assert values_in(second.ask(contribution(1, b"x", 2))) == [b"new", b"x"]
    assert values_in(first.read()) == [b"new", b"x"]
    assert second.ask(Message(Kind.GATHER_COUNTS, 0, [b"g"])) == Message(Kind.DONE, 1, [])


def test_gatherings_of_different_size_are_refused(server: StoreServer):
    first, second = Peer(server), Peer(server)
    assert first.gets_nothing(contribution(0, b"a", 2))
    refused = second.ask(contribution(1, b"b", 3))
    assert refused == Message(Kind.REFUSED, 0, [b"rank 1 came with a world size of 3, but another rank with 2"])
    assert first.gets_nothing()
    assert values_in(second.ask(contribution(1, b"b", 2))) == values_in(first.read()) == [b"a", b"b"]


def test_a_value_of_the_same_name_is_no_gathering(server: StoreServer):
    waiting, other = Peer(server), Peer(server)
    assert waiting.gets_nothing(contribution(0, b"a", 2))
    assert other.ask(Message(Kind.SET, 0, [b"g", b"value"])).kind == Kind.DONE
    assert waiting.gets_nothing()
    assert values_in(other.ask(contribution(1, b"b", 2))) == values_in(waiting.read()) == [b"a", b"b"]


def test_who_dies_waiting_leaves_its_value(server: StoreServer, works: Callable[[], None]):
    dead, second = Peer(server), Peer(server)
    assert dead.gets_nothing(contribution(0, b"a", 2))
    dead.sock.close()
    assert values_in(second.ask(contribution(1, b"b", 2))) == [b"a", b"b"]


def test_a_rank_of_a_large_world_gets_two_values_and_may_ask_for_more(
    server: StoreServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gatherings, "SMALL_WORLD", 5)
    peers, hosts = [Peer(server) for _ in range(6)], [b"a", b"b", b"a", b"a", b"b", b"c"]
    for rank in range(5):
        assert peers[rank].gets_nothing(contribution(rank, b"of %d" % rank, 6, host=hosts[rank]))
    answers = [peers[5].ask(contribution(5, b"of 5", 6, host=b"c")), *(peer.read() for peer in peers[:5])]
    found = [Gathered.parse(answer) for answer in [*answers[1:], answers[0]]]
    assert [each.near for each in found] == [[0, 2, 3], [1, 4], [0, 2, 3], [0, 2, 3], [1, 4], range(5, 6)]
    assert [[*each.values] for each in found] == [[0, 2], [0, 4], [0, 3], [0], [0, 1], [0, 5]]
    assert found[4].values == {0: b"of 0", 1: b"of 1"}
    assert {each.num_on_first_host for each in found} == {3}
    asked = peers[1].ask(Message(Kind.GATHERED, 0, [b"g", packed_ranks([5, 2, 2])]))
    assert asked == Message(Kind.DONE, 0, [b"of 5", b"of 2", b"of 2"])


def test_values_of_an_earlier_gathering_are_not_kept(server: StoreServer):
    peer = Peer(server)
    for number in range(2):
        asked = peer.ask(Message(Kind.GATHERED, number, [b"g", packed_ranks([0])]))
        assert asked == Message(Kind.REFUSED, 0, [b"the values of gathering %d are not kept any more" % number])
        assert values_in(peer.ask(contribution(0, b"%d" % number, 1))) == [b"%d" % number]
    assert peer.ask(Message(Kind.GATHERED, 0, [b"g", packed_ranks([0])])).kind == Kind.REFUSED
    assert peer.ask(Message(Kind.GATHERED, 1, [b"g", packed_ranks([0])])).fields == [b"1"]


@pytest.mark.parametrize(
    "message",
    [
        contribution(3, b"", 3),
        contribution(-1, b"", 3),
        contribution(0, b"", 0),
        Message(Kind.GATHER, 0, [b"g", b"x", b"", b""]),
        Message(Kind.GATHER, 0, [b"g", b"9" * 30, b"", b""]),
        Message(Kind.GATHER, 0, [b"g", b"3", b""]),
        Message(Kind.GATHER, 0, [b"g"]),
        Message(Kind.GATHER_COUNTS, 0, []),
        Message(Kind.GATHERED, 0, [b"g"]),
        Message(Kind.GATHERED, 0, [b"g", b"123"]),
    ],
)
def test_nonsense_is_no_gathering(server: StoreServer, works: Callable[[], None], message: Message):
    peer = Peer(server)
    peer.send(message)
    assert peer.is_dropped()
