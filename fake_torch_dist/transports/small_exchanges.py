"""``SmallExchanges``: barriers, agreements and packed objects, whose data travels with one round."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from fake_torch_dist.core.fingerprint import Call
from fake_torch_dist.transports.member import MemberTransport
from fake_torch_dist.transports.rounds import joined, parted

_NUMBER: Final = struct.Struct("<Q")


class SmallExchanges(MemberTransport):
    """The collectives of a group that exchange bytes instead of arrays."""

    async def barrier(self, name: str) -> None:
        """Return when every member has called and its earlier collectives of this group are done."""
        number = self.rounds.next()
        earlier = self.rounds.earlier()
        if earlier:
            await self.rounds.after(earlier, number)
        label = Call(name, "", ()).fingerprint(number)
        await self.rounds.round(number, label, b"", lambda parts: [b""] * self.size)

    async def highest(self, number: int, call: Call) -> int:
        """The highest of the numbers that the members bring."""

        def answer(brought: list[memoryview]) -> list[bytes]:
            return [max(brought, key=_NUMBER.unpack).tobytes()] * self.size

        reply = await self._small(call, _NUMBER.pack(number), answer)
        return int(_NUMBER.unpack(reply)[0])

    async def all_agree(self, flag: bool, call: Call) -> bool:
        """True if ``flag`` is true on all members."""
        reply = await self._small(
            call, bytes([flag]), lambda flags: [bytes([all(each[0] for each in flags)])] * self.size
        )
        return bool(reply[0])

    # -- objects -------------------------------------------------------------------------------------------------------

    async def all_gather_packed(self, packed: bytes, call: Call) -> Sequence[memoryview]:
        """Every member's bytes, of any length, in group order."""
        reply = await self._small(call, packed, lambda parts: [joined(parts)] * self.size)
        return parted(reply)

    async def gather_packed(self, packed: bytes, root: int, call: Call) -> list[memoryview]:
        """Every member's bytes at group rank ``root``; an empty list elsewhere."""
        nothing = joined([])
        reply = await self._small(
            call, packed, lambda parts: [joined(parts) if k == root else nothing for k in range(self.size)]
        )
        return parted(reply)

    async def broadcast_packed(self, packed: bytes | None, root: int, call: Call) -> memoryview:
        """The bytes of group rank ``root``."""
        return await self._small(call, packed or b"", lambda parts: [parts[root]] * self.size)

    async def scatter_packed(self, packed: Sequence[bytes], root: int, call: Call) -> memoryview:
        """Entry k of the root's ``packed`` for group rank k; other members' are empty."""
        return await self._small(call, joined(packed), lambda sent: parted(sent[root]))
