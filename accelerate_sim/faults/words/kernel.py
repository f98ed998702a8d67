"""Lines of the Linux kernel's log that are not about GPUs, and the prefixes of such lines.

Formats are those of kernel 5.15 to 6.8 on the distributions that clusters run. The functions return the message alone;
``in_syslog`` and ``in_dmesg`` put the time and the host in front of it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from accelerate_sim.faults.words.draw import Draw
from accelerate_sim.faults.words.line import KERNEL, TimedLine

PAGE_KB: Final = 4
OOM_FLAGS: Final = "gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO), order=0"


def in_syslog(line: TimedLine, start: datetime, host: str) -> str:
    """A kernel line as syslog files it: month, day padded with a blank, time, host, and the message."""
    time = start + timedelta(seconds=line.after_s)
    return f"{time:%b} {time.day:2d} {time:%H:%M:%S} {host} kernel: {line.text}"


def in_dmesg(line: TimedLine, uptime_s: float) -> str:
    """A kernel line as ``dmesg`` prints it: seconds since boot in brackets, padded to twelve places."""
    return f"[{uptime_s + line.after_s:12.6f}] {line.text}"


def in_dmesg_with_dates(line: TimedLine, start: datetime) -> str:
    """A kernel line as ``dmesg -T`` prints it."""
    time = start + timedelta(seconds=line.after_s)
    return f"[{time:%a %b} {time.day:2d} {time:%H:%M:%S %Y}] {line.text}"


def out_of_memory(
    pid: int, rss_gib: float, draw: Draw, *, comm: str = "pt_main_thread", uid: int = 0, cgroup: str = ""
) -> list[TimedLine]:
    """The OOM killer's block: who asked for memory, who was chosen, who was killed, and its memory reaped.

    ``cgroup`` is the path of the control group whose limit was reached; without one the whole host is out of memory.
    """
    anon_kb = int(rss_gib * 1024 * 1024)
    file_kb, shmem_kb = draw.below("file", 90_000) + 12_000, draw.below("shmem", 600_000)
    total_kb = anon_kb + 31_000_000 + draw.below("virtual", 9_000_000)
    tables_kb = anon_kb // 512 * PAGE_KB // 4 + 5_000
    where = f"CONSTRAINT_MEMCG,nodemask=(null),cpuset={_leaf(cgroup)},mems_allowed=0-1,oom_memcg={cgroup}"
    if not cgroup:
        where = "CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0-1,global_oom"
    memcg = cgroup or "/system.slice/slurmstepd.scope"
    said = "Memory cgroup out of memory" if cgroup else "Out of memory"
    texts = (
        (0.0, f"{comm} invoked oom-killer: {OOM_FLAGS}, oom_score_adj=0"),
        (0.011, f"oom-kill:constraint={where},task_memcg={memcg},task={comm},pid={pid},uid={uid}"),
        (
            0.0112,
            f"{said}: Killed process {pid} ({comm}) total-vm:{total_kb}kB, anon-rss:{anon_kb}kB, file-rss:{file_kb}kB, "
            f"shmem-rss:{shmem_kb}kB, UID:{uid} pgtables:{tables_kb}kB oom_score_adj:0",
        ),
        (
            draw.between("reaped", 0.6, 3.0),
            f"oom_reaper: reaped process {pid} ({comm}), now anon-rss:0kB, file-rss:{file_kb // 3}kB, "
            f"shmem-rss:{shmem_kb}kB",
        ),
    )
    return [TimedLine(after_s, KERNEL, text) for after_s, text in texts]


def _leaf(cgroup: str) -> str:
    return cgroup.rstrip("/").rpartition("/")[2] or "/"


def segmentation_fault(
    pid: int, draw: Draw, *, comm: str = "pt_main_thread", library: str = "libtorch_cuda.so", cpus: int = 112
) -> list[TimedLine]:
    """The line of a process that touched an address it may not, as kernels since 6.1 print it."""
    base = 0x7F0000000000 | draw.bits("base", 28) << 12
    offset = draw.bits("offset", 24)
    size = (offset | 0xFFFFF) + 0x1001
    cpu = draw.below("cpu", cpus)
    where = f"likely on CPU {cpu} (core {cpu % (cpus // 2)}, socket {2 * cpu // cpus})"
    text = (
        f"{comm}[{pid}]: segfault at {draw.bits('address', 12):x} ip {base + offset:016x} "
        f"sp {0x7FFC00000000 | draw.bits('stack', 28):016x} error 4 in {library}[{base:x}+{size:x}] {where}"
    )
    return [TimedLine(0.0, KERNEL, text)]


def infiniband_port(bdf: str, device: str, down: bool = True) -> list[TimedLine]:
    """The lines of mlx5 about an InfiniBand port that goes down, or comes up through INIT.

    ``bdf`` is the address of the adapter, as in ``0000:0c:00.0``; ``device`` its RDMA name, such as mlx5_0.
    """
    states = ((0.0, "DOWN"),) if down else ((0.0, "INIT"), (2.4, "ACTIVE"))
    return [TimedLine(after_s, KERNEL, f"mlx5_core {bdf} {device}: Port: 1 Link {state}") for after_s, state in states]


def ethernet_link(bdf: str, interface: str, down: bool = True) -> list[TimedLine]:
    """The line of mlx5 about an Ethernet interface whose link goes down or up."""
    return [TimedLine(0.0, KERNEL, f"mlx5_core {bdf} {interface}: Link {'down' if down else 'up'}")]


def cable_unplugged(bdf: str, module: int) -> list[TimedLine]:
    """The line of mlx5 about a transceiver that is no longer plugged in."""
    return [TimedLine(0.0, KERNEL, f"mlx5_core {bdf}: Port module event: module {module}, Cable unplugged")]


def transceiver_too_hot(bdf: str, module: int) -> list[TimedLine]:
    """The line of mlx5 about a transceiver above its temperature limit."""
    event = f"Port module event[error]: module {module}, Cable error, High Temperature"
    return [TimedLine(0.0, KERNEL, f"mlx5_core {bdf}: {event}")]


def adapter_lost(bdf: str) -> list[TimedLine]:
    """The line of mlx5 about an adapter whose firmware no longer answers its health check."""
    return [TimedLine(0.0, KERNEL, f"mlx5_core {bdf}: device's health compromised - reached miss count")]


def soft_lockup(cpu: int, comm: str, pid: int, stuck_s: int = 26) -> list[TimedLine]:
    """The line of the kernel's watchdog about a CPU that does not schedule."""
    return [TimedLine(0.0, KERNEL, f"watchdog: BUG: soft lockup - CPU#{cpu} stuck for {stuck_s}s! [{comm}:{pid}]")]


