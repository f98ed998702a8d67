"""Xid lines have the driver's shapes, by branch, and come in the driver's order."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest

from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import KERNEL, TimedLine
from accelerate_sim.faults.words.xid import (
    identity,
    missing_at_load,
    nvlink5,
    nvlink5_subcode,
    off_the_bus,
    switch_fault,
    xid,
)
from accelerate_sim.faults.words.xid_bodies import BODIES, Victim, XidGpu

GPU = XidGpu(index=3, pci="0000:91:00", uuid="GPU-77", serial="1650000000007")
VICTIMS = (Victim(4242), Victim(4243, "python3"))
DRIVERS = (550, 570, 580, 595)
XID = re.compile(r"NVRM: Xid \(PCI:0000:91:00\): (\d+), (?:pid=(\S+), name=(\S+), )?(\S.*)")

BODY = {
    13: r"Graphics (SM (Warp|Global) Exception on \(GPC \d, TPC \d, SM [01]\): .+"
    r"|Exception: ESR( 0x[0-9a-f]{6}=0x[0-9a-f]+){4})",
    31: r"(Ch|channel) (0x)?[0-9a-f]{8}, intr [0-9a-f]{8}\. MMU Fault: ENGINE GRAPHICS (GPC\d )?GPCCLIENT_T1_\d+ "
    r"faulted @ 0x[0-9a-f]{4}_[0-9a-f]{8}\. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
    43: r"Ch [0-9a-f]{8}",
    45: r"Ch [0-9a-f]{8}( caused by previous Xid \d+)?",
    48: r"An uncorrectable double bit error \(DBE\) has been detected on GPU in the framebuffer at physAddr "
    r"0x[0-9a-f]{9} partition \d+, subpartition \d+\.",
    63: r"Row Remapper: New row \(0x[0-9a-f]{16}\) marked for remapping, reset gpu to activate\.",
    64: r"Row Remapper Error: \(0x[0-9a-f]{16}\) - All reserved rows for bank are remapped",
    74: r"NVLink: fatal error detected on link \d+\((0x[0-9a-f]+, ){6}0x[0-9a-f]+\)",
    79: r"GPU has fallen off the bus\.",
    94: r"Contained: (CE User Channel|SM|FB) \(0x[0-9a-f]\)\. RST: No, D-RST: No",
    95: r"Uncontained: [A-Z ]+ \(0x[0-9a-f], 0x[0-9a-f]\)\. RST: Yes, D-RST: No",
    119: r"Timeout after 6s of waiting for RPC response from GPU3 GSP! Expected function 76 \(GSP_RM_CONTROL\) "
    r"(sequence \d+ )?\(0x[0-9a-f]+ 0x[0-9a-f]+\)\.",
    120: r"GSP task exception: load access fault",
    140: r"An uncorrectable ECC error detected \(possible firmware handling failure\) "
    r"DRAM:[01], LTC:[01], MMU:0, PCIE:0",
    149: r"NETIR_LINK_EVT Fatal XC0 i0 Link \d\d \((0x[0-9a-f]{8} ){5}0x[0-9a-f]{8}\)",
    154: r"GPU recovery action changed from 0x0 \(None\) to 0x([12]) \((GPU Reset|Node Reboot) Required\)",
}


def played(code: int, seed: int = 1, **options: Any) -> list[TimedLine]:
    return xid(code, GPU, Draw(seed, code), victims=VICTIMS, **options)


def codes(lines: list[TimedLine]) -> list[int]:
    return [int(found[1]) for line in lines if (found := XID.fullmatch(line.text))]


def test_every_code_has_a_shape() -> None:
    assert BODY.keys() == BODIES.keys()


@pytest.mark.parametrize("code", BODIES)
def test_each_line_is_of_the_drivers_shape(code: int) -> None:
    for driver, seed in product(DRIVERS, range(6)):
        lines = played(code, seed, driver=driver)
        assert lines[:2] == identity(GPU)
        assert codes(lines)[0] == code
        for line in lines:
            assert line.stream == KERNEL and line.text.startswith("NVRM: ")
            found = XID.fullmatch(line.text)
            if found:
                assert re.fullmatch(BODY[int(found[1])], found[4]), line.text


@pytest.mark.parametrize("code", BODIES)
def test_lines_are_in_the_order_of_their_times_and_the_same_again(code: int) -> None:
    lines = played(code)
    assert [line.after_s for line in lines] == sorted(line.after_s for line in lines)
    assert lines == played(code)


def test_a_gpu_names_its_board_once() -> None:
    assert [line.text for line in identity(GPU)] == [
        "NVRM: GPU at PCI:0000:91:00: GPU-77",
        "NVRM: GPU Board Serial Number: 1650000000007",
    ]
    assert not [line for line in played(63, first=False) if "Board" in line.text]


def test_old_branches_print_unknown_processes_and_later_ones_leave_them_out() -> None:
    (old,) = played(63, driver=550, first=False)
    (new,) = played(63, driver=570, first=False)
    assert "63, pid='<unknown>', name=<unknown>, Row Remapper" in old.text
    assert "63, Row Remapper" in new.text


def test_a_torn_down_channel_names_its_process_and_its_cause_since_570() -> None:
    said = [line.text for line in played(74) if ": 45, " in line.text]
    found = [XID.fullmatch(text) for text in said]
    assert all(found) and {each[2] for each in found if each} == {"4242", "4243"}
    assert all(text.endswith(" caused by previous Xid 74") for text in said)
    assert not any("caused" in line.text for line in played(74, driver=565) + played(45))


def test_what_follows_from_what() -> None:
    assert codes(played(31)) == [31, 43]
    assert codes(played(48)) == [48, 63, 154]
    assert codes(played(79)) == [79, 154]
    assert codes(played(95)) == [95, *[45] * 8, 154]
    assert codes(played(149)) == [149, *[45] * 8, 154]
    assert codes(played(94)) == [94, *[45] * 4], "other processes go on"
    assert codes(played(95, with_others=False)) == [95]
    assert 154 not in codes(played(95, driver=550)), "no branch before 565 has it"


def test_a_lost_gpu_needs_a_reboot_and_says_its_serial_number() -> None:
    texts = [line.text for line in played(79, first=False)]
    assert texts[1] == "NVRM: GPU 0000:91:00.0: GPU has fallen off the bus."
    assert texts[2] == "NVRM: GPU 0000:91:00.0: GPU serial number is 1650000000007."
    assert texts[3].endswith("to 0x2 (Node Reboot Required)")


def test_a_gpu_missing_at_load_has_no_xid() -> None:
    texts = [line.text for line in missing_at_load(GPU)]
    assert len(texts) == 3 and not any("Xid" in text for text in texts)
    assert texts[0] == "NVRM: The NVIDIA GPU 0000:91:00.0"


@pytest.mark.parametrize("driver, numbered", [(570, False), (595, True)])
def test_a_silent_gsp_is_reported_with_its_eight_latest_calls(driver: int, numbered: bool) -> None:
    texts = [line.text for line in played(119, driver=driver, first=False)]
    header = next(k for k, text in enumerate(texts) if "entry function" in text)
    rows = texts[header + 1 : header + 9]
    assert [int(row.split()[1]) for row in rows] == [-k for k in range(8)]
    assert ("sequence" in texts[0]) == ("sequence" in texts[header]) == numbered
    assert rows[0].endswith(" y") and not rows[1].rstrip().endswith(" y")
    assert {row.index("0x") for row in rows} == {texts[header].index("data0")}, "columns are aligned"
    starts = [int(row.split("0x")[3].split()[0], 16) for row in rows]
    assert starts == sorted(starts, reverse=True)
    asked = re.search(r"\((0x[0-9a-f]+) (0x[0-9a-f]+)\)", texts[0])
    assert asked and int(rows[0].split("0x")[1].split()[0], 16) == int(asked[1], 16)


def test_an_nvlink_event_of_blackwell_has_its_subcode_in_bits_20_to_25() -> None:
    (line,) = nvlink5(144, "SAW_MVB", GPU, Draw(1), subcode=37)
    assert re.search(r": 144, SAW_MVB Nonfatal XC1 i0 Link \d\d \(0x", line.text)
    word = int(line.text.split("(0x")[-1].split()[0], 16)
    assert nvlink5_subcode(word) == 37
    link = int(line.text.split("Link ")[1][:2])
    assert (word & 0xFFFFF) - 0x405C6 == link << 13


def test_a_switch_reports_with_a_pci_function() -> None:
    texts = [line.text for line in switch_fault(1, 0x85, 7, Draw(1))]
    assert texts[0] == "nvidia-nvswitch1: SXid (PCI:0000:85:00.0): 20034, Fatal, Link 07 LTSSM Fault Up"
    assert texts[1].endswith("20034, Severity 1 Engine instance 07 Sub-engine instance 00")
    assert re.search(r"20034, Data \{0x[0-9a-f]{8}(, 0x[0-9a-f]{8})+\}$", texts[2])


def test_the_switches_report_a_lost_gpu_twelve_seconds_later() -> None:
    lines = off_the_bus(GPU, Draw(1), (0x85, 0x86), victims=VICTIMS)
    assert lines[: len(played(79))] == xid(79, GPU, Draw(1), victims=VICTIMS)
    switches = [line for line in lines if "SXid" in line.text]
    assert [line.text.split(":")[0] for line in switches] == ["nvidia-nvswitch0"] * 3 + ["nvidia-nvswitch1"] * 3
    assert all(12.0 <= line.after_s < 12.1 for line in switches)
    assert [line.after_s for line in lines] == sorted(line.after_s for line in lines)
