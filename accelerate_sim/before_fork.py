"""Imports and computes what every process of a job needs, so that a launcher does so once before it forks them.

Importing it has no other effect: no signal handlers, no descriptors, no threads. It reads the names of the catalog from
files, and builds the validators of configs.
"""

from __future__ import annotations

import encodings.idna  # a host name that is looked up takes it, and its import takes 5 ms
import pkgutil  # runpy does
import sys

import colorlog

from accelerate_sim import (
    accelerator,
    catalog,
    data_loader,
    export,
    logging,
    modeling,
    optimizer,
    progress,
    replica_tensor,
    scheduler,
    state,
)
from accelerate_sim.artifacts import model_files
from accelerate_sim.cli import app
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.display import summary
from accelerate_sim.display.gpu import table
from accelerate_sim.reporting import build, connect, console, ledger, monitor, rank_details
from accelerate_sim.session import begin_run, figures, follower, random_run, runner
from accelerate_sim.sim.disturbances import rank_moments
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking import jsonl
from accelerate_sim.voices import house
from fake_torch_dist import all_reduce, barrier, broadcast, init_process_group, nccl_log, rendezvous
from fake_torch_dist.meeting import exchange as meeting
from fake_torch_dist.transports import process_groups

IMPORTED = (
    accelerator, data_loader, export, logging, modeling, optimizer, progress, replica_tensor, scheduler, state,
    app, begin_run, build, colorlog, connect, console, figures, follower, house, jsonl, ledger, model_files, monitor,
    random_run, rank_details, rank_moments, runner, summary, table,
    all_reduce, barrier, broadcast, init_process_group, meeting, nccl_log, process_groups, rendezvous,
    encodings.idna, pkgutil,
)  # fmt: skip
"""Modules and functions that would otherwise be imported when they are first needed."""

# Pydantic builds validators when they are first used, and so do the catalogs.
Run(RunConfig()).block_of(0)
catalog.model_names(), catalog.gpu_names(), catalog.dataset_names()

if any(word.startswith("--fault") or "faults." in word for word in sys.argv):
    # Faults are asked for: all ranks derive them, at each start.
    from accelerate_sim.faults import planned
    from accelerate_sim.session.faults import attempts, launcher_store, real_end, truth_log

    OF_FAULTS = (planned, attempts, launcher_store, real_end, truth_log)
    """Modules that only a run with faults needs."""