def hung_task(comm: str, pid: int, blocked_s: int = 120) -> list[TimedLine]:
    """The line about a task that has been uninterruptible for ``blocked_s`` seconds, and the hint after it."""
    hint = '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.'
    first = f"INFO: task {comm}:{pid} blocked for more than {blocked_s} seconds."
    return [TimedLine(float(blocked_s), KERNEL, first), TimedLine(blocked_s + 0.0001, KERNEL, hint)]


def package_too_hot(cpus: tuple[int, ...], events: int = 1) -> list[TimedLine]:
    """The lines about CPUs whose package is too hot, one a CPU."""
    text = "Package temperature above threshold, cpu clock throttled (total events = {})"
    return [TimedLine(0.00001 * k, KERNEL, f"mce: CPU{cpu}: {text.format(events)}") for k, cpu in enumerate(cpus)]


def package_cool_again(cpus: tuple[int, ...]) -> list[TimedLine]:
    """The lines about CPUs whose package is below the limit again."""
    return [
        TimedLine(0.00001 * k, KERNEL, f"mce: CPU{cpu}: Package temperature/speed normal") for k, cpu in enumerate(cpus)
    ]


def nfs_stops(server: str, hard: bool = True) -> list[TimedLine]:
    """The line about an NFS server that does not answer; a soft mount gives up."""
    return [TimedLine(0.0, KERNEL, f"nfs: server {server} not responding, {'still trying' if hard else 'timed out'}")]


def nfs_answers(server: str) -> list[TimedLine]:
    """The line about an NFS server that answers again."""
    return [TimedLine(0.0, KERNEL, f"nfs: server {server} OK")]


def nvme_timeout(disk: int, draw: Draw) -> list[TimedLine]:
    """The lines about an NVMe disk whose controller is reset and whose blocks cannot be read."""
    tag = draw.below("tag", 32)
    command = f"I/O tag {tag} ({tag | draw.below('generation', 15) + 1 << 12:x}) opcode 0x2 (Admin Cmd) QID 0"
    return [
        TimedLine(0.0, KERNEL, f"nvme nvme{disk}: {command} timeout, reset controller"),
        TimedLine(1.9, KERNEL, f"Buffer I/O error on dev nvme{disk}n1, logical block {draw.bits('block', 28)}"),
    ]


def ext4_read_only(device: str) -> list[TimedLine]:
    """The line about an ext4 file system that takes no more writes."""
    return [TimedLine(0.0, KERNEL, f"EXT4-fs ({device}): Remounting filesystem read-only")]


def too_many_files(limit: int) -> list[TimedLine]:
    """The line about a host on which no more files can be opened."""
    return [TimedLine(0.0, KERNEL, f"VFS: file-max limit {limit} reached")]


def api_mismatch(client: str, module: str) -> list[TimedLine]:
    """The lines about a CUDA library whose version is not the kernel module's."""
    text = (
        f"NVRM: API mismatch: the client has the version {client}, but",
        f"NVRM: this kernel module has the version {module}.  Please",
        "NVRM: make sure that this kernel module and all NVIDIA driver",
        "NVRM: components have the same version.",
    )
    return [TimedLine(0.0, KERNEL, line) for line in text]
