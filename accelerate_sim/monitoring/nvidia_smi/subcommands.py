"""The sub-commands ``dmon``, ``pmon``, ``topo`` and ``nvlink``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from accelerate_sim.monitoring.nvidia_smi.options import INVALID, Arguments, InvalidArguments, ids_of, whole
from accelerate_sim.monitoring.nvidia_smi.reading import Reading

_ALWAYS = {"-h": "help", "--help": "help", "--node": "node", "--job": "job"}
_MONITOR = _ALWAYS | {
    "-i": "id", "--id": "id", "-d": "delay", "--delay": "delay", "-c": "count", "--count": "count",
    "-s": "select", "--select": "select", "-o": "options", "--options": "options",
    "-f": "filename", "--filename": "filename",
}  # fmt: skip
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "dmon": _MONITOR,
    "pmon": _MONITOR,
    "topo": _ALWAYS | {"-m": "show", "--matrix": "show"},
    "nvlink": _ALWAYS | {"-s": "show", "--status": "show", "-i": "id", "--id": "id"},
}
_FLAGS = ("help", "show")


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A sub-command with its options; ``arguments`` are those that the tool itself has, too."""

    name: str
    arguments: Arguments
    groups: str = ""
    moments: str = ""
    count: int | None = None
    """Number of samples; None: until it is ended."""

    def display(self) -> Callable[[Reading, bool], str]:
        """A function from a reading and a flag for the first one to the text."""
        if self.name in ("topo", "nvlink"):
            from accelerate_sim.monitoring.nvidia_smi.topology import links, matrix

            show = matrix if self.name == "topo" else links
            return lambda reading, first: show(reading)
        from accelerate_sim.monitoring.nvidia_smi.monitors import MonitorTable

        monitor = MonitorTable(self.name, self.groups, self.moments)
        return lambda reading, first: monitor.heading() * first + monitor.sample(reading)


def parse_subcommand(name: str, words: Sequence[str]) -> Subcommand:
    """Parse the words after the name of a sub-command. Raises InvalidArguments."""
    from accelerate_sim.monitoring.nvidia_smi.monitors import DEFAULT_GROUPS, GROUPS

    found = _options(name, words)
    is_monitor = name in GROUPS
    if not is_monitor and not {"show", "help"} & found.keys():
        raise InvalidArguments(INVALID)
    groups, moments = found.get("select", DEFAULT_GROUPS.get(name, "")), found.get("options", "")
    if not set(groups) <= GROUPS.get(name, {}).keys() or not set(moments) <= set("DT"):
        raise InvalidArguments(INVALID)
    arguments = Arguments(
        help="help" in found,
        ids=ids_of(found["id"]) if "id" in found else None,
        loop_s=float(_positive(found.get("delay", "1"))) if is_monitor else None,
        filename=found.get("filename"),
        node=whole(found.get("node", "0"), "--node"),
        job=whole(found["job"], "--job") if "job" in found else None,
    )
    count = _positive(found["count"]) if "count" in found else None
    return Subcommand(name, arguments, groups, moments, count)


def _options(name: str, words: Sequence[str]) -> dict[str, str]:
    known, found, waiting = _OPTIONS[name], dict[str, str](), list(words)
    while waiting:
        option, equals, value = waiting.pop(0).partition("=")
        kind = known.get(option)
        if kind is None or (equals and kind in _FLAGS) or not (equals or kind in _FLAGS or waiting):
            raise InvalidArguments(INVALID)
        found[kind] = value if equals or kind in _FLAGS else waiting.pop(0)
    return found


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 0 < number <= 10**6:
        raise InvalidArguments(INVALID)
    return number
