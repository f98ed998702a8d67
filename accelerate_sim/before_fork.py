"""Imports and computes what every process of a job needs, so that a launcher does so once before it forks them.

Importing it has no other effect: no signal handlers, no descriptors, no threads. It reads the names of the catalog from
files, and builds the validators of configs.
"""

from __future__ import annotations

import encodings.idna  # a host name that is looked up takes it, and its import takes 5 ms
import pkgutil  # runpy does

import colorlog

from accelerate_sim import catalog
from accelerate_sim.cli import app
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display import summary
from accelerate_sim.reporting import console, ledger, monitor, startup
from accelerate_sim.session import begin_run, follower, random_run, runner
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking import jsonl
from fake_torch_dist import all_reduce, barrier, broadcast, init_process_group, nccl_log, rendezvous
from fake_torch_dist.meeting import exchange as meeting

IMPORTED = (
    colorlog, app, begin_run, console, follower, jsonl, ledger, monitor, random_run, runner, startup, summary,
    all_reduce, barrier, broadcast, init_process_group, meeting, nccl_log, rendezvous,
    encodings.idna, pkgutil,
)  # fmt: skip
"""Modules that are otherwise imported on first use."""

# Pydantic builds validators when they are first used, and so do the catalogs.
Run(RunConfig()).block_of(0)
catalog.model_names(), catalog.gpu_names(), catalog.dataset_names()
