"""The command line of ``fake-nvidia-smi``: nvidia-smi's options that print, and three of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from accelerate_sim.monitoring.nvidia_smi.query import CsvFormat
from accelerate_sim.monitoring.nvidia_smi.report import DISPLAYS

INVALID = "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n"
"""The text of nvidia-smi."""
DEFAULT_LOOP_S = 5.0

HELP = """NVIDIA System Management Interface -- simulated

fake-nvidia-smi shows the GPUs of a running simulated job as nvidia-smi would. The job must have been started with
--publish (python train.py --publish); there is no GPU, and nothing here can change one.

nvidia-smi [OPTION1 [ARG1]] [OPTION2 [ARG2]] ...

    -h,   --help                Print usage information and exit.
          --version             Print version information and exit.

  LIST OPTIONS:

    -L,   --list-gpus           Display a list of GPUs connected to the system.

  SUMMARY OPTIONS:

    <no arguments>              Show a summary of GPUs connected to the system.

    [plus any of]

    -i,   --id=                 Target specific GPUs: indices, PCI bus ids or UUIDs, separated by commas.
    -l,   --loop=               Probe until Ctrl+C at specified second interval.
    -lms, --loop-ms=            Probe until Ctrl+C at specified millisecond interval.

  QUERY OPTIONS:

    -q,   --query               Display GPU info.

    [plus any of]

    -x,   --xml-format          Produce XML output.
    -d,   --display=            Display only selected information:
                                {displays}.

  SELECTIVE QUERY OPTIONS:

    --query-gpu=                Information about GPUs. Call --help-query-gpu for the properties.
    --query-compute-apps=       List of processes: timestamp, gpu_name, gpu_bus_id, gpu_serial, gpu_uuid, pid,
                                process_name, used_gpu_memory.

    [mandatory]

    --format=                   Comma separated list of format options:
                                csv - comma separated values (MANDATORY)
                                noheader - skip first line with column headers
                                nounits - don't print units for numerical values

  SIMULATION OPTIONS (not nvidia-smi's):

    --node=                     Node of the simulated cluster, from 0. [default: 0]
    --job=                      Process id of the job. [default: the newest one]

  Exit codes: 0 success, 2 an invalid argument, 6 no such GPU, 9 no driver, that is no published job.
"""


class InvalidArguments(Exception):
    """Raised for a wrong command line. The text goes to standard output, as that of nvidia-smi does."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The output that is asked for, its interval, and the GPUs."""

    help: bool = False
    version: bool = False
    help_query: bool = False
    list_gpus: bool = False
    query: bool = False
    xml: bool = False
    displays: tuple[str, ...] = ()
    gpu_fields: str | None = None
    app_fields: str | None = None
    csv: CsvFormat = field(default_factory=CsvFormat)
    ids: tuple[str, ...] | None = None
    loop_s: float | None = None
    node: int = 0
    job: int | None = None


_FLAGS = {
    "-h": "help", "--help": "help", "--version": "version", "--help-query-gpu": "help_query",
    "-L": "list_gpus", "--list-gpus": "list_gpus", "-q": "query", "--query": "query", "-a": "query",
    "-x": "xml", "--xml-format": "xml",
}  # fmt: skip
_VALUES = {
    "-i": "id", "--id": "id", "-l": "loop", "--loop": "loop", "-lms": "loop-ms", "--loop-ms": "loop-ms",
    "-d": "display", "--display": "display", "--query-gpu": "gpu_fields", "--query-compute-apps": "app_fields",
    "--format": "format", "--node": "node", "--job": "job",
}  # fmt: skip


def parse(words: Sequence[str]) -> Arguments:
    """Parse the command line. Raises InvalidArguments."""
    found: dict[str, object] = {}
    has_format = False
    for kind, value in _options(words):
        if kind == "id":
            found["ids"] = tuple(each.strip() for each in value.split(","))
        elif kind in ("loop", "loop-ms"):
            found["loop_s"] = _seconds(value, 1.0 if kind == "loop" else 1e-3)
        elif kind == "display":
            found["displays"] = _displays(value)
        elif kind in ("node", "job"):
            found[kind] = _whole(value, f"--{kind}")
        elif kind == "format":
            has_format, found["csv"] = True, _csv(value)
        else:
            found[kind] = value or True
    arguments = Arguments(**found)  # type: ignore[arg-type]
    selective = arguments.gpu_fields is not None or arguments.app_fields is not None
    if selective and not has_format:
        raise InvalidArguments("\"--format=\" switch is missing. Please run 'nvidia-smi -h' for help.\n")
    modes = (arguments.list_gpus, arguments.query, arguments.gpu_fields, arguments.app_fields)
    if sum(map(bool, modes)) > 1 or (has_format and not selective) or (arguments.xml and not arguments.query):
        raise InvalidArguments(INVALID)
    return arguments


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, value) of each option; values follow after ``=`` or as the next word."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            yield _FLAGS[word], ""
        elif name in _VALUES and equals:
            yield _VALUES[name], value
        elif word in _VALUES and waiting and not waiting[0].startswith("-"):
            yield _VALUES[word], waiting.pop(0)
        elif word in ("-l", "--loop"):
            yield "loop", str(DEFAULT_LOOP_S)
        else:
            raise InvalidArguments(INVALID)


def _seconds(text: str, unit_s: float) -> float:
    try:
        seconds = float(text) * unit_s
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= 86400.0:
        raise InvalidArguments(INVALID)
    return seconds


def _whole(text: str, option: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise InvalidArguments(f"{option} takes a whole number, not {text!r}.\n")
    return int(text)


def _displays(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().upper() for name in text.split(","))
    if not set(names) <= DISPLAYS.keys():
        raise InvalidArguments(INVALID)
    return names


def _csv(text: str) -> CsvFormat:
    words = {word.strip() for word in text.split(",")}
    if "csv" not in words or not words <= {"csv", "noheader", "nounits"}:
        raise InvalidArguments(INVALID)
    return CsvFormat(header="noheader" not in words, units="nounits" not in words)


def help_text() -> str:
    names = list(DISPLAYS)
    lines = [", ".join(names[start : start + 6]) for start in range(0, len(names), 6)]
    return HELP.format(displays=(",\n" + " " * 32).join(lines))
