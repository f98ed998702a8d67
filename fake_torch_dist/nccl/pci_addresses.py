"""PCI addresses of the GPUs of a node, as NVIDIA's driver and NCCL write them.

For NCCL's log, and for programs that report the same GPUs.
"""

BUSES_PER_DOMAIN = 15


def pci_address(local: int) -> tuple[int, int]:
    """Return the PCI (domain, bus) of a GPU in its node."""
    domain, place = divmod(local, BUSES_PER_DOMAIN)
    return domain, 0x3 + 0x11 * place


def driver_bus_id(local: int) -> str:
    """Return the PCI bus id as the driver writes it: ``00000000:14:00.0``."""
    domain, bus = pci_address(local)
    return f"{domain:08X}:{bus:02X}:00.0"


def nccl_bus_id(local: int) -> str:
    """Return the PCI bus id as NCCL writes it, a number in hexadecimal: ``14000``."""
    domain, bus = pci_address(local)
    return f"{domain << 20 | bus << 12:x}"
