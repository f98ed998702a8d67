"""Daemons' lines about links meet the rules that read them."""

from __future__ import annotations

import re
from datetime import datetime

from accelerate_sim.faults.words import daemons

START = datetime(2026, 11, 3, 9, 1, 5)


def test_a_flap_loses_and_gains_the_carrier() -> None:
    lost = daemons.carrier("ib0", START, "node3", 811, lost=True)
    gained = daemons.carrier("ib0", START, "node3", 811, lost=False, after_s=8.0)
    assert lost.text == "Nov  3 09:01:05 node3 systemd-networkd[811]: ib0: Lost carrier"
    assert gained.text == "Nov  3 09:01:13 node3 systemd-networkd[811]: ib0: Gained carrier"
    # Azure's and Meta's health checks look for these words, Azure's for an interface of InfiniBand as well.
    assert re.search("lost carrier", lost.text, re.IGNORECASE) and re.search(r"ib\w+", lost.text)
    assert not re.search("lost carrier", gained.text, re.IGNORECASE)


def test_the_fabric_manager_names_error_switch_and_port() -> None:
    line = daemons.switch_error(1, 0x85, 7, START, after_s=12.0)
    assert line.stream == daemons.FABRIC_MANAGER
    assert line.text.startswith("[Nov 03 2026 09:01:17] [ERROR] [tid 2741] ")
    found = re.search(r".+detected NVSwitch fatal error (\d+)", line.text)  # the rule of gpud
    assert found and found[1] == "20034"
    assert line.text.endswith("pci bus id 00000000:85:00.0 physical id 1 port 7")
