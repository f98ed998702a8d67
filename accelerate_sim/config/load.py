"""Turns a YAML file and ``--set`` overrides into a run's config, or reports every problem with them.

Nothing is corrected silently. A key with a bad value is left out and the rest is checked without it, so that the
messages of one attempt are enough to correct a file.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.consequences import of_their_own
from accelerate_sim.config.drawn_values import bad_draws, draws_in, values_to_check, with_draws
from accelerate_sim.config.files import read_text, refuse_control_characters
from accelerate_sim.config.keys import KeyPath, dotted, field_at, overlaid, path_of, value_at, with_value
from accelerate_sim.config.problems import ConfigError, Problem, printable, shorten, shown
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.play import PlayConfig
from accelerate_sim.config.validation import Found, leave_out, validated
from accelerate_sim.config.validation_messages import kind_of
from accelerate_sim.config.yaml_reader import read_yaml

OVERRIDE = "--set"
ATTEMPTS = 64
"""Times that a run draws again because drawn values disagree, e.g. heads and tensor-parallel size."""

Check = Callable[[RunConfig], Problem | None]


@dataclass(frozen=True)
class Override:
    """A changed key, and the option of the command line that changes it."""

    text: str
    """``section.key=value``, the value as YAML."""
    option: str = OVERRIDE


@dataclass(frozen=True)
class ConfigSource:
    """The raw config of a session, with the source of every key and the problems of reading it."""

    name: str
    """Name of the file; empty without one."""
    data: Mapping[str, Any]
    """Values as written, overrides included, before draws and checks."""
    places: Mapping[KeyPath, tuple[str, int | None]]
    """Source and line of each key."""
    unreadable: tuple[Problem, ...] = ()
    unread: tuple[KeyPath, ...] = ()
    """Keys of the overrides that could not be read."""

    @classmethod
    def read(
        cls, path: Path | None, overrides: Sequence[str | Override] = (), base: Mapping[str, Any] | None = None
    ) -> "ConfigSource":
        """Read a file over ``base`` and under ``overrides``, of which plain text is one of ``--set``; None: defaults.

        Problems of reading are kept, and reported by :meth:`resolve`.
        """
        source = cls("", dict(base or {}), {})
        if path is not None:
            source = source._with_file(path)
        for override in overrides:
            source = source._with_override(Override(override) if isinstance(override, str) else override)
        return source

    def with_cluster(self, shape: Mapping[str, int | str], by: str) -> "ConfigSource":
        """The same config on a cluster of another shape or name; messages name ``by`` as the source of that."""
        places: dict[KeyPath, tuple[str, int | None]] = {("cluster", key): (by, None) for key in shape}
        data = overlaid(self.data, {"cluster": dict(shape)})
        return replace(self, data=data, places={**self.places, **places})

    def with_faults(self, faults: Sequence[str], option: str) -> "ConfigSource":
        """The same config with more entries in ``faults.play``, which ``option`` of the command line names."""
        if not faults:
            return self
        path = ("faults", "play")
        written = value_at(self.data, path)
        before = list(written) if isinstance(written, list | tuple) else [written] if written else []
        places: dict[KeyPath, tuple[str, int | None]] = {
            (*path, str(len(before) + number)): (option, None) for number in range(len(faults))
        }
        places.setdefault(path, (option, None))
        return replace(self, data=with_value(self.data, path, [*before, *faults]), places={**places, **self.places})

    def resolve(self, number: int = 1, check: Check | None = None) -> RunConfig:
        """Return the config of run ``number`` of a session. Raises :class:`ConfigError` with all problems.

        ``check`` tests a config in which all keys agree, for example for a model that does not fit the GPUs.
        """
        found = self._fixed_problems()
        config, problems = self._resolve_once(number, 0, found, check)
        attempts = ATTEMPTS if any(draws_in(self.data)) and not found and not self.unreadable else 1
        for attempt in range(1, attempts if problems else 1):
            config, others = self._resolve_once(number, attempt, found, check)
            if not others:
                return config
        if problems:
            by_line = sorted(
                dict.fromkeys(problems), key=lambda problem: (problem.source.startswith("--"), problem.line or 0)
            )
            raise ConfigError(by_line)
        return config

    def located(self, problem: Problem, path: KeyPath = ()) -> Problem:
        """The same problem with the file and line of its key, or of the first related key that was written."""
        if problem.source:
            return problem
        problem = replace(problem, value=self._marked(problem))
        about = path or path_of(problem.key)
        for place in (about, *map(path_of, problem.related)):
            if where := self._place(place):
                return _placed(problem, *where, is_its_own=place == about)
        return replace(problem, source=self.name)

    def _place(self, path: KeyPath) -> tuple[str, int | None] | None:
        """Source and line of a key, of the mapping that holds it, or else of a key beside it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        beside = (where for place, where in self.places.items() if len(path) > 1 and place[:-1] == path[:-1])
        return next(beside, None)

    def _marked(self, problem: Problem) -> str | None:
        """The value as text, with its origin if it was not written."""
        path = path_of(problem.key)
        if problem.value is None or field_at(path) is None:
            return problem.value
        written = value_at(self.data, path)
        if isinstance(written, Mapping) and "draw" in written and problem.value != shown(written):
            return f"{problem.value} (drawn)"
        return problem.value if path in self.places or written is not None else f"{problem.value} (the default)"

    # --- Reading --------------------------------------------------------------------------------

    def _with_file(self, path: Path) -> "ConfigSource":
        name = printable(str(path))
        source = replace(self, name=name)
        try:
            document = read_yaml(read_text(path), name)
        except ConfigError as error:
            return replace(source, unreadable=error.problems)
        if not isinstance(document.value, Mapping):
            problem = _not_a_config(document.value, name)
            return replace(source, unreadable=(problem,))
        places = {key: (name, line) for key, line in document.lines.items()}
        return replace(source, data=overlaid(self.data, document.value), places=places)

    def _with_override(self, override: Override) -> "ConfigSource":
        key, equals, text = override.text.partition("=")
        path = tuple(key.strip().split("."))
        if not equals or not all(path):
            return self._without_override(*_no_override(override.text))
        try:
            refuse_control_characters(text, override.option)
            value = read_yaml(text, override.option).value
        except ConfigError as error:
            problem = error.problems[0]
            return self._without_override(path, f"{shorten(key)}: {problem.reason}", problem.way_out)
        for end in range(1, len(path)):
            outer = value_at(self.data, path[:end])
            if outer is not None and not isinstance(outer, Mapping):
                section = shorten(dotted(path[:end]))
                reason = f"{shorten(key)}: {section} is {kind_of(outer)}, {shown(outer)}, and has no keys"
                return self._without_override(path, reason, f"Set {section} itself.")
        places = {place: where for place, where in self.places.items() if place[: len(path)] != path}
        places[path] = override.option, None
        return replace(self, data=with_value(self.data, path, value), places=places)

    def _without_override(self, path: KeyPath, reason: str, way_out: str) -> "ConfigSource":
        problem = Problem(OVERRIDE, None, "", None, reason, way_out)
        return replace(self, unreadable=(*self.unreadable, problem), unread=(*self.unread, path))

    # --- Checking -------------------------------------------------------------------------------

    def _fixed_problems(self) -> Found:
        """Problems that do not depend on draws."""
        found = list(bad_draws(self.data))
        data = leave_out(self.data, (path for path, _ in found))
        for path, value in values_to_check(data):
            _, problems = validated(with_value({}, path, value))
            # A key that is checked alone lacks the keys that belong to it, which is no problem.
            found += [(path, problem) for about, problem in problems if value_at(data, about) is not None][:1]
        return found

    def _resolve_once(
        self, number: int, attempt: int, found: Found, check: Check | None
    ) -> tuple[RunConfig, list[Problem]]:
        data = leave_out(self.data, (path for path, _ in found))
        data = with_draws(data, _seed(data) + number - 1, attempt)
        config, refused = validated({key: value for key, value in data.items() if value is not None})
        problems = [*self.unreadable, *(self.located(problem, path) for path, problem in (*found, *refused))]
        if any(problem.source != OVERRIDE for problem in self.unreadable):
            return config, problems  # the file could not be read, so nothing can disagree with it
        disagreeing = conflicts(config)
        if check and not disagreeing and (misfit := check(config)):
            disagreeing = [misfit]
        offending = [*self.unread, *(path for path, _ in (*found, *refused))]
        return config, [*problems, *map(self.located, of_their_own(disagreeing, offending, self.data))]


