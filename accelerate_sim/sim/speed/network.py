"""Seconds of a collective, and the bandwidths that nccl-tests would print for it.

A collective takes a start-up time, which grows as its pipeline fills, and then moves its bytes at the bandwidth of its
narrowest link. algbw = bytes / time; busbw = algbw x what the algorithm sends per byte, so that it compares with the
link's rate. Constants: nccl-tests on 8 A100, 8 H100, 8 H200, 8 and 4 x 8 B200 (stas00/ml-engineering network/README,
2025; NVIDIA DGX Cloud nccl/README, 2025).
"""

from dataclasses import dataclass
from math import exp, log

from accelerate_sim.catalog import GpuSpec
from accelerate_sim.sim.layout import Group

NVLINK_EFFICIENCY = {"ampere": 0.785, "hopper": 0.82, "blackwell": 0.76, "cdna": 0.82}
"""Share of NVLink's rate that a ring reaches with messages of 1 GiB and more, A100, H200 and B200 in domains of 8.
Start-up times do the rest down to 4 KiB. Assumed for racks of 72 and for AMD."""
IN_SWITCH_REDUCTION = {"hopper": 1.30, "blackwell": 1.17}
"""Bandwidth of an all-reduce of a whole domain with NVLink SHARP over that without: 8 H100, H200 and B200, 1 MiB to
16 GiB."""
IN_SWITCH_LEAST = 6
"""GPUs of a domain from which NCCL reduces in the switch; H200, NCCL of 2025."""
NIC_EFFICIENCY = 0.74
"""Share of a NIC's rate that a ring over nodes reaches: 2 to 4 nodes of 8 B200 with 400 Gb/s a GPU, 256 MiB to 16 GiB.
Assumed for 10 to 800 Gb/s and all sizes of clusters."""
ALL_TO_ALL_SHARE = {"infiniband": 1.0, "roce": 0.9, "efa": 0.5}
"""Rate of an all-to-all over that of rings at the same NIC. EFA: two DeepSeek-V3 runs of AWS on 256 B300 (2026); RoCE:
an estimate, flows that collide; rings reach the same as InfiniBand on both (Gangidi et al. 2024)."""
DISPATCHER_EFFICIENCY = 0.87
"""Share of a NIC's rate at which a library made for it sends tokens to experts in other domains: 57 to 61 GB/s, three
quarters of which leave a domain, on 4 x 8 H800 and H100 with 400 Gb/s a GPU (DeepEP's README, 2025 and 2026)."""
STARTUP_SIZES = tuple(2**power for power in (12, 16, 20, 22, 24, 26, 28))
"""Bytes at which start-up times were measured: 4 KiB to 256 MiB."""
NETWORK_STARTUP_S = (150e-6, 150e-6, 160e-6, 161e-6, 173e-6, 175e-6, 270e-6)
"""Start-up times between NVLink domains, for each doubling of these; 4 x 8 B200, assumed up to thousands of domains."""
POINT_TO_POINT_STARTUP_S = 20e-6
"""Start-up time of a send to one other rank: an estimate, that of an all-reduce in a domain at 64 KiB."""
LAUNCH_S = 12e-6
"""Time of a collective with nothing to send: 8 H100, where 8 B to 4 KiB take 13 to 17 us."""
MEASURED_RANKS = 8
"""GPUs of the domains in which start-up times were measured."""

BUS_FACTOR = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0, "all_to_all": 1.0}


