"""Kernel lines meet the rules of monitors in the field: each matches the rule meant for it and no other.

The rules are re-made from their sources as facts, in a form of our own:

- gpud: leptonai/gpud 4a8de33a, ``kmsg`` matchers of its components
- problem detector: kubernetes/node-problem-detector 6632ca67, config/kernel-monitor.json
- device plugin: NVIDIA/k8s-device-plugin 1b826acc, internal/rm/health.go
- NHC: Azure/azurehpc-health-checks 0e0a1ac, customTests
- AWS: awslabs/awsome-distributed-ai 95b939cd, gpu-cluster-healthcheck
- NVSentinel: NVIDIA/NVSentinel, syslog-health-monitor
- GCM: facebookresearch/gcm 1b7bde9, health_checks
"""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from accelerate_sim.faults.words import kernel
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import TimedLine
from accelerate_sim.faults.words.xid import missing_at_load, nvlink5, switch_fault, xid
from accelerate_sim.faults.words.xid_bodies import BODIES, Victim, XidGpu

GPU = XidGpu(pci="0000:91:00")
START = datetime(2026, 11, 3, 9, 1, 5)
BDF = "0000:0c:00.0"

GPUD = {
    "xid": r"NVRM: Xid \(((?:PCI:)?[0-9a-fA-F:]+)\).*?: (\d+),",
    "off the bus": r"NVRM:\s+GPU ((?:[0-9a-fA-F]{4}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2})\.0:\s+GPU has fallen off the bus",
    "sxid": r"SXid.*?: (\d+),",
    "nccl": r".*segfault at.*in libnccl\.so.*",
    "adapter heat": r"Port module event.*High Temperature",
    "blocked": r"(?:INFO: )?task ([^:]+:\d+).+blocked for more than \d+ seconds",
    "lockup": r"soft lockup - CPU#\d+ stuck for \d+s! \[([^:]+:\d+)\]",
    "files": r"VFS: file-max limit \d+ reached",
    "panic": r"Kernel [Pp]anic",
    "read only": r".*Remounting filesystem read-only",
    "nvme": r"nvme nvme[0-9]+: I/O .* timeout, reset controller",
    "buffer": r"Buffer I/O error on dev [^ ]+, logical block [0-9]+",
    "nfs down": r"nfs: server ([^ ]+) not responding",
    "nfs up": r"nfs: server ([^ ]+) OK",
    "oom": r"invoked oom-killer:",
    "oom constraint": r"oom-kill:constraint=",
    "oom killed": r"Killed process ([0-9]+) \((.+)\)",
}
LINES: dict[str, list[TimedLine]] = {
    "off the bus": xid(79, GPU, Draw(1), first=False)[1:2],
    "sxid": switch_fault(0, 0x85, 3, Draw(1)),
    "nccl": kernel.segmentation_fault(5, Draw(1), library="libnccl.so.2"),
    "adapter heat": kernel.transceiver_too_hot(BDF, 3),
    "blocked": kernel.hung_task("python3", 81)[:1],
    "lockup": kernel.soft_lockup(7, "pt_data_pin", 812),
    "files": kernel.too_many_files(9_223_372),
    "read only": kernel.ext4_read_only("md0"),
    "nvme": kernel.nvme_timeout(4, Draw(1))[:1],
    "buffer": kernel.nvme_timeout(4, Draw(1))[1:],
    "nfs down": [*kernel.nfs_stops("10.0.0.9"), *kernel.nfs_stops("10.0.0.9", hard=False)],
    "nfs up": kernel.nfs_answers("10.0.0.9"),
    "oom": kernel.out_of_memory(5, 900.0, Draw(1))[:1],
    "oom constraint": kernel.out_of_memory(5, 900.0, Draw(1))[1:2],
    "oom killed": kernel.out_of_memory(5, 900.0, Draw(1), cgroup="/a/b")[2:3],
}
UNNOTICED = (
    *kernel.segmentation_fault(5, Draw(1)),
    *kernel.infiniband_port(BDF, "mlx5_0"),
    *kernel.infiniband_port(BDF, "mlx5_0", down=False),
    *kernel.ethernet_link(BDF, "eth2"),
    *kernel.cable_unplugged(BDF, 3),
    *kernel.adapter_lost(BDF),
    *kernel.package_too_hot((1, 2)),
    *kernel.hung_task("python3", 81)[1:],
    *kernel.out_of_memory(5, 900.0, Draw(1))[3:],
    *missing_at_load(GPU),
)


