"""Makes a ``LaunchConfig`` of a command line: checks every value and makes torchrun's choices, in its order."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from pathlib import Path

from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig, Std, StreamSelection
from fake_torch_dist.launcher.commandline.flags import START_METHODS
from fake_torch_dist.launcher.commandline.parsed_arguments import Arguments, unknown_signals
from fake_torch_dist.launcher.commandline.parser import AUTO, UsageError
from fake_torch_dist.launcher.commandline.ranks_of_a_node import nproc_per_node, ranks_per_process
from fake_torch_dist.torch_names import MASTER_PORT

STREAMS_FORMS = r"<^[0123]$> or <^(\d:[0123],)*(\d:[0123])$>"
"""Forms of --redirects and --tee in torch 2.13's error. Ranks of several digits are accepted here, too."""
ADDRESS_FLAGS = frozenset({"node_rank", "rdzv_endpoint", "master_addr", "master_port"})
"""Flags that refer to other nodes, on other machines or in other terminals: with one, nodes are not emulated."""
C10D_PORT = 29400
"""torch's default port of an endpoint without one."""


def config_of(arguments: Arguments, environment: Mapping[str, str]) -> LaunchConfig:
    """Check the arguments in torchrun's order and make its choices. Raises UsageError; reads no file."""
    min_nodes, max_nodes = _nodes(arguments.nnodes)
    if arguments.max_restarts < 0:
        raise UsageError(f"max_restarts must be >= 0: --max-restarts is {arguments.max_restarts}; 0 means no restart")
    if not arguments.monitor_interval > 0:
        raise UsageError(f"monitor_interval must be > 0, got {arguments.monitor_interval:g}: leave the flag out")
    ranks_per_node = nproc_per_node(arguments.nproc_per_node, environment)
    per_process = ranks_per_process(arguments.ranks_per_process, ranks_per_node)
    processes = ranks_per_node // per_process
    emulated = max_nodes > 1 and (arguments.standalone or not ADDRESS_FLAGS & arguments.given)
    backend, endpoint, run_id = _rendezvous(arguments, max_nodes, emulated)
    return LaunchConfig(
        entrypoint=arguments.training_script,
        arguments=tuple(arguments.training_script_args),
        kind=_kind(arguments),
        python=environment.get("PYTHON_EXEC"),
        start_method=_start_method(arguments),
        min_nodes=min_nodes,
        max_nodes=max_nodes,
        nproc_per_node=processes,
        ranks_per_process=per_process,
        emulated=emulated,
        node_rank=_node_rank(arguments, max_nodes) if backend == "static" else None,
        role=arguments.role,
        rdzv_backend=backend,
        rdzv_endpoint=endpoint,
        rdzv_id=run_id,
        rdzv_conf=_rdzv_conf(arguments.rdzv_conf),
        standalone=arguments.standalone,
        master_addr=arguments.master_addr,
        master_port=arguments.master_port,
        local_addr=arguments.local_addr,
        max_restarts=arguments.max_restarts,
        monitor_interval_s=arguments.monitor_interval,
        signals=_signals(arguments.signals_to_handle),
        shutdown_timeout_s=_shutdown_timeout_s(arguments.shutdown_timeout, environment),
        virtual_local_rank=arguments.virtual_local_rank,
        log_dir=Path(arguments.log_dir) if arguments.log_dir else None,
        redirects=_streams("--redirects", arguments.redirects),
        tee=_streams("--tee", arguments.tee),
        local_ranks_filter=_local_ranks(arguments.local_ranks_filter, processes),
        duplicate_stdout_filters=tuple(arguments.duplicate_stdout_filters),
        duplicate_stderr_filters=tuple(arguments.duplicate_stderr_filters),
        prefix=arguments.prefix,
        dedupe=arguments.dedupe,
    )


def host_and_port(endpoint: str, default_port: int = C10D_PORT) -> tuple[str, int]:
    """Return host and port of ``HOST[:PORT]``, where HOST may be an IPv6 address in brackets. Raises UsageError."""
    host, colon, digits = endpoint, "", ""
    if not (endpoint.startswith("[") and endpoint.endswith("]")):
        host, colon, digits = endpoint.rpartition(":") if ":" in endpoint else (endpoint, "", "")
    if colon and not (re.fullmatch("[0-9]{1,5}", digits) and int(digits) < 2**16):
        raise UsageError(
            f"The port number of the rendezvous endpoint '{endpoint}' must be an integer between 0 and 65536. "
            "Give it as HOST:PORT"
        )
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not re.fullmatch(r"[\w.:-]+", host):
        raise UsageError(
            f"The hostname of the rendezvous endpoint '{endpoint}' must be a dot-separated list of labels, an IPv4 "
            "address, or an IPv6 address. Give it as HOST:PORT"
        )
    return host, int(digits) if colon else default_port


