"""An argparse parser with torchrun's conventions: both spellings of a flag, and ``PET_*`` variables as defaults."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from fake_torch_dist.terminal.descriptor import printable

PROGRAM = "fake-torchrun"
AUTO = "auto"
"""Start method that torchrun does not have, and the default."""
OURS = frozenset({"prefix", "dedupe", "ranks_per_process", "version", "show_completion", "shim"})
"""Destinations of flags that torchrun does not have."""


class UsageError(Exception):
    """A value cannot be used. The text is one line: torchrun's own error, the reason, and the way out.

    ``exit_code`` is 1, as torchrun's, unless torchrun has no such error.
    """

    def __init__(self, text: str, *, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class _Value(argparse.Action):
    """Stores a value; a ``PET_*`` variable gives the default if it is set."""

    def __init__(self, *, dest: str, environment: Mapping[str, str], default: Any = None, **rest: Any) -> None:
        super().__init__(dest=dest, default=environment.get(f"PET_{dest.upper()}", default), **rest)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, values)
        namespace.given.add(self.dest)


class _Switch(argparse.Action):
    """Stores True; a ``PET_*`` variable with any number but 0 does so, too."""

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


class ShowVersion(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from importlib import metadata  # its import costs as much as all of argparse

        try:
            version = metadata.version(PROGRAM)
        except metadata.PackageNotFoundError:
            version = "(not installed: run from its sources)"
        print(f"{PROGRAM} {version}, with the flags of torchrun 2.13")
        parser.exit()


class ShowCompletion(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from fake_torch_dist.launcher.commandline.completion import completion_script

        actions = [action for action in parser._actions if action.option_strings]
        options = [name for action in actions for name in action.option_strings if "_" not in name]
        known = {"|".join(action.option_strings): action.choices for action in actions if action.choices}
        print(completion_script(PROGRAM, options, known, by_python=False), end="")
        parser.exit()


class FlagParser(argparse.ArgumentParser):
    """Adds each flag in both spellings, with dashes and with underscores."""

    def __init__(self, environment: Mapping[str, str], description: str, epilog: str) -> None:
        super().__init__(
            prog=PROGRAM,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.environment = environment

    def error(self, message: str) -> NoReturn:
        """Print argparse's error, with the given values on one line, and exit with code 2."""
        super().error(printable(message))

    def value(self, *names: str, **rest: Any) -> None:
        self.add_argument(*spellings(names), action=_Value, environment=self.environment, **rest)

    def switch(self, *names: str, **rest: Any) -> None:
        self.add_argument(*spellings(names), action=_Switch, environment=self.environment, **rest)

    def _check_value(self, action: Any, value: Any) -> None:
        """Check a value as argparse does, whose error names torchrun's choices; ``auto`` is ours."""
        if not (action.dest == "start_method" and value == AUTO):
            super()._check_value(action, value)

    def _get_option_tuples(self, option_string: str) -> Any:
        """Return the options that an abbreviation may mean, without ours: ``--no-p`` is torchrun's ``--no-python``."""
        return [candidate for candidate in super()._get_option_tuples(option_string) if candidate[0].dest not in OURS]


def spellings(names: Sequence[str]) -> list[str]:
    """Return the names with dashes, and with underscores where there is a difference."""
    underscored = [f"--{name[2:].replace('-', '_')}" for name in names if name.startswith("--")]
    return [*names, *(name for name in underscored if name not in names)]
