"""Imports and computes what every process of a job needs, so that a launcher does so once before it forks them.

Importing it has no other effect: no signal handlers, no descriptors, no threads. It reads the names of the catalog and
a config's text from files, and builds the validators of configs.
"""

from __future__ import annotations

import encodings.idna  # a host name that is looked up takes it, and its import takes 5 ms
import os
import pkgutil  # runpy does
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

import colorlog

import accelerate_sim
from accelerate_sim import catalog, export, replica_tensor
from accelerate_sim.artifacts import model_files
from accelerate_sim.cli import app, planned_ahead
from accelerate_sim.config.files import LARGEST_FILE
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.shipped import find_config
from accelerate_sim.display import summary
from accelerate_sim.display.gpu import table
from accelerate_sim.reporting import build, connect, console, ledger, monitor, rank_details
from accelerate_sim.session import begin_run, figures, follower, quiet_session, random_run, runner
from accelerate_sim.sim.disturbances import rank_moments
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking import jsonl
from accelerate_sim.voices import house
from fake_torch_dist import before_fork
from fake_torch_dist.nccl import log as nccl_log

IMPORTED = (
    accelerate_sim.Accelerator,  # with all that a script of a run imports
    app, before_fork, begin_run, build, colorlog, connect, console, export, figures, follower, house, jsonl, ledger,
    model_files, monitor, nccl_log, quiet_session, random_run, rank_details, rank_moments, replica_tensor, runner,
    summary, table, encodings.idna, pkgutil,
)  # fmt: skip
"""Modules and functions that would otherwise be imported when they are first needed."""

# Pydantic builds validators when they are first used, and so do the catalogs.
Run(RunConfig()).block_of(0)
catalog.model_names(), catalog.gpu_names(), catalog.dataset_names()


def prepare(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Plan the run that ranks with these arguments will train, once for all of them.

    ``environment`` is that of rank 0. What is wrong with the arguments is left to rank 0 to report.
    """
    with suppress(Exception):
        planned_ahead.plan_ahead(arguments, environment)


def _names_faults(words: Sequence[str]) -> bool:
    """True if a command line asks for faults, in an option or in the config that it names."""
    if any(word.startswith("--fault") or "faults." in word for word in words):
        return True
    named = [after for word, after in pairwise(words) if word in ("-c", "--config")]
    named += [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    files = [path for path in map(find_config, named) if path.is_file()]  # a pipe can be read only once
    return any(b"faults" in path.read_bytes()[:LARGEST_FILE] for path in files if os.access(path, os.R_OK))


if _names_faults(sys.argv):
    # All ranks derive the faults, at each start; the readers are those of what an earlier attempt has left.
    from accelerate_sim.checkpoints import attempt_file, state
    from accelerate_sim.faults import planned
    from accelerate_sim.session.faults import attempts, launcher_store, live, real_end, truth_log

    OF_FAULTS = (planned, attempts, launcher_store, live, real_end, truth_log)
    """Modules that only a run with faults needs."""
    attempt_file.reader(), state.reader()
