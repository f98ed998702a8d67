"""Durations of the phases that happen once: loading, connecting, exporting."""

from dataclasses import dataclass

from accelerate_sim.catalog import Architecture, DatasetSpec
from accelerate_sim.sim.noise import Draws
from accelerate_sim.sim.storage import Storage, export_bytes

MERGE_BYTES_PER_S = 24e9
"""Gathering shards to host memory over PCIe: half of the 55 GB/s that PCIe 5 copies (S. Bekman 2025), as what arrives
is also put in place. PCIe 4 and 5; any model."""
CONVERT_BYTES_PER_S = 30e9
"""Casting to bf16 in host memory: an estimate, a read and half a write by a few of a server's memory channels. Servers
of 2020 to 2026."""
SERIALIZE_BYTES_PER_S = 9e9
"""One process laying tensors out in safetensors order: an estimate, a copy by one core. Servers of 2020 to 2026."""


@dataclass(frozen=True)
class StartUp:
    """Seconds before the first step.

    Spans are estimates from logs of jobs on 8 to 2,048 GPUs; the growth with the world is extrapolated beyond.
    """

    weights: float
    tokenizer: float
    dataset: float
    connect: float
    all_reduce_test: float
    detect: float

    @property
    def total(self) -> float:
        return self.weights + self.tokenizer + self.dataset + self.connect + self.all_reduce_test + self.detect

    @classmethod
    def of(cls, seed: int, model: Architecture, dataset: DatasetSpec, world_size: int, storage: Storage) -> "StartUp":
        draws = Draws(seed, "startup")

        def draw(name: str, low: float, high: float) -> float:
            return round(draws.log(name, low, high), 3)

        return cls(
            # Each node reads what its ranks hold; building the modules and casting take longer than reading.
            weights=round(2.2 * storage.seconds(export_bytes(model), "load", 0) + draw("modules", 2, 6), 3),
            tokenizer=draw("tokenizer", 0.4, 1.6),
            dataset=round(draw("index", 2, 6) + dataset.samples / 9e7, 3),
            # Bootstrap, topology search and connections; each doubling of the world adds a round.
            connect=round(draw("connect", 1.5, 3.0) + 0.8 * world_size.bit_length(), 3),
            all_reduce_test=draw("test", 0.6, 1.2),
            detect=draw("detect", 0.3, 0.8),
        )


@dataclass(frozen=True)
class ExportTimes:
    """Seconds of the export's four stages."""

    merge: float
    optimize: float
    serialize: float
    write: float

    @property
    def total(self) -> float:
        return self.merge + self.optimize + self.serialize + self.write

    @classmethod
    def of(cls, seed: int, model: Architecture, storage: Storage) -> "ExportTimes":
        size, draws = export_bytes(model), Draws(seed, "export")

        def stage(name: str, bytes_per_s: float) -> float:
            return round(size / bytes_per_s * draws.between(name, 0.95, 1.25) + 0.4, 3)

        write = storage.seconds(size, "export", 0)
        return cls(
            stage("merge", MERGE_BYTES_PER_S), stage("optimize", CONVERT_BYTES_PER_S),
            stage("serialize", SERIALIZE_BYTES_PER_S), write,
        )  # fmt: skip