def _integer(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{error}: {what}") from None


def _nodes(nnodes: str) -> tuple[int, int]:
    parts = nnodes.split(":")
    if len(parts) > 2:
        raise UsageError(f'nnodes={nnodes} is not in "MIN:MAX" format: give --nnodes 8, or 2:8')
    low, high = (_integer(part, f"--nnodes {nnodes} is neither a number nor MIN:MAX") for part in (parts[0], parts[-1]))
    if not 0 < low <= high:
        raise UsageError(
            f"min_nodes must be > 0 and <= max_nodes, got min_nodes={low}, max_nodes={high}: "
            f"--nnodes {nnodes} is no number of nodes; give 1 or more, or MIN:MAX"
        )
    return low, high


def _rendezvous(arguments: Arguments, max_nodes: int, emulated: bool) -> tuple[str, str, str]:
    """Return backend, endpoint and id. For a single node, torchrun takes a free port and a new id."""
    backend, endpoint, run_id = arguments.rdzv_backend, arguments.rdzv_endpoint.strip(), arguments.rdzv_id
    if backend in ("etcd", "etcd-v2"):
        raise UsageError(f"The rendezvous backend '{backend}' needs etcd, which is not used here: give c10d")
    if backend not in ("static", "c10d"):
        raise UsageError(
            f"The rendezvous backend '{backend}' is not registered. Did you forget to call `register`? "
            "Give static or c10d"
        )
    is_alone = backend == "static" and not endpoint and arguments.master_port is None
    if arguments.standalone or (is_alone and (max_nodes == 1 or emulated)):
        named = emulated and not arguments.standalone and "rdzv_id" in arguments.given
        return "c10d", "localhost:0", run_id if named else _fresh_id()
    if backend == "static":
        port = MASTER_PORT if arguments.master_port is None else arguments.master_port
        endpoint = endpoint or f"{arguments.master_addr}:{port}"
        if host_and_port(endpoint, -1)[1] == -1:
            raise UsageError(f"Port is absent in endpoint: {endpoint}. Try launching with --master-port: or HOST:PORT")
    endpoint = endpoint or ("localhost:0" if emulated else f"localhost:{C10D_PORT}")
    host_and_port(endpoint)
    return backend, endpoint, run_id


def _fresh_id() -> str:
    from uuid import uuid4  # costly, and most calls need none

    return str(uuid4())


def _rdzv_conf(text: str) -> dict[str, str]:
    settings = {}
    for part in text.strip().split(",") if text.strip() else ():
        key, _, value = (word.strip() for word in part.partition("="))
        if not key:
            raise UsageError(
                "The rendezvous configuration string must be in format <key1>=<value1>,...,<keyN>=<valueN>. "
                f"--rdzv-conf is {text!r}"
            )
        if not value:
            raise UsageError(
                f"The rendezvous configuration option '{key}' must have a value specified. --rdzv-conf is {text!r}"
            )
        if key.endswith("timeout"):
            _integer(value, f"--rdzv-conf {key} is in whole seconds")
        settings[key] = value
    return settings


def _node_rank(arguments: Arguments, max_nodes: int) -> int | None:
    if not 0 <= arguments.node_rank < max_nodes:
        raise UsageError(
            f"node_rank must be >= 0 and < max_nodes, got node_rank={arguments.node_rank}, max_nodes={max_nodes}: "
            "nodes are counted from 0"
        )
    return arguments.node_rank if "node_rank" in arguments.given else None


def _kind(arguments: Arguments) -> EntryKind:
    if arguments.run_path:
        return EntryKind.RUN_PATH
    if arguments.no_python and arguments.module:
        raise UsageError(
            "Don't use both the '--no-python' flag and the '--module' flag at the same time. "
            "A module needs python; leave one of them out"
        )
    if arguments.no_python:
        return EntryKind.PROGRAM
    return EntryKind.MODULE if arguments.module else EntryKind.SCRIPT


def _start_method(arguments: Arguments) -> str | None:
    if "start_method" not in arguments.given or arguments.start_method == AUTO:
        return None
    if arguments.start_method not in START_METHODS:  # argparse does not check what PET_START_METHOD says
        raise UsageError(
            f"cannot find context for {arguments.start_method!r}: "
            f"give --start-method {', '.join(START_METHODS)} or {AUTO}"
        )
    return arguments.start_method


def _streams(flag: str, text: str) -> StreamSelection:
    if re.fullmatch("[0-3]", text):
        return StreamSelection(everyone=Std(int(text)))
    if not re.fullmatch(r"([0-9]+:[0-3],)*[0-9]+:[0-3]", text):
        raise UsageError(f"{text} does not match: {STREAMS_FORMS}: give {flag} 3 for both streams, or RANK:STREAMS,...")
    pairs = (pair.split(":") for pair in text.split(","))
    return StreamSelection(by_local_rank={int(rank): Std(int(streams)) for rank, streams in pairs})


def _local_ranks(text: str, nproc_per_node: int) -> frozenset[int] | None:
    if not text:
        return None
    try:
        ranks = frozenset(map(int, text.split(",")))
    except ValueError:
        raise UsageError(
            "--local_ranks_filter must be a comma-separated list of integers e.g. --local_ranks_filter=0,1,2: "
            f"it is {text!r}"
        ) from None
    for rank in sorted(ranks):
        if not 0 <= rank < nproc_per_node:
            raise UsageError(
                f"--local-ranks-filter names local rank {rank}: local ranks go from 0 to {nproc_per_node - 1} "
                f"(--nproc-per-node {nproc_per_node}); leave it out"
            )
    return ranks


def _signals(names: str) -> tuple[signal.Signals, ...]:
    unknown = unknown_signals(names)
    known = dict.fromkeys(signal.Signals[name] for name in map(str.strip, names.split(",")) if name not in unknown)
    for number in known:
        if number in (signal.SIGKILL, signal.SIGSTOP):
            raise UsageError(f"[Errno 22] Invalid argument: --signals-to-handle: no process can handle {number.name}")
    return tuple(known)


def _shutdown_timeout_s(seconds: int | None, environment: Mapping[str, str]) -> float:
    where = "--shutdown-timeout"
    if seconds is None:
        where = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
        seconds = _integer(environment.get(where, "30"), f"{where} is a number of seconds")
    if seconds < 0:
        raise UsageError(f"shutdown_timeout must be non-negative, got {seconds}: {where}; 0 kills at once")
    return seconds
