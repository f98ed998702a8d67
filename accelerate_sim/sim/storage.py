"""Sizes of checkpoints and exported models, and the time to write or read them."""

from dataclasses import dataclass

from accelerate_sim.catalog import Architecture, Tensor
from accelerate_sim.sim.memory.memory import OPTIMIZER_BYTES, WEIGHT_BYTES

STATE_BYTES_PER_PARAMETER = WEIGHT_BYTES + OPTIMIZER_BYTES
"""Bytes of a training state per parameter: bf16 weights, fp32 master weights and Adam's two moments."""
SHARD_BYTES = 5 * 10**9
"""Most bytes of a shard of an exported model."""
NODE_WRITE_BYTES_PER_S = 12e9
"""Bytes/s that one machine can write: a 100 Gbit/s storage network, the usual second network of nodes of 4 to 8 GPUs
since 2020. File systems take less of many nodes: 57 GB/s of BLOOM's 48, 2 TB/s of Llama 3's 2,048 (Dubey et al.
2024)."""
BARRIER_S = 1.5
"""Seconds in which all ranks wait for the last file, before and after writing: an estimate, 1 to 3 s at 8 to 16,384
GPUs."""


@dataclass(frozen=True)
class Storage:
    """The shared file system: its bandwidth for the job."""

    seed: int
    bytes_per_s: float

    @classmethod
    def of(cls, seed: int, nodes: int, file_system_gbytes_per_s: float) -> "Storage":
        return cls(seed, min(nodes * NODE_WRITE_BYTES_PER_S, file_system_gbytes_per_s * 1e9))

    def seconds(self, size_bytes: float, what: str, number: int) -> float:
        """Seconds to write or read this many bytes, all nodes together, while other jobs use the file system too."""
        from accelerate_sim.sim import noise  # imported here, because sizes are needed before numpy is loaded

        busy = 1.0 + 0.12 * float(noise.exponential(self.seed, "storage/" + what, number)[0])
        return round(size_bytes / self.bytes_per_s * busy + BARRIER_S, 3)


def checkpoint_bytes(model: Architecture) -> int:
    """Bytes of a full training state."""
    return STATE_BYTES_PER_PARAMETER * model.parameters


def export_bytes(model: Architecture) -> int:
    """Bytes of the weights in bf16."""
    return WEIGHT_BYTES * model.parameters


def shard_tensors(model: Architecture) -> list[tuple[str, list[Tensor]]]:
    """(name, tensors) of the safetensors shards: tensors in order, a new shard when the next would not fit."""
    parts: list[list[Tensor]] = [[]]
    filled = 0
    for tensor in model.tensors():
        size = WEIGHT_BYTES * tensor.elements
        if filled and filled + size > SHARD_BYTES:
            parts.append([])
            filled = 0
        parts[-1].append(tensor)
        filled += size
    if len(parts) == 1:
        return [("model.safetensors", parts[0])]
    return [(f"model-{number:05d}-of-{len(parts):05d}.safetensors", part) for number, part in enumerate(parts, 1)]


def shards(model: Architecture) -> list[tuple[str, int]]:
    """(name, bytes) of the weights in each safetensors shard."""
    return [(name, WEIGHT_BYTES * sum(tensor.elements for tensor in part)) for name, part in shard_tensors(model)]