def gpud_events(line: TimedLine) -> set[str]:
    return {name for name, rule in GPUD.items() if re.search(rule, line.text)}


@pytest.mark.parametrize("name", LINES)
def test_gpud_finds_in_each_line_the_event_meant_and_no_other(name: str) -> None:
    for line in LINES[name]:
        assert gpud_events(line) == {name}, line.text


def test_gpud_finds_nothing_in_lines_that_it_has_no_rule_for() -> None:
    assert not [line.text for line in UNNOTICED if gpud_events(line)]


@pytest.mark.parametrize("driver", [550, 580, 595])
def test_gpud_reads_address_and_code_of_each_xid(driver: int) -> None:
    for code in BODIES:
        lines = xid(code, GPU, Draw(code), victims=(Victim(4),), driver=driver, with_others=False)
        found = [match for line in lines if (match := re.search(GPUD["xid"], line.text))]
        assert found and {(match[1], int(match[2])) for match in found} == {("PCI:0000:91:00", code)}, code


NVLINK5 = {
    "gpud": r"NVRM: Xid \(PCI:([0-9a-fA-F:]+)\): (\d+)(?:, pid=(\d+), name=([^,]+))?, ([A-Z_]+(?:/[A-Z_]+)?)\s+"
    r"(Nonfatal|Fatal)\s+(XC[01])\s+(i\d+)\s+Link\s+(-?\d+)\s+\((0x[0-9a-fA-F]+)\s+(0x[0-9a-fA-F]+)",
    "NVSentinel": r"NVRM: Xid \(PCI:([^)]+)\): (\d+)(?:, pid=[^,]*)?(?:, name=[^,]*)?, (\w+)\s+(\w+)\s+(\w+)\s+(\w+)\s+"
    r"Link\s+(-?\d+)\s+\((0x[0-9a-fA-F]+)\s+(0x[0-9a-fA-F]+)",
}


@pytest.mark.parametrize("monitor", NVLINK5)
def test_monitors_read_nvlink_events_of_blackwell_and_of_no_older_gpu(monitor: str) -> None:
    fatal = xid(149, GPU, Draw(1), first=False, with_others=False)
    mild = nvlink5(146, "RLW_REMAP", GPU, Draw(2))
    for line, code, severity in ((fatal[0], "149", "Fatal"), (mild[0], "146", "Nonfatal")):
        found = re.search(NVLINK5[monitor], line.text)
        assert found and found[2] == code and severity in found.groups()
    others = [line for code in BODIES if code != 149 for line in xid(code, GPU, Draw(1))]
    assert not [line for line in others if re.search(NVLINK5[monitor], line.text)]


PROBLEM_DETECTOR = {
    "OOMKilling": r"Killed process \d+ (.+) total-vm:\d+kB, anon-rss:\d+kB, file-rss:\d+kB.*",
    "TaskHung": r"task [\S ]+:\w+ blocked for more than \w+ seconds\.",
    "IOError": r"Buffer I/O error .*",
    "Ext4Error": r"EXT4-fs error .*",
    "XfsShutdown": r"XFS .* Shutting down filesystem.?",
    "HardwareErrorFatal": r".*\[Hardware Error\]: event severity: fatal$",
}
DETECTED = {"oom killed": "OOMKilling", "blocked": "TaskHung", "buffer": "IOError"}


@pytest.mark.parametrize("name", LINES)
def test_the_problem_detector_knows_three_of_them(name: str) -> None:
    for line in LINES[name]:
        found = {event for event, rule in PROBLEM_DETECTOR.items() if re.search(rule, line.text)}
        assert found == ({DETECTED[name]} if name in DETECTED else set())


