"""The command line: torchrun 2.13's flags, both spellings, with ``PET_*`` variables as defaults; and a few of ours.

Flags, defaults and argparse's complaints are torchrun's. What values mean is decided in ``config``.
Kept free of costly imports, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from fake_torch_dist.terminal.descriptor import printable

PROGRAM = "fake-torchrun"

DESCRIPTION = """\
fake-torchrun: torchrun (2.13) without torch. It takes torchrun's flags, gives
ranks torchrun's environment and ends with its exit codes. With --nnodes N it
is a whole cluster on one machine: N nodes, their ranks, their output merged."""

EPILOG = """\
What differs from torchrun:
  --nnodes N starts all N nodes here, unless --node-rank, --rdzv-endpoint,
      --master-addr or --master-port is given: then this is one of the nodes.
  --prefix, --no-prefix, --dedupe, --show-completion, --version and
      --start-method auto are ours.
  --monitor-interval, --event-log-handler, --logs-specs and --numa-binding have
      no meaning here; one line on stderr says so when they are given.
  Output is merged in whole lines; no rank outlives the launcher; a second
      Ctrl-C kills at once. A bad value is one line, not a traceback.
Every flag of torchrun but --logs-specs and --numa-binding takes its default
from PET_<FLAG>, such as PET_NPROC_PER_NODE=8 or PET_STANDALONE=1."""

START_METHODS = ("spawn", "fork", "forkserver")
AUTO = "auto"
"""The start method that torchrun does not have, and the default."""
NUMA_BINDINGS = ("node", "socket", "exclusive", "core-complex")
OURS = frozenset({"prefix", "dedupe", "version", "show_completion"})


class UsageError(Exception):
    """A value that can't be used. The text is one line: what torchrun says, why, and the way out.

    ``exit_code`` is 1, as torchrun's, unless torchrun has no such error.
    """

    def __init__(self, text: str, *, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Arguments(argparse.Namespace):
    """What was typed, or came from ``PET_*`` variables; types as argparse leaves them."""

    given: set[str]
    """Names of what was not left at its default, even if it has the same value."""
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
    training_script: str
    training_script_args: list[str]


def parse(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> Arguments:
    """Read a command line (None: this process's). Ends the process with exit code 2 if it can't be read."""
    given = {name.removeprefix("PET_").lower() for name in environment if name.startswith("PET_")}
    return build_parser(environment).parse_args(arguments, Arguments(given=given))


def flags_without_meaning(arguments: Arguments) -> Iterator[str]:
    """One sentence for each flag that was given and changes nothing here."""
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
    """Those of a comma list that are no signals. torchrun warns of them and goes on, too."""
    return [name for name in map(str.strip, names.split(",")) if name not in signal.Signals.__members__]


class _Value(argparse.Action):
    """Stores a value; the default is that of the ``PET_*`` variable if there is one."""

    def __init__(self, *, dest: str, environment: Mapping[str, str], default: Any = None, **rest: Any) -> None:
        super().__init__(dest=dest, default=environment.get(f"PET_{dest.upper()}", default), **rest)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, values)
        namespace.given.add(self.dest)


class _Switch(argparse.Action):
    """Turns something on; so does its ``PET_*`` variable with any number but 0."""

    def __init__(self, *, dest: str, environment: Mapping[str, str], **rest: Any) -> None:
        variable = f"PET_{dest.upper()}"
        try:
            default = bool(int(environment.get(variable, "0")))
        except ValueError as error:
            raise UsageError(f"{error}: {variable} is a switch; set it to 1 or 0") from None
        super().__init__(dest=dest, default=default, const=True, nargs=0, **rest)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, True)
        namespace.given.add(self.dest)


class _Version(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from importlib import metadata  # costs as much as all of argparse

        try:
            version = metadata.version(PROGRAM)
        except metadata.PackageNotFoundError:
            version = "(not installed: run from its sources)"
        print(f"{PROGRAM} {version}, with the flags of torchrun 2.13")
        parser.exit()


class _ShowCompletion(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from fake_torch_dist.launcher.commandline.completion import completion_script

        actions = [action for action in parser._actions if action.option_strings]
        options = [name for action in actions for name in action.option_strings if "_" not in name]
        known = {"|".join(action.option_strings): action.choices for action in actions if action.choices}
        print(completion_script(PROGRAM, options, known, by_python=False), end="")
        parser.exit()


class _Parser(argparse.ArgumentParser):
    """Adds a flag in both spellings: ``--log-dir`` is ``--log_dir``, too."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(
            prog=PROGRAM,
            description=DESCRIPTION,
            epilog=EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.environment = environment

    def error(self, message: str) -> NoReturn:
        """As argparse has it, with what was typed on one line."""
        super().error(printable(message))

    def value(self, *names: str, **rest: Any) -> None:
        self.add_argument(*_spellings(names), action=_Value, environment=self.environment, **rest)

    def switch(self, *names: str, **rest: Any) -> None:
        self.add_argument(*_spellings(names), action=_Switch, environment=self.environment, **rest)

    def _check_value(self, action: Any, value: Any) -> None:
        """As argparse, whose complaint is to name torchrun's choices; ``auto`` is ours."""
        if not (action.dest == "start_method" and value == AUTO):
            super()._check_value(action, value)

    def _get_option_tuples(self, option_string: str) -> Any:
        """Options that an abbreviation may mean. Never ours, or ``--no-p`` would not be torchrun's ``--no-python``."""
        return [candidate for candidate in super()._get_option_tuples(option_string) if candidate[0].dest not in OURS]


def _spellings(names: Sequence[str]) -> list[str]:
    """The names with dashes, and with underscores where there is a difference."""
    underscored = [f"--{name[2:].replace('-', '_')}" for name in names if name.startswith("--")]
    return [*names, *(name for name in underscored if name not in names)]


def build_parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    """The parser, with defaults from ``environment``, flags in torchrun's order.

    Raises UsageError if a switch's variable is no number.
    """
    parser = _Parser(environment)
    _add_size(parser)
    _add_rendezvous(parser)
    _add_ranks(parser)
    _add_output(parser)
    _add_node(parser)
    _add_the_rest(parser)
    _add_ours(parser)
    parser.add_argument("training_script", help="What every rank runs: a Python file, a module with -m, or a program.")
    parser.add_argument("training_script_args", nargs=argparse.REMAINDER, help="Its arguments, passed on untouched.")
    return parser


def _add_size(parser: _Parser) -> None:
    parser.value("--nnodes", default="1:1", help="Nodes of the job: N, or MIN:MAX if it can lose and gain nodes.")
    parser.value(
        "--nproc-per-node", default="1",
        help="Ranks on each node: a number, or auto or cpu for as many as this process may use CPUs.",
    )  # fmt: skip


def _add_rendezvous(parser: _Parser) -> None:
    parser.value("--rdzv-backend", default="static", help="How nodes find each other: static or c10d.")
    parser.value("--rdzv-endpoint", default="", help="Where they find each other: HOST:PORT.")
    parser.value("--rdzv-id", default="none", help="The job's name, the same on all of its nodes.")
    parser.value("--rdzv-conf", default="", help="Further settings of the rendezvous: KEY=VALUE,KEY=VALUE.")
    parser.switch(
        "--standalone",
        help="Wait for nobody: rendezvous on a free port of this machine, under a fresh id. Takes precedence over "
        "--rdzv-backend, --rdzv-endpoint and --rdzv-id.",
    )


def _add_ranks(parser: _Parser) -> None:
    parser.value("--max-restarts", type=int, default=0, help="How often all ranks are started again after a failure.")
    parser.value("--monitor-interval", type=float, default=0.1, help="Of no effect here: ranks are not polled.")
    parser.value(
        "--start-method", choices=START_METHODS, default=AUTO, metavar=f"{{{AUTO},{','.join(START_METHODS)}}}",
        help="spawn: a fresh interpreter for each rank, as torchrun starts a script. fork, forkserver: forks of a warm "
        "one, quicker and smaller. auto, the default: fork for scripts that begin by importing fake_torch_dist or "
        "accelerate_sim, spawn for all others.",
    )  # fmt: skip
    parser.value("--event-log-handler", default="null", help="Of no effect here: no events are sent.")
    parser.value("--role", default="default", help="What the ranks are called in ROLE_NAME and in prefixes of lines.")
    parser.switch("-m", "--module", help="The script is a module's name, to be run like python -m.")
    parser.switch("--no-python", help="The script is a program, to be run without python.")
    parser.switch("--run-path", help="Run the script by runpy.run_path. Takes precedence over --no-python and -m.")


def _add_output(parser: _Parser) -> None:
    parser.value("--log-dir", help="Where log files are kept, in a new directory for each run.")
    parser.value(
        "-r", "--redirects", default="0",
        help="What goes to log files only: 0 nothing, 1 stdout, 2 stderr, 3 both; or by local rank: 0:1,1:2.",
    )  # fmt: skip
    parser.value("-t", "--tee", default="0", help="What goes to log files and, prefixed, to the console; as in -r.")
    parser.value(
        "--local-ranks-filter", default="",
        help="Local ranks whose output reaches the console, such as 0,1. Log files are written for all.",
    )  # fmt: skip
    for stream in ("stdout", "stderr"):
        parser.value(
            f"--duplicate-{stream}-filters", type=_comma_list, default=[],
            help=f"Lines of tee'd {stream} with one of these words also go to filtered_{stream}.log: a comma list, "
            "in which two commas stand for one that is meant.",
        )  # fmt: skip


def _add_node(parser: _Parser) -> None:
    parser.value("--node-rank", type=int, default=0, help="Which of the nodes this is; for static rendezvous.")
    parser.value("--master-addr", default="127.0.0.1", help="Address of node 0; for static rendezvous.")
    parser.value("--master-port", type=int, help="Port of node 0; for static rendezvous. 29500 if several nodes meet.")
    parser.value("--local-addr", help="Address of this node, if its host name is not to be used.")


def _add_the_rest(parser: _Parser) -> None:
    parser.add_argument(*_spellings(["--logs-specs"]), help="Of no effect here: a plugin made of torch's classes.")
    parser.add_argument(
        *_spellings(["--numa-binding"]), choices=NUMA_BINDINGS, help="Of no effect here: there are no GPUs."
    )
    parser.value(
        "--signals-to-handle", default="SIGTERM,SIGINT,SIGHUP,SIGQUIT",
        help="Signals that are passed on to the ranks and end the job.",
    )  # fmt: skip
    parser.value(
        "--shutdown-timeout", type=int,
        help="Seconds that ranks have for an orderly end before SIGKILL: TORCH_ELASTIC_SHUTDOWN_TIMEOUT, or 30.",
    )  # fmt: skip
    parser.switch("--virtual-local-rank", help="LOCAL_RANK is 0 for every rank, its device the only one visible.")


def _add_ours(parser: _Parser) -> None:
    parser.add_argument(
        "--prefix", action=argparse.BooleanOptionalAction,
        help="Say before each line which rank wrote it: always, or never. Otherwise with -t.",
    )  # fmt: skip
    parser.add_argument("--dedupe", action="store_true", help="Print a line that many ranks write only once.")
    parser.add_argument("--version", action=_Version, nargs=0, help="Say the version and exit.")
    parser.add_argument(
        "--show-completion", action=_ShowCompletion, nargs=0,
        help='Print a script that completes these options in bash and zsh: eval "$(fake-torchrun --show-completion)".',
    )  # fmt: skip


def _comma_list(text: str) -> list[str]:
    """Split at single commas; two commas are one that is meant."""
    return [word.replace("\0", ",") for word in text.replace(",,", "\0").split(",")]
