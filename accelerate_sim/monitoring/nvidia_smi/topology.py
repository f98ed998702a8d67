"""``topo -m`` and ``nvlink -s``: how the GPUs of a node are connected.

A node has two sockets with half of its GPUs each, or one if it has up to two GPUs. Each GPU has a network adapter
behind the same PCIe switch, as in NCCL's log. Up to eight V100s are connected as in a DGX-1, later GPUs by NVSwitches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from accelerate_sim.monitoring.nvidia_smi.reading import Gpu, Reading

THREADS_PER_SOCKET = 56
"""Hardware threads of a socket's cores; each core has a second one after those of all sockets."""
ADAPTERS = {"infiniband": "mlx5_", "roce": "mlx5_", "efa": "rdmap_"}
GB_PER_S = {"Volta": "25.781", "Ampere": "25", "Hopper": "26.562", "Blackwell": "53.125"}
"""Bandwidth of one NVLink as the tool prints it."""
NO_NVLINK = "Device does not have or support Nvlink"
DGX1 = (
    (0, 1, 1, 2, 2, 0, 0, 0), (1, 0, 2, 1, 0, 2, 0, 0), (1, 2, 0, 2, 0, 0, 1, 0), (2, 1, 2, 0, 0, 0, 0, 1),
    (2, 0, 0, 0, 0, 1, 1, 2), (0, 2, 0, 0, 1, 0, 2, 1), (0, 0, 1, 0, 1, 2, 0, 2), (0, 0, 0, 1, 2, 1, 2, 0),
)  # fmt: skip
"""NVLinks between each two V100s of a DGX-1."""
LEGEND = """
Legend:

  X    = Self
  SYS  = Connection traversing PCIe as well as the SMP interconnect between NUMA nodes (e.g., QPI/UPI)
  NODE = Connection traversing PCIe as well as the interconnect between PCIe Host Bridges within a NUMA node
  PHB  = Connection traversing PCIe as well as a PCIe Host Bridge (typically the CPU)
  PXB  = Connection traversing multiple PCIe bridges (without traversing the PCIe Host Bridge)
  PIX  = Connection traversing at most a single PCIe bridge
  NV#  = Connection traversing a bonded set of # NVLinks
"""
"""Text of nvidia-smi."""


def matrix(reading: Reading) -> str:
    """The text of ``topo -m``."""
    gpus, count = reading.gpus, reading.num_gpus
    columns = [*(f"GPU{gpu.index}" for gpu in gpus), *(f"NIC{number}" for number in range(count))]
    head = "\t".join(["", "\x1b[4m" + columns[0], *columns[1:], "CPU Affinity", "NUMA Affinity", "GPU NUMA ID\x1b[0m"])
    lines = [head, *_rows(gpus, count)]
    adapters = [f"  NIC{number}: {ADAPTERS[reading.fabric]}{number}" for number in range(count)]
    return "\n".join(lines) + "\n" + LEGEND + "\n".join(["", "NIC Legend:", "", *adapters, "", ""])


def _rows(gpus: Sequence[Gpu], count: int) -> Iterator[str]:
    for gpu in gpus:
        peers = [_between_gpus(gpu, other, count) for other in gpus]
        adapters = [_over_pcie(gpu.index, number, count, "PIX") for number in range(count)]
        socket = _socket(gpu.index, count)
        yield "\t".join([f"GPU{gpu.index}", *peers, *adapters, _threads(socket, count), str(socket), "", "N/A"])
    for number in range(count):
        peers = [_over_pcie(number, gpu.index, count, "PIX") for gpu in gpus]
        others = [_over_pcie(number, other, count, " X ") for other in range(count)]
        yield "\t".join([f"NIC{number}", *peers, *others, "", "", "", ""])


def _between_gpus(gpu: Gpu, other: Gpu, count: int) -> str:
    if gpu.index == other.index:
        return " X "
    links = gpu.nvlinks
    if gpu.board.architecture == "Volta" and count <= len(DGX1):
        links = DGX1[gpu.index][other.index]
    return f"NV{links}" if links else _over_pcie(gpu.index, other.index, count, " X ")


def _over_pcie(one: int, other: int, count: int, near: str) -> str:
    """The connection of two devices, numbered by their place; ``near`` if they are at the same place."""
    if one == other:
        return near
    return "NODE" if _socket(one, count) == _socket(other, count) else "SYS"


def _sockets(count: int) -> int:
    return 1 if count <= 2 else 2


def _socket(place: int, count: int) -> int:
    return place * _sockets(count) // count


def _threads(socket: int, count: int) -> str:
    first, all_first = socket * THREADS_PER_SOCKET, _sockets(count) * THREADS_PER_SOCKET
    last = first + THREADS_PER_SOCKET - 1
    return f"{first}-{last},{all_first + first}-{all_first + last}"


def links(reading: Reading) -> str:
    """The text of ``nvlink -s``."""
    lines = []
    for gpu in reading.gpus:
        lines.append(f"GPU {gpu.index}: {gpu.name} (UUID: {gpu.uuid})")
        if not gpu.nvlinks:
            lines.append(NO_NVLINK)
        for link in range(gpu.nvlinks):
            down = link in gpu.health.links_down
            lines.append(f"\t Link {link}: " + ("<inactive>" if down else f"{GB_PER_S[gpu.board.architecture]} GB/s"))
    return "\n".join(lines) + "\n"
