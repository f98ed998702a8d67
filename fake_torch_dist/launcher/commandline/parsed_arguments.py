"""The command line of ``fake-torchrun`` as argparse leaves it, and notes about flags that change nothing here.

``choices`` decides what the values mean. Costly modules are not imported, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator, Mapping, Sequence

from fake_torch_dist.launcher.commandline.flags import DESCRIPTION, EPILOG, add_flags
from fake_torch_dist.launcher.commandline.parser import FlagParser


class Arguments(argparse.Namespace):
    """Values that were given, or came from ``PET_*`` variables, or are defaults; types as argparse leaves them."""

    given: set[str]
    """Names of the values that were given, even if they equal the default."""
    nnodes: str
    nproc_per_node: str
    rdzv_backend: str
    rdzv_endpoint: str
    rdzv_id: str
    rdzv_conf: str
    standalone: bool
    max_restarts: int
    monitor_interval: float
    start_method: str
    event_log_handler: str
    role: str
    module: bool
    no_python: bool
    run_path: bool
    log_dir: str | None
    redirects: str
    tee: str
    local_ranks_filter: str
    duplicate_stdout_filters: list[str]
    duplicate_stderr_filters: list[str]
    node_rank: int
    master_addr: str
    master_port: int | None
    local_addr: str | None
    logs_specs: str | None
    numa_binding: str | None
    signals_to_handle: str
    shutdown_timeout: int | None
    virtual_local_rank: bool
    prefix: bool | None
    dedupe: bool
    ranks_per_process: str
    training_script: str
    training_script_args: list[str]


def parse(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> Arguments:
    """Read a command line (None: this process's). Ends the process with exit code 2 if it cannot be read."""
    given = {name.removeprefix("PET_").lower() for name in environment if name.startswith("PET_")}
    return build_parser(environment).parse_args(arguments, Arguments(given=given))


def build_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser, with defaults from ``environment``. Raises UsageError if a switch's variable is no number."""
    parser = FlagParser(environment, DESCRIPTION, EPILOG)
    add_flags(parser)
    return parser


def flags_without_meaning(arguments: Arguments) -> Iterator[str]:
    """Yield a sentence for each flag that was given and changes nothing here."""
    if arguments.numa_binding is not None:
        yield f"--numa-binding {arguments.numa_binding} has no meaning here: there are no GPUs to be near to"
    if arguments.event_log_handler != "null":
        yield f"--event-log-handler {arguments.event_log_handler} has no meaning here: no torchelastic events are sent"
    if arguments.logs_specs is not None:
        yield f"--logs-specs {arguments.logs_specs} has no meaning here: such plugins are made of torch's classes"
    if "monitor_interval" in arguments.given:
        yield f"--monitor-interval {arguments.monitor_interval:g} has no meaning here: ranks are not polled"
    if "node_rank" in arguments.given and (arguments.standalone or arguments.rdzv_backend != "static"):
        yield f"--node-rank {arguments.node_rank} has no meaning here: only static rendezvous uses it"
    for name in unknown_signals(arguments.signals_to_handle):
        yield f"--signals-to-handle: {name!r} is no signal of this system; it is left out"


def unknown_signals(names: str) -> list[str]:
    """Return the names in a comma list that are no signals. torchrun warns of them and goes on, too."""
    return [name for name in map(str.strip, names.split(",")) if name not in signal.Signals.__members__]
