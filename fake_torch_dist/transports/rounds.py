"""Rounds through a group's first rank, the leader: members send, the leader compares, computes and answers all.

Members that call different collectives get an error at once, and the group stays usable: each collective has its own
numbers, so a late member receives the result of the collective that it is late for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from fake_torch_dist import errors
from fake_torch_dist.core.fingerprint import ROUNDS
from fake_torch_dist.core.task import Task
from fake_torch_dist.transports.engine import Engine
from fake_torch_dist.transports.waits import COLLECTIVE, OVERDUE, Address, Finished, Messages

Bytes = bytes | bytearray | memoryview
Answer = Callable[[list[memoryview]], Sequence[Bytes]]
"""The leader's function from the members' data to an answer for each, both in group order."""

_OK, _FAILED, _GONE, _TIMED_OUT = (bytes([code]) for code in range(4))
LABEL_LENGTH: Final = struct.Struct("<I")
"""The head of a message to a round: the length of the label, which follows it."""
_GONE_LABEL: Final = b"\0gon"
"""The label of a member that found ranks gone; the numbers of those follow."""


class Rounds:
    """The rounds of one group, on one member. ``ranks`` are the members' global ranks in group order."""

    def __init__(self, engine: Engine, ranks: Sequence[int], group: int) -> None:
        self.engine = engine
        self.ranks = tuple(ranks)
        self.size = len(ranks)
        self.leader = self.ranks[0]
        self.group = group
        self.is_leader = engine.peers.rank == self.leader
        self._number = 0
        self._watches = False

    def next(self) -> int:
        """The number of the first round of the next collective."""
        self._number += ROUNDS
        return self._number

    def earlier(self) -> list[Task]:
        """Collectives that this member has begun in the group and that are not done."""
        return self.engine.begun(self.group)

    async def after(self, earlier: list[Task], number: int) -> None:
        """Wait until ``earlier`` work is done, with or without an error, before this member enters a round."""
        try:
            await Finished(earlier)
        except errors.PeerGoneError as failure:
            await self.give_up(number, failure)
        except errors.TimedOutError as failure:
            if self.is_leader:
                self._send_failure(number, failure)
            else:
                _opened(await self._ask_who_is_late(number))
            raise

    async def round(self, number: int, label: bytes, data: Bytes, answer: Answer) -> memoryview:
        """Send ``data`` to the leader and return its answer to us.

        Raises on every member: MismatchError if labels differ or ``answer`` raises, PeerGoneError, TimedOutError.
        """
        if self.is_leader:
            return await self._lead(number, label, data, answer)
        self.engine.send(
            self.leader, self.group, COLLECTIVE, number, b"".join((LABEL_LENGTH.pack(len(label)), label, data))
        )
        address = Address(self.leader, self.group, COLLECTIVE, number)
        try:
            (reply,) = await Messages([address])
        except errors.TimedOutError:
            reply = await self._ask_who_is_late(number)
        return _opened(reply)

    async def _ask_who_is_late(self, number: int) -> bytes | bytearray:
        """Ask the leader for the absent ranks; it may be absent itself."""
        self.engine.send(self.leader, self.group, OVERDUE, number, b"")
        (reply,) = await Messages([Address(self.leader, self.group, COLLECTIVE, number)])
        answered: bytes | bytearray = reply
        return answered

    async def _lead(self, number: int, label: bytes, data: Bytes, answer: Answer) -> memoryview:
        if not self._watches:
            self._watches = True
            self.engine.peers.watch_processes(self.ranks)
        try:
            sent = await Messages([Address(rank, self.group, COLLECTIVE, number) for rank in self.ranks[1:]])
            self._refuse_overdue(number)
            labels, contents = [label], [memoryview(data)]
            for message in sent:
                end = 4 + int.from_bytes(message[:4], "little")
                labels.append(bytes(message[4:end]))
                contents.append(memoryview(message)[end:])
            for each in labels:
                if each.startswith(_GONE_LABEL):
                    raise errors.PeerGoneError(struct.unpack(f"<{len(each) // 4 - 1}I", each[4:]))
            if labels.count(label) != self.size:
                raise errors.MismatchError(self._mismatch(labels))
            answers = answer(contents)
        except Exception as failure:
            self._send_failure(number, failure)
            raise
        self._send_answers(number, _OK, answers)
        return memoryview(answers[0])

    async def give_up(self, number: int, failure: errors.PeerGoneError) -> NoReturn:
        """Leave a round because a rank is gone: report that rank to all members, and raise.

        The leader's error takes precedence: the rank that is gone here may have left because of another.
        """
        if self.is_leader:
            self._send_failure(number, failure)
            raise failure
        label = _GONE_LABEL + struct.pack(f"<{len(failure.ranks)}I", *failure.ranks)
        try:
            await self.round(number, label, b"", _unanswered)
        except errors.PeerGoneError as reported:
            if self.leader not in reported.ranks:
                raise reported from failure
        raise failure

    def _send_answers(self, number: int, status: bytes, contents: Sequence[Bytes]) -> None:
        for rank, content in zip(self.ranks[1:], contents[1:], strict=True):
            self.engine.send(rank, self.group, COLLECTIVE, number, b"".join((status, content)))

    def _send_failure(self, number: int, failure: Exception) -> None:
        status, content = _closed(failure)
        self._send_answers(number, status, [content] * self.size)

    def _refuse_overdue(self, number: int) -> None:
        """TimedOutError if other members' timeouts were over before this one called, as they have given up."""
        self.engine.read_if_idle()
        me, take = self.engine.peers.rank, self.engine.mailbox.take
        others = [rank for rank in self.ranks if rank != me]
        gave_up = [rank for rank in others if take(Address(rank, self.group, OVERDUE, number)) is not None]
        if gave_up:
            raise errors.TimedOutError([me], 0.0, errors.CAME_LATE.format(ranks=gave_up))

    def _mismatch(self, labels: list[bytes]) -> str:
        other = next(index for index, label in enumerate(labels) if label != labels[0])
        first, second = (f"Rank {self.ranks[k]} is running collective: {labels[k].decode()}" for k in (0, other))
        return f"Detected mismatch between collectives on ranks. {first}, but {second}."


