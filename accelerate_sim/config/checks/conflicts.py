"""Collects all problems in which keys of a config disagree."""

from accelerate_sim.config.checks.facts import Facts
from accelerate_sim.config.checks.hosts import hosts_suffice
from accelerate_sim.config.checks.imposed import imposed_ranges
from accelerate_sim.config.checks.machines import driver_fits
from accelerate_sim.config.checks.parallelism import (
    experts_divide,
    norms_are_split,
    pipeline_fits,
    shards_divide,
    shards_exist,
    tensor_fits,
    world_divides,
)
from accelerate_sim.config.checks.training import (
    batch_problems,
    learning_rates_fit,
    length_is_sane,
    precision_exists,
    recomputing_agrees,
    sequence_fits,
)
from accelerate_sim.config.checks.voices import voice_has_options
from accelerate_sim.config.problems import Problem
from accelerate_sim.config.schema import RunConfig


def conflicts(config: RunConfig) -> list[Problem]:
    """The problems of a config whose names are all known."""
    facts = Facts.of(config)
    layout = [problem for check in (tensor_fits, world_divides, pipeline_fits) for problem in check(facts)]
    # Checks of a replica's share need a whole number of replicas.
    of_replicas = () if layout else (experts_divide, shards_divide, shards_exist, batch_problems)
    rest = (
        *of_replicas, sequence_fits, norms_are_split, precision_exists, recomputing_agrees, learning_rates_fit,
        length_is_sane, imposed_ranges, voice_has_options, driver_fits, hosts_suffice,
    )  # fmt: skip
    return [*layout, *(problem for check in rest for problem in check(facts))]
