"""``plan_ahead``: plans the first run of a command line before the processes that train it are forked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from accelerate_sim.cli.command import OptionCommand, without_local_rank
from accelerate_sim.cli.config_changes import changes_of
from accelerate_sim.cli.train_command import train_command
from accelerate_sim.process.placement import Placement
from accelerate_sim.session.ready_runs import make_ready
from accelerate_sim.session.run_source import RunSource
from fake_torch_dist.launcher.environment_names import MAX_RESTARTS, RANKS_PER_PROCESS

_SHOWING = ("listing", "plan", "print_config", "show_completion", "version")
"""Parameters of the command with which it trains nothing."""


def plan_ahead(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Plan the run that rank 0 would plan with these words and this environment, if a config file says which.

    Raises whatever is wrong with them, as ConfigError or as an error of typer's; rank 0 will find and report it.
    """
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(cls=OptionCommand)(train_command(lambda _: None, None, None))
    arguments, _ = without_local_rank(words)
    options = typer.main.get_command(app).make_context("train.py", arguments, resilient_parsing=True).params
    config: Path | None = options["config"]
    if config is None or not config.is_file() or options["resume"] or any(options[name] for name in _SHOWING):
        return  # a run that is drawn differs each time, and a pipe can be read only once
    placement = Placement.of(environment)
    assert placement
    placement = placement.playing(int(environment.get(RANKS_PER_PROCESS, 1)))
    source = RunSource(config, changes_of(options), options["seed"], placement, None, options["fault"] or ())
    make_ready(source.raw, source.plan(1), int(environment[MAX_RESTARTS]))
