"""``PairRounds``: the rounds of a group of two, who send each other what they have, and each compute the answers.

Each waits for one message, where a member that asks a leader waits for two, one after the other. What is lost is the
leader's last word: if a message arrives in the moment in which the timeout of its receiver is over, one member has the
result and the other one a TimedOutError.
"""

from __future__ import annotations

from typing import NoReturn

from fake_torch_dist import errors
from fake_torch_dist.core.task import Task
from fake_torch_dist.transports.rounds import LABEL_LENGTH, Answer, Bytes, Rounds
from fake_torch_dist.transports.waits import COLLECTIVE, OVERDUE, Address, Finished, Messages


class PairRounds(Rounds):
    """The rounds of a group of two, on one member."""

    async def round(self, number: int, label: bytes, data: Bytes, answer: Answer) -> memoryview:
        """Exchange ``data`` with the other member, and return the answer to us. Raises as in groups of any size."""
        other, is_first = self.ranks[self.is_leader], self.is_leader
        self.engine.send(other, self.group, COLLECTIVE, number, b"".join((LABEL_LENGTH.pack(len(label)), label, data)))
        try:
            (message,) = await Messages([Address(other, self.group, COLLECTIVE, number)])
        except errors.TimedOutError:
            self._say_overdue(number)
            raise
        self._refuse_overdue(number)
        end = LABEL_LENGTH.size + int.from_bytes(message[: LABEL_LENGTH.size], "little")
        labels = [label, bytes(message[LABEL_LENGTH.size : end])]
        contents = [memoryview(data), memoryview(message)[end:]]
        if labels[0] != labels[1]:
            raise errors.MismatchError(self._mismatch(labels if is_first else labels[::-1]))
        return memoryview(answer(contents if is_first else contents[::-1])[not is_first])

    async def after(self, earlier: list[Task], number: int) -> None:
        """Wait until ``earlier`` work is done, with or without an error, before this member enters a round."""
        try:
            await Finished(earlier)
        except errors.TimedOutError:
            self._say_overdue(number)
            raise

    async def give_up(self, number: int, failure: errors.PeerGoneError) -> NoReturn:
        """Leave a round because the other member is gone, to which nothing can be sent."""
        raise failure

    def _say_overdue(self, number: int) -> None:
        """Send the other member a notice that this one has given up the exchange."""
        self.engine.send(self.ranks[self.is_leader], self.group, OVERDUE, number, b"")
