"""The flags of ``fake-torchrun``, in torchrun's order (2.13), with a few of our own, and the text of ``--help``."""

from __future__ import annotations

import argparse

from fake_torch_dist.launcher.commandline.parser import (
    AUTO,
    FlagParser,
    ShowCompletion,
    ShowVersion,
    spellings,
)
from fake_torch_dist.launcher.commandline.shim import MakeShim
from fake_torch_dist.torch_names import MASTER_PORT

DESCRIPTION = """\
fake-torchrun: torchrun (2.13) without torch. It takes torchrun's flags, gives
ranks torchrun's environment and ends with its exit codes. With --nnodes N it
is a whole cluster on one machine: N nodes, their ranks, their output merged."""

EPILOG = """\
What differs from torchrun:
  --nnodes N starts all N nodes here, unless --node-rank, --rdzv-endpoint,
      --master-addr or --master-port is given: then this is one of the nodes.
  --prefix, --no-prefix, --dedupe, --ranks-per-process, --show-completion,
      --shim, --version and --start-method auto are ours.
  --monitor-interval, --event-log-handler, --logs-specs and --numa-binding have
      no effect here; a line on stderr names those that are given.
  Output is merged in whole lines; no rank outlives the launcher; a second
      Ctrl-C kills at once. A bad value is one line, not a traceback.
Every flag of torchrun but --logs-specs and --numa-binding takes its default
from PET_<FLAG>, such as PET_NPROC_PER_NODE=8 or PET_STANDALONE=1."""

START_METHODS = ("spawn", "fork", "forkserver")
NUMA_BINDINGS = ("node", "socket", "exclusive", "core-complex")


def add_flags(parser: FlagParser) -> None:
    """Add all flags, and the script with its arguments."""
    _add_size(parser)
    _add_rendezvous(parser)
    _add_ranks(parser)
    _add_output(parser)
    _add_node(parser)
    _add_flags_without_meaning(parser)
    _add_shutdown(parser)
    _add_ours(parser)
    parser.add_argument(
        "training_script",
        help="Program of every rank: a Python file, a module with -m, or an executable with --no-python.",
    )
    parser.add_argument(
        "training_script_args", nargs=argparse.REMAINDER, help="Arguments of the script, passed on unchanged."
    )


def _add_size(parser: FlagParser) -> None:
    parser.value("--nnodes", default="1:1", help="Nodes of the job: N, or MIN:MAX if it can lose and gain nodes.")
    parser.value(
        "--nproc-per-node", default="1",
        help="Ranks on each node: a number; cpu for as many CPUs as this process may use; gpu for as many GPUs as "
        "CUDA_VISIBLE_DEVICES, NVIDIA_VISIBLE_DEVICES or SLURM_GPUS_ON_NODE says; auto for gpu, else cpu.",
    )  # fmt: skip


def _add_rendezvous(parser: FlagParser) -> None:
    parser.value("--rdzv-backend", default="static", help="Rendezvous of the nodes: static or c10d.")
    parser.value("--rdzv-endpoint", default="", help="Address of the rendezvous: HOST:PORT.")
    parser.value("--rdzv-id", default="none", help="The job's name, the same on all of its nodes.")
    parser.value("--rdzv-conf", default="", help="Further settings of the rendezvous: KEY=VALUE,KEY=VALUE.")
    parser.switch(
        "--standalone",
        help="Only this node: rendezvous on a free port of this machine, under a fresh id. Takes precedence over "
        "--rdzv-backend, --rdzv-endpoint and --rdzv-id.",
    )


def _add_ranks(parser: FlagParser) -> None:
    parser.value("--max-restarts", type=int, default=0, help="Restarts of all ranks after failures, at most.")
    parser.value("--monitor-interval", type=float, default=0.1, help="Of no effect here: ranks are not polled.")
    parser.value(
        "--start-method", choices=START_METHODS, default=AUTO, metavar=f"{{{AUTO},{','.join(START_METHODS)}}}",
        help="spawn: a fresh interpreter for each rank, as torchrun starts a script. fork, forkserver: forks of an "
        "interpreter that has imported the script's modules, quicker and smaller. auto, the default: fork for scripts "
        "that begin by importing fake_torch_dist or accelerate_sim, spawn for all others.",
    )  # fmt: skip
    parser.value("--event-log-handler", default="null", help="Of no effect here: no events are sent.")
    parser.value("--role", default="default", help="Name of the ranks in ROLE_NAME and in prefixes of lines.")
    parser.switch("-m", "--module", help="The script is a module's name, to be run like python -m.")
    parser.switch("--no-python", help="The script is a program, to be run without python.")
    parser.switch("--run-path", help="Run the script by runpy.run_path. Takes precedence over --no-python and -m.")


