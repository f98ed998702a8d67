"""The command line that every training script shares: which run, how fast, how often, and where it is kept."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from accelerate_sim.config.problems import ConfigError
from accelerate_sim.deadly_ctrl_c import DeadlyCtrlC
from accelerate_sim.display.screen import OutputClosed
from accelerate_sim.interrupts import Stopped
from accelerate_sim.placement import Placement, is_other_rank

if TYPE_CHECKING:
    from accelerate_sim.config.schema import RunConfig
    from accelerate_sim.job import Job

SIGPIPE_EXIT = 128 + 13
HELP = """Play a training run of a language model on a GPU cluster that is not there.

Everything that is shown is simulated: no GPU, no network and no data are used, and nothing is written to disk
without --output-dir or --record. Without --config each run draws a model, a GPU and a dataset from the catalog.
"""


class Listing(StrEnum):
    """What --list can show."""

    models = "models"
    gpus = "gpus"
    datasets = "datasets"
    configs = "configs"


def launch(train: Callable[[RunConfig], None]) -> NoReturn:
    """Read the command line, play the runs with ``train``, and exit as a program does.

    Under a launcher rank 0 does so, and the other processes do as it says.
    """
    try:
        placement = Placement.of()
    except ConfigError as error:
        sys.exit(2 if is_other_rank() else _refuse(str(error)))
    if placement and not placement.is_main:
        from accelerate_sim.following import follow

        _leave(follow(train, placement))
    job: Job | None = None
    if placement:
        from accelerate_sim import job as jobs

        job = jobs.Job(placement)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(help=HELP)(_command(train, job))
    code: str | int | None = 0
    with DeadlyCtrlC():
        try:
            app(prog_name=Path(sys.argv[0]).name)
        except SystemExit as end:
            code = end.code
        if job:
            job.dismiss(1 if isinstance(code, str) else code or 0)
    _leave(code)


def _parse_speed(text: str) -> str:
    if text == "max":
        return text
    try:
        speed = float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor 'max'") from None
    if not 0 < speed < math.inf:
        raise typer.BadParameter(f"{text} is not above 0; for no waiting at all use 'max'")
    return text


def _parse_size(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,3}x[1-9]\d{0,3}", text):
        raise typer.BadParameter(f"{text!r} is not COLUMNSxROWS like 120x40")
    return text


def _parse_duration(text: str) -> float:
    units = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    parts = re.fullmatch(r"(?:\d+(?:\.\d+)?[smhd]?)+", text) and re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    seconds = sum(float(number) * units[unit or "s"] for number, unit in parts or [])
    if not seconds:
        raise typer.BadParameter(f"{text!r} is not a time like 90s, 10m or 1h30m")
    return seconds


def _parse_start_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time like 2026-01-31T09:30:00") from None


def _command(train: Callable[[RunConfig], None], job: Job | None) -> Callable[..., None]:
    def command(
        config: Annotated[Path | None, typer.Option(help="The run, as YAML; see configs/.", show_default=False)] = None,
        settings: Annotated[
            list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key, e.g. train.lr=3e-4.")
        ] = None,
        speed: Annotated[
            str | None,
            typer.Option(
                metavar="X|max", parser=_parse_speed, help="Simulated seconds per real second; max: never wait."
            ),
        ] = None,
        seed: Annotated[int | None, typer.Option(min=0, help="Another seed, another run.")] = None,
        runs: Annotated[
            int | None, typer.Option(min=0, help="Runs to play; 0: for ever. [default: for ever on a terminal, else 1]")
        ] = None,
        max_steps: Annotated[int | None, typer.Option(min=1, help="End each run after so many steps.")] = None,
        duration: Annotated[
            float | None,
            typer.Option(metavar="TIME", parser=_parse_duration, help="End after this real time, e.g. 10m."),
        ] = None,
        output_dir: Annotated[
            Path | None, typer.Option(help="Write metrics.jsonl, checkpoints and the model there.")
        ] = None,
        resume: Annotated[
            str | None,
            typer.Option(
                metavar="auto|PATH", help="Go on from a checkpoint; auto: the newest that is whole, or the beginning."
            ),
        ] = None,
        log_with: Annotated[
            list[str] | None,
            typer.Option(metavar="NAME", help="Tell tensorboard, wandb (offline) or prometheus, too; repeatable."),
        ] = None,
        start_time: Annotated[
            datetime | None,
            typer.Option(
                metavar="ISO8601", parser=_parse_start_time, help="Begin of the simulated clock. [default: now]"
            ),
        ] = None,
        publish: Annotated[bool, typer.Option("--publish", help="Let fake-nvidia-smi see the job.")] = False,
        record: Annotated[
            Path | None, typer.Option(metavar="FILE.cast", help="Record the show (asciicast) instead of showing it.")
        ] = None,
        record_pace: Annotated[
            str | None,
            typer.Option(metavar="X", parser=_parse_speed, help="Simulated seconds per recorded one. [default: speed]"),
        ] = None,
        record_size: Annotated[
            str, typer.Option(metavar="COLUMNSxROWS", parser=_parse_size, help="Its terminal.")
        ] = "120x40",
        listing: Annotated[
            Listing | None, typer.Option("--list", help="Show what the catalog holds, and exit.")
        ] = None,
        plan: Annotated[bool, typer.Option("--plan", help="Show what the run would take, and exit.")] = False,
        print_config: Annotated[bool, typer.Option("--print-config", help="Show the whole config, and exit.")] = False,
        ascii_only: Annotated[bool, typer.Option("--ascii", help="No characters beyond ASCII.")] = False,
        no_progress: Annotated[bool, typer.Option("--no-progress", help="No bars.")] = False,
        version: Annotated[bool, typer.Option("--version", help="Show the version, and exit.")] = False,
    ) -> None:
        if version:
            from accelerate_sim.version import __version__

            print(f"fake-torchrun {__version__} (simulated training runs)")
            return
        try:
            if listing:
                from accelerate_sim import listings

                listings.show(listing.value, ascii_only=ascii_only)
                return
            changes = list(settings or [])
            changes += [] if speed is None else [f"run.speed={speed}", "run.startup_speed=null"]
            changes += [f"run.seed={seed}"] if seed is not None else []
            changes += [f"run.runs={runs}"] if runs is not None else []
            changes += [f"train.max_steps={max_steps}"] if max_steps is not None else []
            changes += [f"log.trackers=[{', '.join(log_with)}]"] if log_with else []
            changes += ["run.publish=true"] if publish else []
            changes += [f"run.speed={record_pace}", "run.startup_speed=null"] if record and record_pace else []
            from accelerate_sim import playing
            from accelerate_sim.score import Options, Score

            if resume is None and output_dir and job and job.placement.attempt:
                resume = "auto"  # a launcher has started the job again
            resumption = None
            if resume is not None:
                from accelerate_sim import resuming

                if plan or print_config:
                    resumption = resuming.find(resume, output_dir)
                else:
                    resumption = resuming.find_and_own(resume, output_dir, launched=job is not None)
            score = Score(config, changes, seed, job.placement if job else None, resumption)
            if print_config:
                from accelerate_sim import listings

                listings.show_config(score.config(1))
            elif plan:
                from accelerate_sim import listings

                listings.show_plan(score.config(1), ascii_only=ascii_only)
            else:
                directory = resumption.output_dir if resumption else output_dir
                options = Options(start_time, duration, directory, resumption, ascii_only, not no_progress, job)
                if record:
                    columns, rows = map(int, record_size.split("x"))
                    from accelerate_sim.record_show import record as record_show

                    sys.exit(record_show(train, score, options, record, (columns, rows)))
                sys.exit(playing.play(train, score, options))
        except ConfigError as error:
            sys.exit(_refuse(str(error)))
        except (OutputClosed, BrokenPipeError):
            _close_stdout()
            sys.exit(SIGPIPE_EXIT)
        except Stopped as stopped:
            sys.exit(stopped.exit_code)

    return command


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
