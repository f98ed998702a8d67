"""The consequences of each Xid: the end of the process, the ground truth, and the changed state of the GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from accelerate_sim.faults.consequences import Truth
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.gpu_condition import Condition, ErrorCounts

Effect = Literal["die", "hang", "none"]
Change = Callable[[Condition, Draw], Condition]
"""The condition of a GPU after an Xid, from that before it."""


class XidFacts(NamedTuple):
    """Facts of one Xid."""

    effect: Effect
    truth: Truth
    change: Change


def counted(now: Condition, errors: ErrorCounts) -> Condition:
    """The condition with these ECC errors more."""
    return now._replace(volatile=now.volatile.plus(errors), aggregate=now.aggregate.plus(errors))


def _same(now: Condition, _: Draw) -> Condition:
    return now


def _row_pending(now: Condition, _: Draw) -> Condition:
    return now._replace(remapping_pending=True, recovery_action="Reset")


def _row_failed(now: Condition, _: Draw) -> Condition:
    return now._replace(remapping_failed=True)


def _double_bit_error(now: Condition, draw: Draw) -> Condition:
    return _row_pending(counted(now, ErrorCounts(dram_uncorrected=1)), draw)


def _contained(now: Condition, _: Draw) -> Condition:
    return counted(now, ErrorCounts(dram_uncorrected=1))._replace(remapping_pending=True)


def _uncontained(now: Condition, _: Draw) -> Condition:
    return counted(now, ErrorCounts(sram_secded=1))._replace(recovery_action="Reset")


def _link_failed(now: Condition, draw: Draw) -> Condition:
    return now._replace(
        nvlink_crc_errors=now.nvlink_crc_errors + 40 + draw.below("crc", 4000),
        nvlink_replays=now.nvlink_replays + 5 + draw.below("replays", 200),
        nvlink_recoveries=now.nvlink_recoveries + 1,
        links_down=now.links_down | {draw.below("link", 18)},
        recovery_action="Reset",
    )


def _off_the_bus(now: Condition, draw: Draw) -> Condition:
    return now._replace(
        lost=True, recovery_action="Reboot", pcie_replays=now.pcie_replays + 1 + draw.below("replays", 60)
    )


def _firmware_stuck(now: Condition, _: Draw) -> Condition:
    return now._replace(unreadable=True, recovery_action="Reset")


def _advised(now: Condition, _: Draw) -> Condition:
    return now._replace(recovery_action="Reset")


SOFTWARE = Truth("software")
RESETS = Truth("gpu_memory", transient=False, action="reset_gpu")
LINK = Truth("nvlink", transient=False, action="reset_gpu")
STUCK = Truth("gpu", transient=False, action="reset_gpu")
GONE = Truth("gpu", transient=False, action="reboot_node")

XIDS: Final[dict[int, XidFacts]] = {
    13: XidFacts("die", SOFTWARE, _same),
    31: XidFacts("die", SOFTWARE, _same),
    43: XidFacts("die", SOFTWARE, _same),
    45: XidFacts("die", SOFTWARE, _same),
    48: XidFacts("die", RESETS, _double_bit_error),
    63: XidFacts("none", RESETS, _row_pending),
    64: XidFacts("none", Truth("gpu_memory", transient=False, action="replace_node"), _row_failed),
    74: XidFacts("die", LINK, _link_failed),
    79: XidFacts("die", GONE, _off_the_bus),
    94: XidFacts("die", Truth("gpu_memory"), _contained),
    95: XidFacts("die", RESETS, _uncontained),
    119: XidFacts("hang", STUCK, _firmware_stuck),
    120: XidFacts("hang", STUCK, _firmware_stuck),
    140: XidFacts("die", RESETS, _uncontained),
    149: XidFacts("die", LINK, _link_failed),
    154: XidFacts("none", STUCK, _advised),
}
OTHER = XidFacts("die", Truth("gpu"), _same)
"""Facts of an Xid whose line the user writes."""


def facts_of(code: int) -> XidFacts:
    """The facts of an Xid."""
    return XIDS.get(code, OTHER)
