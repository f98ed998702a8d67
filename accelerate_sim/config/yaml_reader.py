"""Reads YAML into plain values, with the line of every key.

It is built on the parser's events, so that size, depth and aliases are checked while reading, without expansion or
recursion. What it does not do: tags, several documents, merge keys, keys that are not plain text. Numbers and switches
are those of YAML 1.2, so ``1e-4`` is a number (YAML 1.1 wants ``1.0e-4``), and ``no`` and ``1:30`` are text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from accelerate_sim.config.keys import KeyPath
from accelerate_sim.config.problems import ConfigError, Problem, printable, shorten

MOST_NODES = 10_000
"""Most values in a file, aliases expanded."""
DEEPEST = 16
"""Most levels of nested mappings and lists. A config needs four."""

MERGE_KEY = "<<"
_TOO_DEEP = f"more than {DEEPEST} mappings and lists inside each other"
_DEPTH_WAY_OUT = "Sections hold keys, and keys hold values: two levels."
_MERGE_WAY_OUT = "Write the keys of the other mapping here; an alias may stand for a value, as in 'every: *n'."


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?\d[\d_]*")
_QUOTED_OR_BRACKET = re.compile(
    r"""(?:^|(?<=[\s\[{,:]))(?:'[^']*'|"(?:\\.|[^"\\])*"|\#[^\n]*)|[\[{\]}]""", re.DOTALL | re.MULTILINE
)
"""Matches quoted text or a comment, whose brackets do not count, or a bracket."""
_FLOAT = re.compile(r"[-+]?(\.\d[\d_]*|\d[\d_]*(\.[\d_]*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Document:
    """The value of a YAML text, and the line of each mapping key."""

    value: Any
    lines: dict[KeyPath, int]


class _Unreadable(Exception):
    """The text cannot be read any further."""

    def __init__(self, reason: str, way_out: str, mark: Any) -> None:
        self.reason, self.way_out, self.mark = reason, way_out, mark


@dataclass
class _Node:
    """A value that is being assembled."""

    value: Any
    size: int = 1
    """Number of values in it, aliases expanded."""
    height: int = 0
    keys: dict[str, tuple[int, "_Node"]] = field(default_factory=dict)
    """Line and node of each key, in a mapping."""
    items: list[tuple[int, "_Node"]] = field(default_factory=list)
    """Line and node of each item, in a list."""
    pending: tuple[str, Any] | None = None
    """Key, and its mark, whose value comes next in an unfinished mapping."""
    open: bool = True
    """True until it is finished; an alias to it would make it contain itself."""


def read_yaml(text: str, source: str) -> Document:
    """Parse one YAML document; raises :class:`ConfigError` with every duplicate key, or the first fatal problem."""
    reader = _Reader()
    try:
        root = reader.read(yaml.parse(text, Loader=_LOADER))
    except _Unreadable as error:
        raise ConfigError([_problem(source, error.reason, error.way_out, error.mark)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if line := _too_deep(text[: mark.index] if mark else text):
            raise ConfigError([Problem(source, line, "", None, _TOO_DEEP, _DEPTH_WAY_OUT)]) from None
        reason = printable(f"YAML syntax: {error.problem or error.context}{_column(text, mark)}")
        raise ConfigError([_problem(source, reason, _syntax_hint(text, mark), mark)]) from None
    except (yaml.YAMLError, ValueError) as error:
        reason = printable(f"YAML syntax: {str(error).splitlines()[0]}")
        raise ConfigError([_problem(source, reason, "Remove that character.", None)]) from None
    if reader.duplicates:
        raise ConfigError(_problem(source, reason, "Keep one of them.", mark) for reason, mark in reader.duplicates)
    return Document(root.value, dict(_key_lines(root)))


class _Reader:
    """Assembles nodes from events, with an explicit stack."""

    def __init__(self) -> None:
        self.duplicates: list[tuple[str, Any]] = []
        self._root: _Node | None = None
        self._open: list[_Node] = []
        """The unfinished collections, the outermost first."""
        self._anchors: dict[str, _Node] = {}
        self._size = 0

    def read(self, events: Iterable[Any]) -> _Node:
        """Read all events of one document. Raises :class:`_Unreadable` at the first that is not allowed."""
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and self._root:
                raise _Unreadable("a second document begins here", "A config is one document.", event.start_mark)
            if isinstance(event, yaml.CollectionEndEvent):
                self._close(self._open.pop())
            elif isinstance(event, yaml.NodeEvent):
                self._take(event)
        return self._root or _Node(None)

    def _take(self, event: Any) -> None:
        parent = self._open[-1] if self._open else None
        if parent and isinstance(parent.value, dict) and parent.pending is None:
            parent.pending = self._key(event), event.start_mark
            return
        node = self._node(event)
        if parent:
            self._put(parent, node, event.start_mark)
        else:
            self._root = node
        if isinstance(event, yaml.CollectionStartEvent):
            self._open.append(node)
        else:
            self._close(node)

    def _close(self, node: _Node) -> None:
        node.open = False
        if self._open:
            parent = self._open[-1]
            parent.size += node.size
            parent.height = max(parent.height, node.height + 1)

    def _node(self, event: Any) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            node = self._anchored(str(event.anchor), event.start_mark)
        else:
            node = self._new(event)
            if event.anchor:
                self._anchors[event.anchor] = node
        self._size += node.size
        if self._size > MOST_NODES:
            reason = f"more than {MOST_NODES:,} values, aliases expanded"
            raise _Unreadable(reason, "A config is a page of YAML; is it the right file?", event.start_mark)
        if len(self._open) + node.height > DEEPEST:
            raise _Unreadable(_TOO_DEEP, _DEPTH_WAY_OUT, event.start_mark)
        return node

    def _anchored(self, anchor: str, mark: Any) -> _Node:
        node = self._anchors.get(anchor)
        if node and not node.open:
            return node
        reason = "stands inside what it repeats" if node else "has no anchor"
        raise _Unreadable(f"alias '*{shorten(anchor)}' {reason}", "Write the value itself.", mark)

    def _new(self, event: Any) -> _Node:
        if event.tag and event.tag != "!":
            reason = f"tag '{shorten(event.tag)}'"
            raise _Unreadable(reason, "Tags are not read; remove it.", event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            # A quoted scalar is text whatever it looks like.
            value = plain_scalar(event.value) if event.implicit[0] else event.value
            return _Node(value)
        return _Node({} if isinstance(event, yaml.MappingStartEvent) else [])

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise _Unreadable("a key that is not text", "Write keys as 'key: value'.", event.start_mark)
        if event.value == MERGE_KEY and event.implicit[0]:
            raise _Unreadable("merge key '<<' is not read", _MERGE_WAY_OUT, event.start_mark)
        return str(event.value)

    def _put(self, parent: _Node, node: _Node, begin: Any) -> None:
        if parent.pending is None:
            parent.value.append(node.value)
            parent.items.append((begin.line + 1, node))
            return
        key, mark = parent.pending
        parent.pending = None
        if key in parent.keys:
            self.duplicates.append((f"key '{shorten(key)}' was given in line {parent.keys[key][0]} already", mark))
        parent.keys[key] = mark.line + 1, node
        parent.value[key] = node.value


def plain_scalar(text: str) -> Any:
    """The value of an unquoted scalar: null, a switch, a number, or the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(text) and len(digits) <= 40:
        return int(digits)
    if _FLOAT.fullmatch(text):
        return float(digits.replace(".", "", 1) if digits.lower().lstrip("+-") in (".inf", ".nan") else digits)
    return text


def _key_lines(root: _Node) -> Iterator[tuple[KeyPath, int]]:
    """Dotted path and line of every key and list item; the number of nodes is bounded, and so is their depth."""
    stack: list[tuple[KeyPath, _Node]] = [((), root)]
    while stack:
        path, node = stack.pop()
        items = ((str(number), item) for number, item in enumerate(node.items))
        for key, (line, child) in (*node.keys.items(), *items):
            yield (*path, key), line
            stack.append(((*path, key), child))


def _too_deep(text: str) -> int | None:
    """The line in which more than DEEPEST brackets are open at a time; None if there is none.

    Asked after the parser has refused the text: some versions of the parser have a lower limit of their own, and
    reach it before they return the first bracket.
    """
    depth = 0
    for found in _QUOTED_OR_BRACKET.finditer(text):
        if len(found[0]) == 1:
            depth = depth + 1 if found[0] in "[{" else max(0, depth - 1)
        if depth > DEEPEST:
            return text.count("\n", 0, found.start()) + 1
    return None


def _column(text: str, mark: Any) -> str:
    if not mark:
        return ""
    return " (at the end)" if mark.index >= len(text) else f" (column {mark.column + 1})"


def _syntax_hint(text: str, mark: Any) -> str:
    lines = text.split("\n")
    if mark and mark.line < len(lines) and "\t" in lines[mark.line]:
        return "Indent with spaces, not with tabs."
    return "Check the colons, quotes, brackets and the indentation around there."


def _problem(source: str, reason: str, way_out: str, mark: Any) -> Problem:
    return Problem(source, mark.line + 1 if mark else None, "", None, reason, way_out)