def _add_output(parser: FlagParser) -> None:
    parser.value("--log-dir", help="Directory for log files; each run makes a new directory in it.")
    parser.value(
        "-r", "--redirects", default="0",
        help="Streams that go to log files only: 0 none, 1 stdout, 2 stderr, 3 both; or by local rank: 0:1,1:2.",
    )  # fmt: skip
    parser.value("-t", "--tee", default="0", help="Streams for log files and, prefixed, the console; as in -r.")
    parser.value(
        "--local-ranks-filter", default="",
        help="Local ranks whose output reaches the console, such as 0,1. Log files are written for all.",
    )  # fmt: skip
    for stream in ("stdout", "stderr"):
        parser.value(
            f"--duplicate-{stream}-filters", type=_comma_list, default=[],
            help=f"Lines of tee'd {stream} with one of these words also go to filtered_{stream}.log: a comma list, "
            "in which two commas stand for one in a word.",
        )  # fmt: skip


def _add_node(parser: FlagParser) -> None:
    parser.value("--node-rank", type=int, default=0, help="Number of this node, from 0; for static rendezvous.")
    parser.value("--master-addr", default="127.0.0.1", help="Address of node 0; for static rendezvous.")
    parser.value(
        "--master-port", type=int, help=f"Port of node 0; for static rendezvous. {MASTER_PORT} if several nodes meet."
    )
    parser.value("--local-addr", help="Address of this node, in place of its host name.")


def _add_flags_without_meaning(parser: FlagParser) -> None:
    parser.add_argument(*spellings(["--logs-specs"]), help="Of no effect here: a plugin made of torch's classes.")
    parser.add_argument(
        *spellings(["--numa-binding"]), choices=NUMA_BINDINGS, help="Of no effect here: there are no GPUs."
    )


def _add_shutdown(parser: FlagParser) -> None:
    parser.value(
        "--signals-to-handle", default="SIGTERM,SIGINT,SIGHUP,SIGQUIT",
        help="Signals that are passed on to the ranks and end the job.",
    )  # fmt: skip
    parser.value(
        "--shutdown-timeout", type=int,
        help="Seconds that ranks have for an orderly end before SIGKILL: TORCH_ELASTIC_SHUTDOWN_TIMEOUT, or 30.",
    )  # fmt: skip
    parser.switch("--virtual-local-rank", help="LOCAL_RANK is 0 for every rank, its device the only one visible.")


def _add_ours(parser: FlagParser) -> None:
    parser.add_argument(
        "--prefix", action=argparse.BooleanOptionalAction,
        help="Begin each line with the rank that wrote it: always, or never. Default: only with -t.",
    )  # fmt: skip
    parser.add_argument("--dedupe", action="store_true", help="Print a line that many ranks write only once.")
    parser.value(
        "--ranks-per-process", default="1", metavar="{N,node}",
        help="Ranks that each process plays, for train.py alone: N, which divides --nproc-per-node, or node for all of "
        "a node.",
    )  # fmt: skip
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="Print the version and exit.")
    parser.add_argument(
        "--show-completion", action=ShowCompletion, nargs=0,
        help='Print a script that completes these options in bash and zsh: eval "$(fake-torchrun --show-completion)".',
    )  # fmt: skip
    parser.add_argument(
        "--shim", action=MakeShim, metavar="DIR",
        help="Make DIR/torchrun, which is this program, and exit: for what starts torchrun by its name.",
    )  # fmt: skip


def _comma_list(text: str) -> list[str]:
    """Split at single commas; two commas stand for one in a word."""
    return [word.replace("\0", ",") for word in text.replace(",,", "\0").split(",")]