def test_the_problem_detector_has_no_rule_for_gpus() -> None:
    for code in BODIES:
        for line in xid(code, GPU, Draw(1)):
            assert not any(re.search(rule, line.text) for rule in PROBLEM_DETECTOR.values())


NIC = {
    "lost": r"mlx5_core.*device's health compromised.*reached miss count",
    "leak": r"mlx5_core.*timeout\. Will cause a leak of a command resource",
    "fatal": r"mlx5_core.*unrecoverable hardware error",
    "queue": r"NETDEV WATCHDOG.*mlx5_core.*transmit queue.*timed out",
    "cable": r"mlx5_core.*Cable unplugged",
}


@pytest.mark.parametrize("name, lines", [("lost", kernel.adapter_lost(BDF)), ("cable", kernel.cable_unplugged(BDF, 1))])
def test_nvsentinel_reads_adapters(name: str, lines: list[TimedLine]) -> None:
    assert {rule for line in lines for rule, pattern in NIC.items() if re.search(pattern, line.text)} == {name}


def test_nvsentinel_takes_a_missing_gpu_from_one_record_without_an_xid() -> None:
    rule = r"(?s)NVRM: The NVIDIA GPU ([0-9a-fA-F:.]+).*?fallen off the bus and is not responding to commands"
    record = "\n".join(line.text for line in missing_at_load(GPU))
    found = re.search(rule, record)
    assert found and found[1] == "0000:91:00.0" and "Xid" not in record
    assert not re.search(rule, "\n".join(line.text for line in xid(79, GPU, Draw(1))))


IGNORED_BY_DEVICE_PLUGIN = {13, 31, 43, 45, 68, 109}
SEEN_BY_NHC = {48, 56, 57, 58, 62, 63, 64, 65, 68, 69, 73, 74, 79, 80, 81, 92, 119, 120}
ONLY_WARNED_BY_GCM = {13, 31, 43, 45, 63, 68, 92, 109}


def test_the_device_plugin_ignores_what_programs_cause() -> None:
    assert BODIES.keys() & IGNORED_BY_DEVICE_PLUGIN == {13, 31, 43, 45}


@pytest.mark.parametrize("code", BODIES)
def test_nhc_finds_a_code_in_a_syslog_that_begins_with_a_date(code: int) -> None:
    lines = xid(code, GPU, Draw(1), victims=(Victim(4),), with_others=False)
    log = [kernel.in_syslog(line, START, "node3") for line in lines]
    assert all(datetime.strptime(" ".join(line.split()[:3]), "%b %d %H:%M:%S").day == 3 for line in log)
    found = {seen for seen in SEEN_BY_NHC for line in log if re.search(f"Xid.*: {seen},", line)}
    assert found == {code} & SEEN_BY_NHC


@pytest.mark.parametrize("code", BODIES)
def test_aws_reads_the_code_after_the_address(code: int) -> None:
    for line in xid(code, GPU, Draw(1), first=False, with_others=False):
        if re.search(r"NVRM.*Xid", line.text, re.IGNORECASE):
            assert re.sub(r".*Xid[^)]*\):\s*([0-9]+).*", r"\1", line.text) == str(code)


def test_aws_takes_the_action_from_the_words_of_154() -> None:
    for code, action in ((79, "Node Reboot Required"), (95, "GPU Reset Required")):
        last = xid(code, GPU, Draw(1))[-1].text
        words = ("Node Reboot Required", "GPU Reset Required", "Drain and Reset", "Drain P2P")
        assert [each for each in words if each in last] == [action]


def test_gcm_warns_of_programs_and_is_critical_of_hardware() -> None:
    def worst(code: int) -> int:
        lines = xid(code, GPU, Draw(1), with_others=False)
        found = {int(match[1]) for line in lines if (match := re.search(r"NVRM: Xid \([^)]+\): (\d+)", line.text))}
        return 2 if found - ONLY_WARNED_BY_GCM else 1

    assert {code: worst(code) for code in (13, 31, 63, 79, 94)} == {13: 1, 31: 1, 63: 1, 79: 2, 94: 2}
