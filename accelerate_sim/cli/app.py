"""The command line that every training script shares: which run, how fast, how often, and where it is kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from accelerate_sim.cli import option_values as values
from accelerate_sim.cli.command import Command, completion
from accelerate_sim.config.extensions import trackers_help
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.config.shipped import find_config
from accelerate_sim.display.screen import OutputClosed
from accelerate_sim.process.placement import Placement, is_other_rank
from accelerate_sim.process.signals import SIGPIPE_EXIT, Stopped
from fake_torch_dist.default_sigint import DefaultSigint

if TYPE_CHECKING:
    from accelerate_sim.config.load import Override
    from accelerate_sim.config.schema import RunConfig
    from accelerate_sim.session.coordination import Job

HELP = """Play a training run of a language model on a GPU cluster that is not there.

Everything that is shown is simulated: no GPU, no network and no data are used, and nothing is written to disk
without --output-dir or --record. Without --config each run draws a model, a GPU and a dataset from the catalog.
"""


def launch(train: Callable[[RunConfig], None]) -> NoReturn:
    """Read the command line, play the runs with ``train``, and exit as a program does.

    Under a launcher rank 0 does so, and the other processes do as it says.
    """
    try:
        placement = Placement.of()
    except ConfigError as error:
        sys.exit(2 if is_other_rank() else _refuse(str(error)))
    if placement and not placement.is_main:
        from accelerate_sim.session.follower import follow

        _leave(follow(train, placement))
    job: Job | None = None
    if placement:
        from accelerate_sim.session import coordination as jobs

        job = jobs.Job(placement)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(cls=Command, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})(_command(train, job))
    code: str | int | None = 0
    with DefaultSigint():
        try:
            app(prog_name=Path(sys.argv[0]).name)
        except SystemExit as end:
            code = end.code
        except ConfigError as error:
            code = _refuse(str(error))
        if job:
            job.dismiss(1 if isinstance(code, str) else code or 0)
    _leave(code)


def _command(train: Callable[[RunConfig], None], job: Job | None) -> Callable[..., None]:
    def command(
        context: typer.Context,
        config: Annotated[
            Path | None,
            typer.Option(
                "-c",
                "--config",
                metavar="FILE|NAME",
                parser=lambda text: find_config(values.path("--config")(text)),
                help="The run, as a YAML file or the name of a shipped one; see --list configs.",
            ),
        ] = None,
        settings: Annotated[
            list[str] | None,
            typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change one key, e.g. train.lr=3e-4; repeatable."),
        ] = None,
        speed: Annotated[
            str | None,
            typer.Option(
                metavar="X|max",
                parser=values.speed("--speed"),
                help="Simulated seconds per real second; max: never wait. [default: the config's run.speed, else 250]",
            ),
        ] = None,
        seed: Annotated[
            int | None,
            typer.Option(
                metavar="N",
                parser=values.whole("--seed", 0),
                help="Seed of all that is random. [default: the config's run.seed, else 42; without --config: any]",
            ),
        ] = None,
        runs: Annotated[
            int | None,
            typer.Option(
                metavar="N",
                parser=values.whole("--runs", 0),
                help="Runs to play; 0: for ever. [default: for ever on a terminal, else 1]",
            ),
        ] = None,
        max_steps: Annotated[
            int | None,
            typer.Option(
                metavar="N",
                parser=values.whole("--max-steps", 1),
                help="End each run after so many steps. [default: all of its epochs]",
            ),
        ] = None,
        duration: Annotated[
            float | None,
            typer.Option(metavar="TIME", parser=values.duration, help="End after this real time, e.g. 10m."),
        ] = None,
        output_dir: Annotated[
            Path | None,
            typer.Option(
                "-o",
                "--output-dir",
                metavar="DIR",
                parser=values.path("--output-dir"),
                help="Write metrics.jsonl, checkpoints and the model there. [default: nothing is written]",
            ),
        ] = None,
        resume: Annotated[
            str | None,
            typer.Option(
                metavar="auto|PATH",
                parser=values.not_empty("--resume"),
                help="Go on from a checkpoint; auto: the newest that is whole, or the beginning.",
            ),
        ] = None,
        log_with: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME",
                parser=values.trackers,
                help=f"Also log to {trackers_help()}; repeatable.",
            ),
        ] = None,
        start_time: Annotated[
            datetime | None,
            typer.Option(
                metavar="ISO8601", parser=values.start_time, help="Begin of the simulated clock. [default: now]"
            ),
        ] = None,
        publish: Annotated[bool, typer.Option("--publish", help="Let fake-nvidia-smi see the job.")] = False,
        record: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE.cast",
                parser=values.path("--record"),
                help="Record the terminal to an asciicast file instead of showing the run.",
            ),
        ] = None,
        record_pace: Annotated[
            str | None,
            typer.Option(
                metavar="X",
                parser=values.speed("--record-pace"),
                help="Simulated seconds per recorded one. [default: as --speed]",
            ),
        ] = None,
        record_size: Annotated[
            str,
            typer.Option(
                metavar="COLUMNSxROWS", parser=values.size, help="Size of the recorded terminal. [default: 120x40]"
            ),
        ] = "120x40",
        listing: Annotated[
            str | None,
            typer.Option(
                "--list",
                metavar="|".join(values.LISTINGS),
                parser=values.listing,
                help="Show what there is by name, and exit.",
            ),
        ] = None,
        plan: Annotated[bool, typer.Option("--plan", help="Show what the run would take, and exit.")] = False,
        print_config: Annotated[bool, typer.Option("--print-config", help="Show the whole config, and exit.")] = False,
        ascii_only: Annotated[bool, typer.Option("--ascii", help="No characters beyond ASCII.")] = False,
        no_progress: Annotated[bool, typer.Option("--no-progress", help="No bars.")] = False,
        show_completion: Annotated[
            bool,
            typer.Option("--show-completion", help="Print a script that completes options in bash and zsh, and exit."),
        ] = False,
        version: Annotated[bool, typer.Option("--version", help="Show the version, and exit.")] = False,
    ) -> None:
        if version:
            from accelerate_sim.version import __version__

            print(f"fake-torchrun {__version__} (simulated training runs)")
            return
        if show_completion:
            print(completion(context.command.get_params(context), context.info_name or ""), end="")
            return
        try:
            if listing:
                from accelerate_sim.cli import listings

                listings.show(listing, ascii_only=ascii_only)
                return
            from accelerate_sim.config.load import Override

            changes = [Override(text) for text in settings or []]
            changes += _set("--speed", speed, f"run.speed={speed}", "run.startup_speed=null")
            changes += _set("--seed", seed, f"run.seed={seed}")
            changes += _set("--runs", runs, f"run.runs={runs}")
            changes += _set("--max-steps", max_steps, f"train.max_steps={max_steps}")
            changes += _set("--log-with", log_with or None, f"log.trackers=[{', '.join(log_with or [])}]")
            changes += _set("--publish", publish or None, "run.publish=true")
            if record:
                changes += _set("--record-pace", record_pace, f"run.speed={record_pace}", "run.startup_speed=null")
            from accelerate_sim.session import runner as playing
            from accelerate_sim.session.run_source import Options, Score

            if resume is None and output_dir and job and job.placement.attempt:
                resume = "auto"  # a launcher has started the job again
            resumption = None
            if resume is not None:
                from accelerate_sim.checkpoints import resume as resuming

                if plan or print_config:
                    resumption = resuming.find(resume, output_dir)
                else:
                    resumption = resuming.find_and_own(resume, output_dir, launched=job is not None)
            score = Score(config, changes, seed, job.placement if job else None, resumption)
            if print_config:
                from accelerate_sim.cli import listings

                listings.show_config(score.config(1))
            elif plan:
                from accelerate_sim.cli import listings

                listings.show_plan(score.config(1), ascii_only=ascii_only)
            else:
                directory = resumption.output_dir if resumption else output_dir
                options = Options(start_time, duration, directory, resumption, ascii_only, not no_progress, job)
                try:
                    if record:
                        columns, rows = map(int, record_size.split("x"))
                        from accelerate_sim.cli.record import record as record_show

                        sys.exit(record_show(train, score, options, record, (columns, rows)))
                    sys.exit(playing.play(train, score, options))
                except ConfigError as error:
                    raise score.located(error) from None
        except ConfigError as error:
            sys.exit(_refuse(str(error)))
        except (OutputClosed, BrokenPipeError):
            _close_stdout()
            sys.exit(SIGPIPE_EXIT)
        except Stopped as stopped:
            sys.exit(stopped.exit_code)

    return command


def _set(option: str, value: object, *changes: str) -> list[Override]:
    """The changes of the config that an option stands for; none if it was not given."""
    from accelerate_sim.config.load import Override

    return [Override(change, option) for change in changes] if value is not None else []


def _leave(code: str | int | None) -> NoReturn:
    """Exit. After a signal at once: to take the interpreter apart takes longer than a Ctrl-C may."""
    if isinstance(code, int) and code > 128:
        os._exit(code)
    sys.exit(code)


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def _close_stdout() -> None:
    # Python flushes standard output when it exits; nobody is there to read it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
