"""The command that plays runs: reads its options, and runs the session or prints the config or the plan."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from accelerate_sim.cli import declared_options as option
from accelerate_sim.cli.command import completion
from accelerate_sim.cli.standard_streams import all_written, complain
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.process.placement import scheduler_restarts
from accelerate_sim.process.signals import Stopped

if TYPE_CHECKING:
    from accelerate_sim.checkpoints.resume import Resumption
    from accelerate_sim.config.schema import RunConfig
    from accelerate_sim.session.coordination import Coordination
    from accelerate_sim.session.fast_forward import FastForward
    from accelerate_sim.session.options import SessionOptions
    from accelerate_sim.session.recorded_terminal import RecordedTerminal
    from accelerate_sim.session.run_source import RunSource


def train_command(
    train: Callable[[RunConfig], None], coordination: Coordination | None, recording: RecordedTerminal | None
) -> Callable[..., None]:
    """The function whose parameters are the options of the command line."""

    def command(
        context: typer.Context,
        config: option.Config = None,
        settings: option.Settings = None,
        fault: option.Faults = None,
        speed: option.Speed = None,
        seed: option.Seed = None,
        runs: option.Runs = None,
        max_steps: option.MaxSteps = None,
        duration: option.Duration = None,
        output_dir: option.OutputDir = None,
        resume: option.Resume = None,
        log_with: option.LogWith = None,
        voice: option.Voice = None,
        log_hazard: option.LogHazards = None,
        start_time: option.StartTime = None,
        publish: option.Publish = False,
        record: option.Record = None,
        record_pace: option.RecordPace = None,
        record_size: option.RecordSize = "120x40",
        report: option.Report = None,
        listing: option.Listing = None,
        plan: option.ShowPlan = False,
        print_config: option.PrintConfig = False,
        ascii_only: option.AsciiOnly = False,
        no_progress: option.NoProgress = False,
        no_keys: option.NoKeys = False,
        dashboard: option.Dashboard = False,
        brand: option.Brand = None,
        fast_forward: option.FastForward = None,
        explain: option.Explain = False,
        prompt: option.Prompt = False,
        show_completion: option.ShowCompletion = False,
        version: option.Version = False,
    ) -> None:
        if version:
            from accelerate_sim.version import __version__

            with all_written():
                print(f"fake-torchrun {__version__} (simulated training runs)")
            return
        if show_completion:
            with all_written():
                print(completion(context.command.get_params(context), context.info_name or ""), end="")
            return
        try:
            if listing:
                from accelerate_sim.cli import listings

                with all_written():
                    listings.show(listing, ascii_only=ascii_only)
                return
            from accelerate_sim.cli.config_changes import changes_of
            from accelerate_sim.session.options import SessionOptions
            from accelerate_sim.session.run_source import RunSource

            resumption = _resumption(resume, output_dir, coordination, read_only=plan or print_config)
            placement = coordination.placement if coordination else None
            source = RunSource(config, changes_of(context.params), seed, placement, resumption, fault or ())
            if report:
                from accelerate_sim.report.write import OPTION, require_drawing

                require_drawing(OPTION, report)
            if print_config or plan:
                with all_written():
                    _show(source, ascii_only, whole_config=print_config, report=report, generic_names=brand is not None)
                return
            options = SessionOptions(
                start_time, duration, output_dir, resumption, ascii_only, not no_progress, coordination, recording,
                report, fast_forward=_fast_forward(fast_forward), prompt=_prompt() if prompt else None, explain=explain,
                generic_names=brand is not None, dashboard=dashboard, keys=not no_keys,
            )  # fmt: skip
            sys.exit(_run(train, source, options, record, record_size))
        except ConfigError as error:
            sys.exit(refuse(str(error)))
        except Stopped as stopped:
            sys.exit(stopped.exit_code)

    return command


def _fast_forward(text: str | None) -> FastForward | None:
    if text is None:
        return None
    from accelerate_sim.session.fast_forward import FastForward

    return FastForward.of(text)


def _prompt() -> str:
    from accelerate_sim.session.prompt import shell_line

    return shell_line(sys.argv)


def _resumption(
    resume: str | None, output_dir: Path | None, coordination: Coordination | None, *, read_only: bool
) -> Resumption | None:
    """The state that ``--resume`` names: ``auto`` after a restart by launcher or scheduler. Raises ConfigError."""
    restarts = coordination.placement.attempt if coordination else scheduler_restarts()
    if resume is None and output_dir and restarts:
        resume = "auto"
    if resume is None:
        return None
    from accelerate_sim.checkpoints.resume import find, find_and_own

    if read_only:
        return find(resume, output_dir)
    return find_and_own(resume, output_dir, launched=coordination is not None)


def _show(source: RunSource, ascii_only: bool, *, whole_config: bool, report: Path | None, generic_names: bool) -> None:
    """Print the config or the plan of the first run; with ``report`` also write the plan as a page."""
    from accelerate_sim.cli import listings

    if whole_config:
        listings.show_config(source.plan(1).config)
    else:
        named: Callable[[str], str] = str
        if generic_names:
            from accelerate_sim.display.generic_names import GenericNames

            named = GenericNames()
        listings.show_plan(source.plan(1), ascii_only=ascii_only, named=named)
        if report:
            from accelerate_sim.artifacts.output_error import OutputError
            from accelerate_sim.report.write import write_plan_report

            try:
                write_plan_report(report, source.plan(1), named)
            except OutputError as error:
                sys.exit(str(error))


def _run(
    train: Callable[[RunConfig], None], source: RunSource, options: SessionOptions, record: Path | None, size: str
) -> int:
    """Run the session, on the screen or into a recording of ``size``. Returns the exit code. Raises ConfigError."""
    if options.resumption:
        options = replace(options, output_dir=options.resumption.output_dir)
    try:
        if record:
            from accelerate_sim.cli.record import record as record_session

            columns, rows = map(int, size.split("x"))
            return record_session(train, source, options, record, (columns, rows))
        from accelerate_sim.session.runner import run_session

        return run_session(train, source, options)
    except ConfigError as error:
        raise source.located(error) from None


def refuse(message: str) -> int:
    """Print an error of the user's, and return its exit code."""
    complain(message)
    return 2
