"""Seconds of a collective, and the bandwidths that nccl-tests would print for it.

The alpha-beta model: a collective takes a start-up time and then moves its bytes at the bandwidth of its narrowest
link. algbw = bytes / time; busbw = algbw x what the algorithm sends per byte, so that it compares with the link's rate.
Constants: efficiency of NVLink and of the NICs as measured with nccl-tests on 8xA100, 8xH100, 8xH200 and 4x8xB200
(stas00/ml-engineering network/README; NVIDIA DGX Cloud nccl/README).
"""

from dataclasses import dataclass

from accelerate_sim.catalog import GpuSpec
from accelerate_sim.sim.layout import Group

NVLINK_EFFICIENCY = 0.80
"""Share of NVLink's rate that a ring reaches: 78 % on A100, 82 % on H200, 76 % on B200."""
IN_SWITCH_REDUCTION = 1.29
"""What NVLink SHARP adds to an all-reduce of 8 Hopper or Blackwell GPUs."""
NIC_EFFICIENCY = 0.74
NVLINK_STARTUP_S = 20e-6
NETWORK_STARTUP_S = 120e-6
"""Per doubling of the domains."""
SWITCH_FILL, RING_FILL = (4.0, 48 * 2**20), (10.0, 16 * 2**20)
"""Filling the pipeline: start-up times that it takes, and the size at which half of that is paid. A ring of 8 GPUs
passes every byte on 14 times."""

BUS_FACTOR = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0, "all_to_all": 1.0}


@dataclass(frozen=True)
class Network:
    """The links of a cluster."""

    nvlink_bytes_per_s: float
    """Per GPU and direction inside an NVLink domain; PCIe where there is no NVLink."""
    nic_bytes_per_s: float
    """Per GPU and direction between domains."""
    reduces_in_switch: bool

    @classmethod
    def of(cls, gpu: GpuSpec, nic_gbps: float | None) -> "Network":
        return cls(
            nvlink_bytes_per_s=gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s,
            nic_bytes_per_s=(nic_gbps or gpu.nic_gbps) * 1e9 / 8,
            # NVLS came with the NVSwitch of Hopper; older switches and point-to-point links can't reduce.
            reduces_in_switch=gpu.vendor == "NVIDIA" and (gpu.nvlink_bytes_per_s or 0) >= 450e9 and gpu.year >= 2022,
        )

    def bus_bytes_per_s(self, collective: str, group: Group) -> float:
        """Bus bandwidth that a large message reaches."""
        inside = NVLINK_EFFICIENCY * self.nvlink_bytes_per_s
        if self._adds_in_switch(collective, group):
            inside *= IN_SWITCH_REDUCTION
        if group.num_domains == 1:
            return inside
        # Of what the bus counts, only the part that leaves the domain goes over the NICs, one per rank of the domain.
        leaving = (group.size - group.per_domain) / (group.size - 1)
        return min(inside, NIC_EFFICIENCY * group.per_domain * self.nic_bytes_per_s / leaving)

    def _adds_in_switch(self, collective: str, group: Group) -> bool:
        return self.reduces_in_switch and collective == "all_reduce" and group.per_domain >= 6

    def seconds(self, collective: str, size_bytes: float, group: Group) -> float:
        """Time of one collective of ``size_bytes`` (the whole, unsharded buffer) over ``group``."""
        if group.size == 1:
            return 0.0
        on_bus = self.bus_factor(collective, group) * size_bytes
        doublings = (group.num_domains - 1).bit_length()
        startup = NVLINK_STARTUP_S + NETWORK_STARTUP_S * doublings
        ring = collective == "all_reduce" and group.num_domains == 1 and not self._adds_in_switch(collective, group)
        startups, half_bytes = RING_FILL if ring else SWITCH_FILL
        fill = startups * startup * size_bytes / (size_bytes + half_bytes)
        return startup + fill + on_bus / self.bus_bytes_per_s(collective, group)

    def bandwidths(self, collective: str, size_bytes: float, group: Group) -> tuple[float, float, float]:
        """(seconds, algbw in bytes/s, busbw in bytes/s) of one collective, as nccl-tests reports them."""
        seconds = self.seconds(collective, size_bytes, group)
        algorithm = size_bytes / seconds
        return seconds, algorithm, algorithm * self.bus_factor(collective, group)

    @staticmethod
    def bus_factor(collective: str, group: Group) -> float:
        """busbw over algbw."""
        return BUS_FACTOR[collective] * (group.size - 1) / group.size
