"""The arguments of ``Accelerator``, checked, and the run that is planned for a script without a config of one.

A script states its needs in Accelerate's arguments. Those about how a model is spread over GPUs belong to the
config of the run here, and are refused with the keys that mean the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.process.own_hosts import with_own_hosts
from accelerate_sim.process.placement import Placement

if TYPE_CHECKING:
    from accelerate_sim.sim.plan import Plan
    from accelerate_sim.utils.dataclasses import (
        DataLoaderConfiguration,
        GradientAccumulationPlugin,
        KwargsHandler,
        ProjectConfiguration,
    )

CONFIG_VARIABLE = "ACCELERATE_SIM_CONFIG"
"""Names a config, shipped or a file, for scripts that hand none to ``Accelerator``."""
PRECISION_VARIABLE = "ACCELERATE_MIXED_PRECISION"
"""Accelerate's variable for ``mixed_precision``."""
ACCUMULATION_VARIABLE = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"
"""Accelerate's variable for ``gradient_accumulation_steps``."""
KEYS_INSTEAD = {
    "deepspeed_plugin": "parallel.sharding", "deepspeed_plugins": "parallel.sharding",
    "fsdp_plugin": "parallel.sharding and parallel.shard_group", "torch_tp_plugin": "parallel.tensor",
    "megatron_lm_plugin": "parallel.tensor, parallel.pipeline and train.stack",
    "dynamo_backend": "train.compiled", "dynamo_plugin": "train.compiled",
    "parallelism_config": "the section parallel",
}  # fmt: skip
"""Arguments that are refused, and the keys of a config with the same meaning."""
ONE_PROCESS_EACH = {"model": "gpt2", "parallel": {"tensor": 1, "sharding": "ddp"}, "train": {"sequence_length": 1024}}
"""The run of a script that is started with a process for each rank: a model that fits however few they are."""


@dataclass
class ScriptSettings:
    """The arguments of ``Accelerator`` that a script's own objects follow."""

    precision: str
    accumulation: GradientAccumulationPlugin
    loaders: DataLoaderConfiguration
    project: ProjectConfiguration
    step_scheduler_with_optimizer: bool
    device_placement: bool
    cpu: bool
    handlers: Sequence[KwargsHandler]


def settings(
    *,
    mixed_precision: str | None,
    gradient_accumulation_steps: int | None,
    gradient_accumulation_plugin: GradientAccumulationPlugin | None,
    dataloader_config: DataLoaderConfiguration | None,
    split_batches: bool | None,
    project_dir: str | os.PathLike[str] | None,
    project_config: ProjectConfiguration | None,
    step_scheduler_with_optimizer: bool,
    device_placement: bool,
    cpu: bool,
    handlers: Sequence[Any],
    refused: Mapping[str, Any],
) -> ScriptSettings:
    """The settings of a script. ValueError for what Accelerate refuses and for what is not simulated."""
    from accelerate_sim.utils.dataclasses import (
        DataLoaderConfiguration,
        GradientAccumulationPlugin,
        KwargsHandler,
        ProjectConfiguration,
    )

    _refuse(refused)
    for name, given, kind in (
        ("dataloader_config", dataloader_config, DataLoaderConfiguration),
        ("gradient_accumulation_plugin", gradient_accumulation_plugin, GradientAccumulationPlugin),
        ("project_config", project_config, ProjectConfiguration),
    ):
        if not isinstance(given, kind | None):
            raise TypeError(f"{name} is a {kind.__name__} of accelerate_sim.utils, not {type(given).__name__}")
    for handler in handlers:
        if not isinstance(handler, KwargsHandler):
            raise ValueError(f"Unsupported kwargs handler passed: {handler}.")
    loaders = dataloader_config or DataLoaderConfiguration()
    if split_batches is not None:
        loaders.split_batches = split_batches
    if loaders.dispatch_batches:
        raise ValueError("dispatch_batches is not simulated: each rank reads its own batches")
    if loaders.use_stateful_dataloader:
        raise ValueError("use_stateful_dataloader needs torchdata: use skip_first_batches to go on within an epoch")
    if gradient_accumulation_plugin is not None and gradient_accumulation_steps not in (None, 1):
        raise ValueError(
            "You can only pass one of `gradient_accumulation_steps` and `gradient_accumulation_plugin`. Please only "
            "pass in the created `GradientAccumulationPlugin` object."
        )
    project = project_config or ProjectConfiguration()
    if project_dir is not None and project.project_dir is None:
        project.set_directories(os.fspath(project_dir))
    steps = _accumulation_steps(gradient_accumulation_steps)
    return ScriptSettings(
        _precision(mixed_precision), gradient_accumulation_plugin or GradientAccumulationPlugin(num_steps=steps),
        loaders, project, step_scheduler_with_optimizer, device_placement, cpu, tuple(handlers),
    )  # fmt: skip


