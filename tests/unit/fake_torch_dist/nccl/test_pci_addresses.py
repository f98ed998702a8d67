"""PCI addresses of a node's GPUs, in the two ways that tools write them."""

import pytest

from fake_torch_dist.nccl.communicator import Communicator
from fake_torch_dist.nccl.pci_addresses import driver_bus_id, nccl_bus_id, pci_address


@pytest.mark.parametrize(
    ("local", "driver", "nccl"),
    [
        (0, "00000000:03:00.0", "3000"),
        (1, "00000000:14:00.0", "14000"),
        (14, "00000000:F1:00.0", "f1000"),
        (15, "00000001:03:00.0", "103000"),
        (71, "00000004:BE:00.0", "4be000"),
    ],
)
def test_driver_and_nccl_write_the_same_address(local, driver, nccl):
    assert (driver_bus_id(local), nccl_bus_id(local)) == (driver, nccl)


def test_a_communicator_names_the_gpu_of_its_rank():
    assert Communicator(75, 144, 72, "node1", 1, "job/0").bus_id == nccl_bus_id(3)


def test_each_gpu_of_a_node_has_a_bus_of_its_own():
    addresses = [pci_address(local) for local in range(72)]
    assert len(set(addresses)) == 72
    assert all(bus <= 0xFF for _, bus in addresses)