def _unanswered(contents: list[memoryview]) -> list[bytes]:
    return [b""] * len(contents)


def _closed(failure: Exception) -> tuple[bytes, bytes]:
    """A failure as the leader sends it to the others."""
    if isinstance(failure, errors.PeerGoneError | errors.TimedOutError):
        status = _GONE if isinstance(failure, errors.PeerGoneError) else _TIMED_OUT
        timeout_s = getattr(failure, "timeout_s", 0.0)
        return status, struct.pack(f"<d{len(failure.ranks)}I", timeout_s, *failure.ranks)
    return _FAILED, str(failure).encode()


def _opened(reply: bytes | bytearray) -> memoryview:
    """The leader's answer; raises if it is a failure."""
    status, content = reply[:1], memoryview(reply)[1:]
    if status == _OK:
        return content
    if status == _FAILED:
        raise errors.MismatchError(bytes(content).decode())
    timeout_s, *ranks = struct.unpack(f"<d{(len(content) - 8) // 4}I", content)
    raise errors.PeerGoneError(ranks) if status == _GONE else errors.TimedOutError(ranks, timeout_s)


def joined(parts: Sequence[Bytes]) -> bytes:
    """Several pieces of any length as one."""
    sizes = struct.pack(f"<I{len(parts)}Q", len(parts), *map(len, parts))
    return b"".join((sizes, *parts))


def parted(data: Bytes) -> list[memoryview]:
    """The pieces that ``joined`` joined."""
    (count,) = struct.unpack_from("<I", data)
    sizes = struct.unpack_from(f"<{count}Q", data, 4)
    parts, start, whole = [], 4 + 8 * count, memoryview(data)
    for size in sizes:
        parts.append(whole[start : start + size])
        start += size
    return parts