def _placed(problem: Problem, source: str, line: int | None, *, is_its_own: bool) -> Problem:
    """The problem with its source. An option that sets the key alone, such as --speed, is named instead of the key."""
    stands_for_key = is_its_own and source.startswith("--") and source != OVERRIDE
    key = "" if stands_for_key and problem.value is not None else problem.key
    return replace(problem, source=source, line=line, key=key)


def _no_override(text: str) -> tuple[KeyPath, str, str]:
    """(key that was probably meant, reason, way out) for an unknown key."""
    key, colon, value = text.partition(":")
    way_out = f"--set {shorten(key.strip())}={shorten(value.strip())}" if colon else "e.g. --set train.lr=1e-4"
    return tuple(key.strip().split(".")), f"'{shorten(text)}' is not KEY=VALUE", f"Write {way_out}."


def _seed(data: Mapping[str, Any]) -> int:
    """The seed to draw with; the default seed in place of one that the schema will refuse."""
    try:
        return RunConfig.model_validate({"run": {"seed": value_at(data, ("run", "seed"))}}).run.seed
    except ValidationError:
        return PlayConfig().seed


def _not_a_config(value: Any, name: str) -> Problem:
    if value is None:
        way_out = "See configs/ for examples, or --print-config for all keys."
        return Problem(name, None, "", None, "the file is empty", way_out)
    reason = f"the file is {kind_of(value)}, not a mapping of keys to values"
    return Problem(name, 1, "", None, reason, "Write 'model: llama-3-70b' and the like.")