@dataclass(frozen=True)
class Network:
    """The links of a cluster."""

    nvlink_bytes_per_s: float
    """Rate per GPU and direction inside an NVLink domain; that of PCIe where there is no NVLink."""
    nic_bytes_per_s: float
    """Rate per GPU and direction between domains."""
    reduces_in_switch: bool
    generation: str = "hopper"
    startup_s: tuple[float, ...] = (15e-6, 20e-6, 24e-6, 39e-6, 63e-6, 85e-6, 115e-6)
    """Start-up times inside a domain at ``STARTUP_SIZES``, in seconds."""
    all_to_all_share: float = 1.0
    """Rate of an all-to-all between domains over that of rings."""

    @classmethod
    def of(cls, gpu: GpuSpec, nic_gbps: float | None, fabric: str = "infiniband") -> "Network":
        """Return the links of a cluster of ``gpu`` with so many Gbit/s a GPU; None: what is usual for it."""
        return cls(
            nvlink_bytes_per_s=gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s,
            nic_bytes_per_s=(nic_gbps or gpu.nic_gbps) * 1e9 / 8,
            # NVLS came with the NVSwitch of Hopper; older switches and point-to-point links can't reduce.
            reduces_in_switch=gpu.vendor == "NVIDIA" and (gpu.nvlink_bytes_per_s or 0) >= 450e9 and gpu.year >= 2022,
            generation=gpu.generation,
            startup_s=tuple(1e-6 * time for time in gpu.collective_startup_us),
            all_to_all_share=ALL_TO_ALL_SHARE[fabric],
        )

    def bus_bytes_per_s(self, collective: str, group: Group) -> float:
        """Return the bus bandwidth that a large message reaches, in bytes/s."""
        inside = NVLINK_EFFICIENCY[self.generation] * self.nvlink_bytes_per_s
        if self._adds_in_switch(collective, group):
            inside *= IN_SWITCH_REDUCTION[self.generation]
        if group.num_domains == 1:
            return inside
        # Of what the bus counts, only the part that leaves the domain goes over the NICs. Rings share the work among
        # the NICs of all ranks of a domain; to send everyone something else, each rank has only its own.
        leaving = (group.size - group.per_domain) / (group.size - 1)
        nics = self.all_to_all_share if collective == "all_to_all" else group.per_domain
        return min(inside, NIC_EFFICIENCY * nics * self.nic_bytes_per_s / leaving)

    def _adds_in_switch(self, collective: str, group: Group) -> bool:
        return self.reduces_in_switch and collective == "all_reduce" and group.per_domain >= IN_SWITCH_LEAST

    def seconds(self, collective: str, size_bytes: float, group: Group) -> float:
        """Return the seconds of one collective of ``size_bytes`` over ``group``.

        The size is that of the whole, unsharded buffer; for an all-to-all, of what one rank sends.
        """
        if group.size == 1 or not size_bytes:
            return 0.0
        doublings = log(group.num_domains, 2)
        # A ring passes every byte on once for each other rank; it was measured with eight.
        hops = min(1.0, (group.per_domain - 1) / (MEASURED_RANKS - 1))
        inside = LAUNCH_S + max(0.0, _at_size(self.startup_s, size_bytes) - LAUNCH_S) * hops
        startup = inside + _at_size(NETWORK_STARTUP_S, size_bytes) * doublings
        on_bus = self.bus_factor(collective, group) * size_bytes
        return startup + on_bus / self.bus_bytes_per_s(collective, group)

    def neighbour_s(self, size_bytes: float, *, far: bool) -> float:
        """Return the seconds to send ``size_bytes`` to one other rank, in another NVLink domain if ``far``."""
        near_rate = NVLINK_EFFICIENCY[self.generation] * self.nvlink_bytes_per_s
        rate = min(near_rate, NIC_EFFICIENCY * self.nic_bytes_per_s) if far else near_rate
        return POINT_TO_POINT_STARTUP_S + size_bytes / rate

    def dispatched_s(self, size_bytes: float) -> float:
        """Return the seconds to send ``size_bytes`` from each rank to experts in other NVLink domains.

        A library made for that needs no start-up for each domain, as its kernels write to all of them at once.
        """
        rate = DISPATCHER_EFFICIENCY * self.all_to_all_share * self.nic_bytes_per_s
        return POINT_TO_POINT_STARTUP_S + size_bytes / rate

    def bandwidths(self, collective: str, size_bytes: float, group: Group) -> tuple[float, float, float]:
        """Return (seconds, algbw in bytes/s, busbw in bytes/s) of one collective, as nccl-tests reports them."""
        seconds = self.seconds(collective, size_bytes, group)
        algorithm = size_bytes / seconds
        return seconds, algorithm, algorithm * self.bus_factor(collective, group)

    @staticmethod
    def bus_factor(collective: str, group: Group) -> float:
        """Return busbw over algbw."""
        return BUS_FACTOR[collective] * (group.size - 1) / group.size


def _at_size(times: tuple[float, ...], size_bytes: float) -> float:
    """Interpolate the times at ``STARTUP_SIZES`` in the logarithms of both; they are constant outside."""
    if size_bytes <= STARTUP_SIZES[0]:
        return times[0]
    for index in range(1, len(times)):
        if size_bytes <= STARTUP_SIZES[index]:
            low, high = STARTUP_SIZES[index - 1], STARTUP_SIZES[index]
            share = log(size_bytes / low) / log(high / low)
            return exp(log(times[index - 1]) * (1 - share) + log(times[index]) * share)
    return times[-1]
