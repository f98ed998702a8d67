"""The typer command of ``train.py``, with error messages and a help of its own that are the same with every typer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from typer.core import TyperCommand

from accelerate_sim.cli.option_values import LISTINGS
from accelerate_sim.cli.standard_streams import all_written
from accelerate_sim.config.problems import ConfigError, Problem, shorten

END_OF_OPTIONS = "--"


_LOCAL_RANK = ("--local_rank", "--local-rank")
"""Option that DeepSpeed and ``torch.distributed.launch`` append to a script's; it is not in the help."""
_ALONE = "-1"
"""Local rank by which scripts say that no launcher has started the process; the default of their parsers."""


def without_local_rank(words: Sequence[str]) -> tuple[list[str], str]:
    """The words of a command line without the local rank that a launcher appends, and that rank; empty without one."""

    def is_rank(text: str) -> bool:
        return text.isdecimal() or text == _ALONE

    rest, found = [], ""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, _, value = word.partition("=")
        if name in _LOCAL_RANK and is_rank(value):
            found = value
        elif word in _LOCAL_RANK and waiting and is_rank(waiting[0]):
            found = waiting.pop(0)
        else:
            rest.append(word)
    return rest, "" if found == _ALONE else found


class OptionCommand(TyperCommand):
    """A command that has options only. ``refuse_mistakes`` checks the words before typer parses them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Split the words into options and values. Raises ConfigError."""
        refuse_mistakes(args, {name: _placeholder(option) for option in self.get_params(ctx) for name in option.opts})
        with all_written():  # --help prints
            return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write each option with its placeholder and its help text."""
        with formatter.section("Options"):
            formatter.write_dl(list(_rows(self.get_params(ctx))))


def completion(options: Sequence[Any], program: str) -> str:
    """A script for bash and zsh that completes options and their values."""
    from accelerate_sim.config.shipped import shipped_configs
    from accelerate_sim.config.value_types import TRACKERS
    from fake_torch_dist.launcher.commandline.completion import completion_script

    names: dict[str, Iterable[str]] = {
        "-c|--config": shipped_configs(), "--list": LISTINGS, "--log-with": TRACKERS, "--resume": ["auto"],
        "--speed": ["max"],
    }  # fmt: skip
    return completion_script(program, [name for each in options for name in each.opts], names, by_python=True)


def refuse_mistakes(words: Sequence[str], options: Mapping[str, str]) -> None:
    """Raise ConfigError at the first word that is no option, that lacks its value, or that has one too many.

    ``options`` maps each option to the placeholder of its value; empty for a switch.
    """
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word == END_OF_OPTIONS:
            continue
        if not word.startswith("-") or word == "-":
            _refuse_word(word)
        elif not word.startswith("--") and len(word) > 2 and word[:2] in options:
            if not options[word[:2]]:  # several switches in one word, such as -ab
                waiting.insert(0, f"-{word[2:]}")
        elif name not in options:
            _refuse_option(name, word, waiting, options)
        elif equals and not options[name]:
            raise _error(name, f"takes no value, and '{shorten(value)}' is given", f"Leave out '={shorten(value)}'.")
        elif options[name] and not equals:
            if not waiting or waiting[0] in options:
                raise _error(name, "needs a value", f"Use {name} {options[name]}.")
            waiting.pop(0)


def _refuse_word(word: str) -> None:
    from accelerate_sim.cli.option_guesses import for_word

    raise _error("", f"'{shorten(word)}' follows no option that takes it", for_word(word))


def _refuse_option(name: str, word: str, after: Sequence[str], options: Mapping[str, str]) -> None:
    from accelerate_sim.cli.option_guesses import for_option

    raise _error(shorten(name), "no such option", for_option(word, after, list(options)))


def _error(source: str, reason: str, way_out: str) -> ConfigError:
    return ConfigError([Problem(source, None, "", None, reason, way_out)])


def _placeholder(option: Any) -> str:
    return "" if option.is_flag else str(option.metavar or "VALUE")


def _rows(options: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for option in options:
        names = ", ".join(sorted(option.opts, key=len))
        yield f"{names} {_placeholder(option)}".rstrip(), option.help or ""