def _refuse(arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        if name not in KEYS_INSTEAD:
            raise TypeError(f"Accelerator.__init__() got an unexpected keyword argument {name!r}")
        if value is not None and str(value).lower() != "no":
            raise ValueError(f"{name}: the config of the run says so here, with {KEYS_INSTEAD[name]}")


def _accumulation_steps(asked: int | None) -> int:
    """Micro-batches of a step: those of the environment, which ``accelerate launch`` sets, else those asked for."""
    named = os.environ.get(ACCUMULATION_VARIABLE)
    given, source = (asked, "gradient_accumulation_steps") if named is None else (named, ACCUMULATION_VARIABLE)
    try:
        steps = 1 if given is None else int(given)
    except (TypeError, ValueError):
        steps = -1
    if steps < 0:
        raise ValueError(f"{source} = {given!r} is no number of micro-batches: use a whole number such as 4")
    return steps or 1


def _precision(asked: str | None) -> str:
    from accelerate_sim.utils.dataclasses import PrecisionType

    precision = str(getattr(asked, "value", asked) or os.environ.get(PRECISION_VARIABLE, "no")).lower()
    known = PrecisionType.list()
    if precision not in known:
        raise ValueError(f"Unknown mixed_precision mode: {precision}. Choose between {known}")
    return precision


def refuse_other_plans(
    plan: Plan,
    mixed_precision: str | None,
    gradient_accumulation_steps: int | None,
    log_with: str | Sequence[str] | None,
) -> None:
    """Raise ValueError if a script asks for something else than its config plans."""
    planned, config = plan.layout.accumulation, plan.config
    if gradient_accumulation_steps not in (None, planned):
        raise ValueError(
            f"gradient_accumulation_steps = {gradient_accumulation_steps}, but a global batch of "
            f"{plan.layout.global_batch} takes {planned}"
        )
    if mixed_precision not in (None, config.train.precision):
        raise ValueError(f"mixed_precision = {mixed_precision!r}, but the run is planned in {config.train.precision!r}")
    trackers = (log_with,) if isinstance(log_with, str) else tuple(log_with or ())
    if log_with is not None and set(trackers) != set(config.log.trackers):
        raise ValueError(f"log_with = {list(trackers)}, but the run is planned with {list(config.log.trackers)}")


def script_config(placement: Placement | None, precision: str, accumulation: int) -> RunConfig:
    """The run that is planned for a script: the config that the environment names, on the ranks that there are.

    Without one, a process that plays all ranks has the default cluster; a launcher's ranks train a small model.
    Raises ConfigError for a config that is wrong.
    """
    from accelerate_sim.config.load import ConfigSource
    from accelerate_sim.config.shipped import find_config

    named = os.environ.get(CONFIG_VARIABLE)
    path = find_config(named) if named else None
    base: Mapping[str, Any] = ONE_PROCESS_EACH if placement and not named else {}
    cluster = {"nodes": placement.num_nodes, "gpus_per_node": placement.local_world_size} if placement else {}
    planned = with_own_hosts(ConfigSource.read(path, base=base).with_cluster(cluster, "launcher"))
    config = planned.resolve()
    spread, train = config.parallel, config.train
    ranks = config.cluster.nodes * config.cluster.gpus_per_node
    replicas = max(ranks // (spread.tensor * spread.pipeline * spread.context), 1)
    changes = [f"train.global_batch={train.micro_batch * replicas * accumulation}", "train.batch_ramp=null"]
    changes += ["checkpoint.every=0", "log.trackers=[]"]  # the script says when
    changes += [f"train.precision={precision}"] if precision != "no" else []
    return with_own_hosts(ConfigSource.read(path, changes, base=base).with_cluster(cluster, "launcher")).resolve()
