"""Lines of system daemons about links, as the system's log and the fabric manager's log file them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from accelerate_sim.faults.words.line import TimedLine

SYSLOG: Final = "syslog"
FABRIC_MANAGER: Final = "fabricmanager.log"


def carrier(interface: str, start: datetime, host: str, pid: int, *, lost: bool, after_s: float = 0.0) -> TimedLine:
    """The line of systemd-networkd about an interface that loses or gains its carrier, with time and host."""
    time = start + timedelta(seconds=after_s)
    head = f"{time:%b} {time.day:2d} {time:%H:%M:%S} {host} systemd-networkd[{pid}]:"
    return TimedLine(after_s, SYSLOG, f"{head} {interface}: {'Lost' if lost else 'Gained'} carrier")


def switch_error(
    switch: int, bus: int, port: int, start: datetime, *, code: int = 20034, after_s: float = 0.0, thread: int = 2741
) -> TimedLine:
    """The line of the fabric manager about a fatal error of an NVSwitch."""
    time = start + timedelta(seconds=after_s)
    where = f"on fid 0 on NVSwitch pci bus id 00000000:{bus:02X}:00.0 physical id {switch} port {port}"
    text = f"[{time:%b %d %Y %H:%M:%S}] [ERROR] [tid {thread}] detected NVSwitch fatal error {code} {where}"
    return TimedLine(after_s, FABRIC_MANAGER, text)
