"""Waits for messages of few and of many members, which arrive in any order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from fake_torch_dist.transports.waits import COLLECTIVE, Address, Messages


class Box:
    """The messages of a process: one at most for each address. Counts how often it is asked for one."""

    def __init__(self) -> None:
        self.held: dict[Address, Any] = {}
        self.asked = 0

    def take(self, address: Address) -> Any:
        self.asked += 1
        return self.held.pop(address, None)

    def arrived(self) -> Iterable[Address]:
        return self.held

    def is_written(self, rank: int) -> bool:
        return True


def addresses(members: int) -> list[Address]:
    return [Address(rank, 3, COLLECTIVE, 7) for rank in range(members)]


@pytest.mark.parametrize("members", [1, 2, 16, 17, 300])
def test_payloads_come_in_the_order_of_the_addresses(members: int) -> None:
    wanted, box = addresses(members), Box()
    wait = Messages(wanted)
    for address in reversed(wanted[1:]):
        box.held[address] = b"%d" % address.source
        assert wait.ready(box) is None
    assert wait.missing() == [0]
    box.held[wanted[0]] = b"0"
    assert wait.ready(box) == [b"%d" % rank for rank in range(members)]
    assert not wait.missing()


def test_messages_of_other_exchanges_stay() -> None:
    wanted, box = addresses(100), Box()
    other = wanted[5]._replace(number=8)
    box.held = dict.fromkeys([*wanted, other], b"")
    assert Messages(wanted).ready(box) == [b""] * 100
    assert list(box.held) == [other]


def test_a_leader_of_many_asks_once_for_each_message() -> None:
    wanted, box = addresses(1000), Box()
    wait = Messages(wanted)
    for address in wanted:
        box.held[address] = b""
        wait.ready(box)
    assert box.asked == 1000
