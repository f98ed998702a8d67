"""The bodies of the NVIDIA driver's Xid lines, and the Xids that follow from each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from accelerate_sim.faults.words import gsp
from accelerate_sim.faults.words.draw import Draw

REPORTS_RECOVERY: Final = 565
"""First branch that reports a changed recovery action, as Xid 154."""
NAMES_CAUSE: Final = 570
"""First branch whose Xid 45 names the Xid that it follows."""
NAMES_CHANNEL: Final = 580
"""First branch whose Xid 31 has ``channel 0x`` where others have ``Ch``."""

RECOVERY_ACTIONS: Final = ("None", "GPU Reset Required", "Node Reboot Required", "Drain P2P", "Drain and Reset")
RESET, REBOOT = 1, 2


@dataclass(frozen=True, kw_only=True)
class XidGpu:
    """A GPU as the driver names it."""

    index: int = 0
    pci: str = "0000:91:00"
    """Domain, bus and device; an Xid line has no PCI function."""

    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    serial: str = "1650123456789"
    """Serial number of the board, 13 digits."""


@dataclass(frozen=True)
class Victim:
    """A process that uses the GPU."""

    pid: int
    comm: str = "pt_main_thread"


class Said(NamedTuple):
    """One Xid line: its delay, its code, the text after the code, and the process that it names."""

    after_s: float
    code: int
    body: str
    victim: Victim | None = None


class XidCause(NamedTuple):
    """The facts that the lines of an Xid are made of."""

    gpu: XidGpu
    victims: tuple[Victim, ...]
    driver: int
    draw: Draw


Wording = Callable[[XidCause], Iterator[Said]]


def _channel(cause: XidCause, victim: Victim, number: int = 0) -> str:
    return f"{8 + number + cause.draw.below(('channel', victim.pid), 8):08x}"


def _first(cause: XidCause) -> Victim:
    return cause.victims[0] if cause.victims else Victim(4000 + cause.draw.below("pid", 60000))


def _recovery(cause: XidCause, after_s: float, action: int) -> Iterator[Said]:
    if cause.driver >= REPORTS_RECOVERY:
        names = f"0x0 ({RECOVERY_ACTIONS[0]}) to 0x{action:x} ({RECOVERY_ACTIONS[action]})"
        yield Said(after_s, 154, f"GPU recovery action changed from {names}")


def _teardown(cause: XidCause, after_s: float, previous: int, channels: int = 4) -> Iterator[Said]:
    """Xid 45 for each channel of each process on the GPU."""
    because = f" caused by previous Xid {previous}" if cause.driver >= NAMES_CAUSE and previous else ""
    for number, victim in enumerate(cause.victims or (_first(cause),)):
        for channel in range(channels):
            delay_s = 0.0012 * (number * channels + channel)
            yield Said(after_s + delay_s, 45, f"Ch {_channel(cause, victim, channel)}{because}", victim)


def _sm_exception(cause: XidCause) -> Iterator[Said]:
    draw, victim = cause.draw, _first(cause)
    gpc, tpc = draw.below("gpc", 8), draw.below("tpc", 9)
    base = 0x504000 + 0x8000 * gpc + 0x800 * tpc
    for sm in range(2):
        where = f"(GPC {gpc}, TPC {tpc}, SM {sm})"
        yield Said(0.00004 * sm, 13, f"Graphics SM Warp Exception on {where}: Out Of Range Address", victim)
        yield Said(0.00004 * sm + 0.00001, 13, f"Graphics SM Global Exception on {where}: Multiple Warp Errors", victim)
        registers = zip((0x730, 0x734, 0x728, 0x72C), (0x10E, 0x24, 0x4C1EB72, draw.bits(("esr", sm), 9)), strict=True)
        values = " ".join(f"0x{base + 0x80 * sm + offset:x}=0x{value:x}" for offset, value in registers)
        yield Said(0.00004 * sm + 0.00002, 13, f"Graphics Exception: ESR {values}", victim)
    yield from _stopped_channel(cause)


def _mmu_fault(cause: XidCause) -> Iterator[Said]:
    draw, victim = cause.draw, _first(cause)
    client = f"GPCCLIENT_T1_{draw.below('client', 18)}"
    channel = f"Ch {_channel(cause, victim)}"
    if cause.driver >= NAMES_CHANNEL:
        client = f"GPC{draw.below('gpc', 8)} {client}"
        channel = f"channel 0x{_channel(cause, victim)}"
    address = f"0x{0x7E00 | draw.bits('high', 9):x}_{draw.bits('low', 20) << 12:08x}"
    fault = f"MMU Fault: ENGINE GRAPHICS {client} faulted @ {address}."
    kind = "Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ"
    yield Said(0.0, 31, f"{channel}, intr 00000000. {fault} {kind}", victim)
    yield from _stopped_channel(cause)


def _stopped_channel(cause: XidCause) -> Iterator[Said]:
    victim = _first(cause)
    yield Said(0.0013, 43, f"Ch {_channel(cause, victim)}", victim)


def _removed_channels(cause: XidCause) -> Iterator[Said]:
    yield from _teardown(cause, 0.0, 0)


def _double_bit_error(cause: XidCause) -> Iterator[Said]:
    draw = cause.draw
    place = f"partition {draw.below('partition', 20)}, subpartition {draw.below('subpartition', 4)}"
    text = "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer at physAddr"
    yield Said(0.0, 48, f"{text} 0x{_row(cause):x} {place}.")
    yield from (said._replace(after_s=0.0008) for said in _new_row(cause))
    yield from _recovery(cause, 0.05, RESET)


def _row(cause: XidCause) -> int:
    return 0x100000000 + (cause.draw.bits("row", 32) & 0xFFFFFFC0)


def _new_row(cause: XidCause) -> Iterator[Said]:
    yield Said(0.0, 63, f"Row Remapper: New row (0x{_row(cause):016x}) marked for remapping, reset gpu to activate.")


def _no_row_left(cause: XidCause) -> Iterator[Said]:
    yield Said(0.0, 64, f"Row Remapper Error: (0x{_row(cause):016x}) - All reserved rows for bank are remapped")


def _nvlink_error(cause: XidCause) -> Iterator[Said]:
    draw = cause.draw
    registers = (0x10000 << draw.below("bit", 4), 0, 0, draw.bits("counter", 8), 0, 0, 0)
    values = ", ".join(f"0x{value:x}" for value in registers)
    yield Said(0.0, 74, f"NVLink: fatal error detected on link {draw.below('link', 18)}({values})")
    yield from _teardown(cause, 0.3, 74)


def _off_the_bus(cause: XidCause) -> Iterator[Said]:
    gpu = cause.gpu
    yield Said(0.0, 79, "GPU has fallen off the bus.")
    yield Said(0.000005, 0, f"GPU {gpu.pci}.0: GPU has fallen off the bus.")
    yield Said(0.000011, 0, f"GPU {gpu.pci}.0: GPU serial number is {gpu.serial}.")
    yield from _recovery(cause, 0.9, REBOOT)


def _contained(cause: XidCause) -> Iterator[Said]:
    victim = _first(cause)
    what, number = cause.draw.one_of("unit", (("CE User Channel", 0x9), ("SM", 0x1), ("FB", 0x4)))
    yield Said(0.0, 94, f"Contained: {what} (0x{number:x}). RST: No, D-RST: No", victim)
    yield from _teardown(cause._replace(victims=(victim,)), 0.002, 94)


def _uncontained(cause: XidCause) -> Iterator[Said]:
    unit = cause.draw.one_of("unit", ("LTC TAG", "LTC DATA", "FBHUB", "HUB"))
    numbers = f"(0x{cause.draw.below('slice', 12):x}, 0x{cause.draw.below('part', 4):x})"
    yield Said(0.0, 95, f"Uncontained: {unit} {numbers}. RST: Yes, D-RST: No")
    yield from _teardown(cause, 0.003, 95)
    yield from _recovery(cause, 0.12, RESET)


def _rpc_timeout(cause: XidCause) -> Iterator[Said]:
    xid_body, others = gsp.rpc_timeout(cause.gpu.index, cause.draw, cause.driver)
    yield Said(0.0, 119, xid_body, cause.victims[0] if cause.victims else None)
    for number, text in enumerate(others):
        yield Said(0.000008 * (number + 1), 0, text)
    yield from _recovery(cause, 0.2, RESET)


def _firmware_exception(cause: XidCause) -> Iterator[Said]:
    yield Said(0.0, 120, "GSP task exception: load access fault")
    yield from _recovery(cause, 0.1, RESET)


def _escaped_ecc_error(cause: XidCause) -> Iterator[Said]:
    counts = [0, 0, 0, 0]
    counts[cause.draw.below("where", 2)] = 1
    where = ", ".join(f"{name}:{count}" for name, count in zip(("DRAM", "LTC", "MMU", "PCIE"), counts, strict=True))
    yield Said(0.0, 140, f"An uncorrectable ECC error detected (possible firmware handling failure) {where}")
    yield from _recovery(cause, 0.02, RESET)


def _nvlink5_fatal(cause: XidCause) -> Iterator[Said]:
    """Delays are those measured on a B200 whose link was made to fail."""
    yield Said(0.0006, 149, nvlink5_event("NETIR_LINK_EVT", cause.draw, fatal=True))
    yield from _teardown(cause, 0.283, 149)
    yield from _recovery(cause, 0.404, RESET)


def nvlink5_event(unit: str, draw: Draw, *, fatal: bool, subcode: int = 4) -> str:
    """The body of Xid 144 to 150 on Blackwell; ``unit`` is the part of the link that reports."""
    link = draw.below("link", 18)
    # In public lines of Xid 149 the number of the link is at bit 13, above constant bits.
    words = (subcode << 20 | 0x405C6 + (link << 13), 0, 0, 0, 0, 0)
    registers = " ".join(f"0x{word:08x}" for word in words)
    return f"{unit} {'Fatal' if fatal else 'Nonfatal'} XC{0 if fatal else 1} i0 Link {link:02d} ({registers})"


def _recovery_action(cause: XidCause) -> Iterator[Said]:
    names = f"0x0 ({RECOVERY_ACTIONS[0]}) to 0x{RESET:x} ({RECOVERY_ACTIONS[RESET]})"
    yield Said(0.0, 154, f"GPU recovery action changed from {names}")


BODIES: Final[dict[int, Wording]] = {
    13: _sm_exception,
    31: _mmu_fault,
    43: _stopped_channel,
    45: _removed_channels,
    48: _double_bit_error,
    63: _new_row,
    64: _no_row_left,
    74: _nvlink_error,
    79: _off_the_bus,
    94: _contained,
    95: _uncontained,
    119: _rpc_timeout,
    120: _firmware_exception,
    140: _escaped_ecc_error,
    149: _nvlink5_fatal,
    154: _recovery_action,
}
"""The Xids that can be played, each with the wording of its lines."""
