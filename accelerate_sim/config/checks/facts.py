"""The input of a config's checks: its keys with the catalog entries that they name."""

from collections.abc import Iterable
from dataclasses import dataclass

from accelerate_sim import catalog
from accelerate_sim.catalog import Architecture, GpuSpec
from accelerate_sim.config.problems import Problem, shorten, shown
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.model import CustomModel

WORLD = ("cluster.nodes", "cluster.gpus_per_node")
MODEL_PARALLEL = ("parallel.pipeline", "parallel.context", "parallel.tensor")


@dataclass(frozen=True)
class Facts:
    """A config with the catalog entries that it names."""

    config: RunConfig
    model: Architecture
    gpu: GpuSpec

    @classmethod
    def of(cls, config: RunConfig) -> "Facts":
        named = config.model
        model = named if isinstance(named, CustomModel) else catalog.model(named).architecture
        return cls(config, model, catalog.gpu(config.cluster.gpu))

    @property
    def world_size(self) -> int:
        return self.config.cluster.nodes * self.config.cluster.gpus_per_node

    @property
    def replicas(self) -> int:
        parallel = self.config.parallel
        return self.world_size // (parallel.tensor * parallel.pipeline * parallel.context)

    @property
    def stage_ranks(self) -> int:
        """GPUs of one pipeline stage, in all replicas."""
        return self.world_size // self.config.parallel.pipeline

    def value(self, key: str) -> int:
        section, name = key.split(".")
        size: int = getattr(getattr(self.config, section), name)
        return size


def divisors(number: int) -> list[int]:
    """The first twelve divisors in ascending order, which keeps messages short."""
    return [size for size in range(1, min(number, 4096) + 1) if number % size == 0][:12]


def problem_with(facts: Facts, keys: Iterable[str], reason: str, way_out: str) -> Problem:
    """A problem of the first of ``keys``, which depends on the others."""
    key, *related = keys
    section, name = key.split(".")
    value = getattr(getattr(facts.config, section), name)
    return Problem.about(key, shown(value), reason, way_out, tuple(related))


def model_name(facts: Facts) -> str:
    """The model's name, cut to the length of a message."""
    named = facts.config.model
    return shorten(named if isinstance(named, str) else named.name)
