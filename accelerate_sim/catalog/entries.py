"""Named entries of a YAML file, parsed and validated one at a time."""

import re
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict

_YamlLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is 10 times faster

_ENTRY_START = re.compile(r"^(?=[^\s#])", re.MULTILINE)
"""The beginning of an entry: its name stands at the left margin, unlike its fields and comments."""


class Entry(BaseModel):
    """A fact sheet: frozen, with nothing in it that its class does not describe."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


Spec = TypeVar("Spec", bound=Entry)


class UnknownName(ValueError):
    """A name that the catalog does not have."""

    def __init__(self, kind: str, name: str, suggestions: list[str]) -> None:
        self.kind = kind
        self.name = name
        self.suggestions = suggestions
        """Known names that look like it, the closest first."""
        guess = f"Did you mean {suggestions[0]!r}? " if suggestions else ""
        super().__init__(f"unknown {kind} {name!r}. {guess}--list {kind}s shows all")


class Entries(Generic[Spec]):
    """The entries of ``file``, each under its name; look-ups ignore case."""

    def __init__(self, kind: str, spec: type[Spec], file: str) -> None:
        self.kind = kind
        self._spec = spec
        self._path = Path(__file__).with_name(file)
        self.get = cache(self._get)

    def names(self) -> list[str]:
        """Return all names in the order of the file."""
        return list(self._blocks)

    def _get(self, name: str) -> Spec:
        """Return the entry called ``name``, or raise :class:`UnknownName`."""
        known = self._name_by_lower_case.get(name.lower())
        if known is None:
            raise UnknownName(self.kind, name, self._suggestions(name))
        fields = yaml.load(self._blocks[known], Loader=_YamlLoader)[known]
        return self._spec.model_validate({"name": known, **fields})

    def _suggestions(self, name: str) -> list[str]:
        close = get_close_matches(name.lower(), self._name_by_lower_case, n=3, cutoff=0.7)
        return [self._name_by_lower_case[lower] for lower in close]

    @cached_property
    def _blocks(self) -> dict[str, str]:
        """The text of each entry, unparsed: YAML of a whole file takes ten times a look-up."""
        blocks = _ENTRY_START.split(self._path.read_text(encoding="utf-8"))
        return {block.partition(":")[0]: block for block in blocks[1:]}

    @cached_property
    def _name_by_lower_case(self) -> dict[str, str]:
        return {name.lower(): name for name in self._blocks}
