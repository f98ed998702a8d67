"""Kernel lines that are not about GPUs have the kernel's shapes, and figures that add up."""

from __future__ import annotations

import re
from datetime import datetime

from accelerate_sim.faults.words import kernel
from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import KERNEL, TimedLine

LINE = TimedLine(1.25, KERNEL, "nfs: server 10.0.0.9 OK")


def test_syslog_pads_the_day_and_dmesg_the_seconds() -> None:
    start = datetime(2026, 11, 3, 23, 59, 59)
    assert kernel.in_syslog(LINE, start, "node3") == "Nov  4 00:00:00 node3 kernel: nfs: server 10.0.0.9 OK"
    assert kernel.in_syslog(LINE, datetime(2026, 1, 31), "n") == "Jan 31 00:00:01 n kernel: nfs: server 10.0.0.9 OK"
    assert kernel.in_dmesg(LINE, 42.5) == "[   43.750000] nfs: server 10.0.0.9 OK"
    assert kernel.in_dmesg_with_dates(LINE, start) == "[Wed Nov  4 00:00:00 2026] nfs: server 10.0.0.9 OK"


def test_the_oom_killer_names_who_asked_before_who_is_killed() -> None:
    lines = kernel.out_of_memory(4711, 900.0, Draw(1), comm="python3", uid=1000)
    invoked, chosen, killed, reaped = [line.text for line in lines]
    assert invoked.startswith("python3 invoked oom-killer: gfp_mask=0x")
    assert "constraint=CONSTRAINT_NONE," in chosen and ",global_oom," in chosen
    assert chosen.endswith("task=python3,pid=4711,uid=1000")
    sizes = re.fullmatch(
        r"Out of memory: Killed process 4711 \(python3\) total-vm:(\d+)kB, anon-rss:(\d+)kB, file-rss:(\d+)kB, "
        r"shmem-rss:(\d+)kB, UID:1000 pgtables:(\d+)kB oom_score_adj:0",
        killed,
    )
    assert sizes
    total, anon, file, shmem, tables = map(int, sizes.groups())
    assert anon == 900 * 1024 * 1024
    assert total > anon + file + shmem > tables
    assert re.fullmatch(r"oom_reaper: reaped process 4711 \(python3\), now anon-rss:0kB, .*", reaped)
    assert [line.after_s for line in lines] == sorted(line.after_s for line in lines)


def test_a_control_group_at_its_limit_is_named() -> None:
    group = "/system.slice/slurmstepd.scope/job_88/step_0"
    texts = [line.text for line in kernel.out_of_memory(9, 1.0, Draw(1), cgroup=group)]
    assert f"constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=step_0,mems_allowed=0-1,oom_memcg={group}," in texts[1]
    assert texts[2].startswith("Memory cgroup out of memory: Killed process 9 ")


def test_a_segmentation_fault_is_inside_the_library_it_names() -> None:
    for seed in range(20):
        (line,) = kernel.segmentation_fault(77, Draw(seed))
        found = re.fullmatch(
            r"pt_main_thread\[77\]: segfault at [0-9a-f]+ ip ([0-9a-f]{16}) sp [0-9a-f]{16} error 4 in "
            r"libtorch_cuda\.so\[([0-9a-f]+)\+([0-9a-f]+)\] likely on CPU (\d+) \(core (\d+), socket ([01])\)",
            line.text,
        )
        assert found, line.text
        ip, base, size = (int(value, 16) for value in found.groups()[:3])
        assert base <= ip < base + size
        assert int(found[4]) < 112 and (int(found[4]) >= 56) == (found[6] == "1")


def test_links_say_what_they_do() -> None:
    def texts(lines: list[TimedLine]) -> list[str]:
        return [line.text for line in lines]

    assert texts(kernel.infiniband_port("0000:0c:00.0", "mlx5_0")) == [
        "mlx5_core 0000:0c:00.0 mlx5_0: Port: 1 Link DOWN"
    ]
    up = texts(kernel.infiniband_port("0000:0c:00.0", "mlx5_0", down=False))
    assert [text.rpartition(" ")[2] for text in up] == [
        "INIT", "ACTIVE",
    ]  # fmt: skip
    assert texts(kernel.ethernet_link("0000:0c:00.0", "eth2", down=False)) == ["mlx5_core 0000:0c:00.0 eth2: Link up"]


def test_a_host_that_is_too_hot_reports_each_cpu() -> None:
    hot, cool = kernel.package_too_hot((3, 59)), kernel.package_cool_again((3,))
    assert [line.text.split(":")[1] for line in hot] == [" CPU3", " CPU59"]
    assert cool[0].text == "mce: CPU3: Package temperature/speed normal"
