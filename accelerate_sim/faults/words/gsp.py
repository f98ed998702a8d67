"""The report of a GSP that does not answer: the body of Xid 119 and the table of calls after it."""

from __future__ import annotations

from typing import Final

from accelerate_sim.faults.words.draw import Draw

NUMBERS_CALLS: Final = 590
"""First branch all of whose releases number the calls (580 does so from 580.105 on)."""
CALLS: Final = ((76, "GSP_RM_CONTROL"), (103, "GSP_RM_ALLOC"), (10, "FREE"))
HISTORY: Final = 8
WAITED_S: Final = 6


def rpc_timeout(gpu: int, draw: Draw, driver: int) -> tuple[str, list[str]]:
    """(body of Xid 119, texts of the further lines): the call that is waited for, and the eight latest calls."""
    number, name = CALLS[0]
    data = (0x20800000 | draw.bits("command", 12), 4 * (1 + draw.below("size", 300)))
    sequence = 20_000 + draw.below("sequence", 4_000_000)
    numbered = driver >= NUMBERS_CALLS
    which = f"{number} ({name})" + (f" sequence {sequence}" if numbered else "")
    body = (
        f"Timeout after {WAITED_S}s of waiting for RPC response from GPU{gpu} GSP! Expected function {which} "
        f"(0x{data[0]:x} 0x{data[1]:x})."
    )
    texts = [
        f"GPU{gpu} GSP RPC buffer contains function {which} and data 0x{data[0]:016x} 0x{data[1]:016x}.",
        f"GPU{gpu} RPC history (CPU -> GSP):",
        "    entry function                   "
        + ("  sequence " if numbered else "")
        + "data0              data1              ts_start           ts_end             duration actively_polling",
    ]
    started = 0x000600000000_0000 | draw.bits("started", 40)
    for back in range(HISTORY):
        texts.append(_call(back, started, data, draw.within(("call", back)), sequence - back if numbered else None))
        started -= 800 + draw.below(("pause", back), 9000)
    return body, texts


def _call(back: int, started: int, data: tuple[int, int], draw: Draw, sequence: int | None) -> str:
    """One row: the latest call has no end and is still polled for."""
    number, name = CALLS[0] if not back else draw.one_of("function", CALLS)
    values = data if not back else (0x20800000 | draw.bits("command", 12), 4 * (1 + draw.below("size", 300)))
    took_us = 0 if not back else 180 + draw.below("took", 700)
    ended = started + took_us if back else 0
    sign = "-" if back else " "
    numbered = "" if sequence is None else f"{sequence:10d} "
    row = f"    {sign}{back:<4d} {number:<4d} {name:<21.21s} {numbered}0x{values[0]:016x} 0x{values[1]:016x} "
    row += f"0x{started:016x} 0x{ended:016x} "
    return row + (f"{took_us:6d}us  " if back else "         y")
