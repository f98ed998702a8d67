"""Kernel lines of the NVIDIA driver about faults of a GPU: the Xid lines and those that come with them.

Formats are those of the open kernel modules 550 to 595; lines that the GPU's firmware words (13, 31, 48, 63, 74, 149)
are those of public logs. ``driver`` is the branch: 550, 560, 570, 575, 580, 590 or 595.
"""

from __future__ import annotations

from typing import Final

from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import KERNEL, TimedLine, later
from accelerate_sim.faults.words.xid_bodies import BODIES, Said, Victim, XidCause, XidGpu, nvlink5_event

NAMES_UNKNOWN_PROCESSES: Final = 565
"""Last branch that prints ``pid='<unknown>', name=<unknown>``; later ones leave both out."""

SWITCHES_NOTICE_S: Final = 12.0
"""Seconds after which the switches report the links of a GPU that is lost."""


def xid(
    code: int,
    gpu: XidGpu,
    draw: Draw,
    *,
    victims: tuple[Victim, ...] = (),
    driver: int = 580,
    first: bool = True,
    with_others: bool = True,
) -> list[TimedLine]:
    """The lines of an Xid in their order.

    ``first`` adds the two lines that name the board, which the driver prints once per boot and GPU. ``with_others``
    adds the Xids that follow from this one, such as 43 after 31 and 45 for each channel that is torn down.
    """
    cause = XidCause(gpu, victims, driver, draw)
    said = sorted(BODIES[code](cause), key=lambda each: each.after_s)
    lines = [line for each in said if with_others or each.code == code for line in _lines(each, cause)]
    return (identity(gpu) if first else []) + later(lines, 0.00002 if first else 0.0)


def off_the_bus(
    gpu: XidGpu, draw: Draw, switch_buses: tuple[int, ...], *, victims: tuple[Victim, ...] = (), driver: int = 580
) -> list[TimedLine]:
    """The lines of Xid 79 on a node with NVSwitches, which report the lost links some seconds later.

    ``switch_buses`` are the PCI buses of the switches.
    """
    said = xid(79, gpu, draw, victims=victims, driver=driver)
    for switch, bus in enumerate(switch_buses):
        own = draw.within(("switch", switch))
        said += later(switch_fault(switch, bus, own.below("link", 64), own), SWITCHES_NOTICE_S + 0.001 * switch)
    return said


def identity(gpu: XidGpu) -> list[TimedLine]:
    """The two lines that name a GPU's board before its first Xid since boot."""
    return [
        TimedLine(0.0, KERNEL, f"NVRM: GPU at PCI:{gpu.pci}: {gpu.uuid}"),
        TimedLine(0.000005, KERNEL, f"NVRM: GPU Board Serial Number: {gpu.serial}"),
    ]


def missing_at_load(gpu: XidGpu, device_id: int = 0x2330) -> list[TimedLine]:
    """The lines about a GPU that does not answer when the driver is loaded: one record of three lines, no Xid."""
    text = (
        f"NVRM: The NVIDIA GPU {gpu.pci}.0",
        f"NVRM: (PCI ID: 10de:{device_id:04x}) installed in this system has",
        "NVRM: fallen off the bus and is not responding to commands.",
    )
    return [TimedLine(0.0, KERNEL, line) for line in text]


def switch_fault(switch: int, bus: int, link: int, draw: Draw, *, code: int = 20034) -> list[TimedLine]:
    """The three SXid lines of an NVSwitch whose link to a GPU has failed. Their address has a PCI function."""
    prefix = f"nvidia-nvswitch{switch}: SXid (PCI:0000:{bus:02x}:00.0): {code}, "
    data = ", ".join(f"0x{value:08x}" for value in (code, code, draw.bits("state", 12), 0, 0, 0))
    text = (
        f"Fatal, Link {link:02d} LTSSM Fault Up",
        f"Severity 1 Engine instance {link:02d} Sub-engine instance 00",
        f"Data {{{data}}}",
    )
    return [TimedLine(0.000004 * k, KERNEL, prefix + each) for k, each in enumerate(text)]


def nvlink5_subcode(word: int) -> int:
    """The subcode in the first register of Xid 144 to 150: bits 20 to 25."""
    return word >> 20 & 0x3F


def nvlink5(code: int, unit: str, gpu: XidGpu, draw: Draw, *, subcode: int = 4) -> list[TimedLine]:
    """The line of an NVLink event that does not end the link: Xid 144 to 150, ``Nonfatal``."""
    body = nvlink5_event(unit, draw, fatal=False, subcode=subcode)
    return [TimedLine(0.0, KERNEL, f"NVRM: Xid (PCI:{gpu.pci}): {code}, {body}")]


def _lines(said: Said, cause: XidCause) -> list[TimedLine]:
    if not said.code:
        return [TimedLine(said.after_s, KERNEL, f"NVRM: {said.body}")]
    process = ""
    if said.victim:
        process = f"pid={said.victim.pid}, name={said.victim.comm}, "
    elif cause.driver <= NAMES_UNKNOWN_PROCESSES:
        process = "pid='<unknown>', name=<unknown>, "
    return [TimedLine(said.after_s, KERNEL, f"NVRM: Xid (PCI:{cause.gpu.pci}): {said.code}, {process}{said.body}")]
