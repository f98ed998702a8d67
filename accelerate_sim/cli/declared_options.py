"""The options of the command line: name, placeholder, parser and help text of each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from accelerate_sim.cli import option_values as values
from accelerate_sim.config.shipped import find_config
from accelerate_sim.config.tracker_table import trackers_help

Config = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE|NAME",
        parser=lambda text: find_config(values.path("--config")(text)),
        help="The run, as a YAML file or the name of a shipped one; see --list configs.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Change one key, e.g. train.lr=3e-4; repeatable."),
]
Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="WORDS",
        parser=values.not_empty("--fault"),
        help="Let a fault happen, e.g. 'kill rank=13 at=step:40'; repeatable; see --list faults.",
    ),
]
Speed = Annotated[
    str | None,
    typer.Option(
        metavar="X|max",
        parser=values.speed("--speed"),
        help="Simulated seconds per real second; max: never wait. [default: the config's run.speed, else 250]",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=values.whole("--seed", 0),
        help="Seed of all that is random. [default: the config's run.seed, else 42; without --config: any]",
    ),
]
Runs = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=values.whole("--runs", 0),
        help="Runs to play; 0: for ever. [default: for ever on a terminal, else 1]",
    ),
]
MaxSteps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        parser=values.whole("--max-steps", 1),
        help="End each run after so many steps. [default: all of its epochs]",
    ),
]
Duration = Annotated[
    float | None,
    typer.Option(metavar="TIME", parser=values.duration, help="End after this real time, e.g. 10m."),
]
OutputDir = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output-dir",
        metavar="DIR",
        parser=values.path("--output-dir"),
        help="Write metrics.jsonl, checkpoints and the model there. [default: nothing is written]",
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="auto|PATH",
        parser=values.not_empty("--resume"),
        help="Go on from a checkpoint; auto: the newest that is whole, or the beginning.",
    ),
]
LogWith = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        parser=values.trackers,
        help=f"Also log to {trackers_help()}; repeatable.",
    ),
]
Voice = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[@VERSION]",
        parser=values.voice,
        help="Log in the words of a framework, such as megatron@0.15; --list voices shows all.",
    ),
]
LogHazards = Annotated[
    list[str] | None,
    typer.Option(
        "--log-hazard",
        metavar="NAME[:SHARE]",
        parser=values.log_hazard,
        help="Spoil log lines, e.g. torn-lines:0.1; repeatable; see --list hazards.",
    ),
]
StartTime = Annotated[
    datetime | None,
    typer.Option(metavar="ISO8601", parser=values.start_time, help="Begin of the simulated clock. [default: now]"),
]
Publish = Annotated[bool, typer.Option("--publish", help="Publish the job for fake-nvidia-smi.")]
Record = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.cast",
        parser=values.path("--record"),
        help="Record the terminal to an asciicast file instead of showing the run.",
    ),
]
RecordPace = Annotated[
    str | None,
    typer.Option(
        metavar="X",
        parser=values.speed("--record-pace"),
        help="Simulated seconds per recorded one. [default: as --speed]",
    ),
]
RecordSize = Annotated[
    str,
    typer.Option(metavar="COLUMNSxROWS", parser=values.size, help="Size of the recorded terminal. [default: 120x40]"),
]
Report = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.html",
        parser=values.path("--report"),
        help="Write a page with the pictures of the run there, or with --plan of the plan.",
    ),
]
Listing = Annotated[
    str | None,
    typer.Option(
        "--list",
        metavar="WHAT",
        parser=values.listing,
        help=f"Show what there is by name, and exit: {', '.join(values.LISTINGS)}.",
    ),
]
ShowPlan = Annotated[bool, typer.Option("--plan", help="Show what the run would take, and exit.")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Show the whole config, and exit.")]
AsciiOnly = Annotated[bool, typer.Option("--ascii", help="No characters beyond ASCII.")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="No bars.")]
Dashboard = Annotated[bool, typer.Option("--dashboard", help="Draw the run on the whole screen.")]
Explain = Annotated[bool, typer.Option("--explain", help="Say why after key messages, for learners.")]
Brand = Annotated[
    str | None,
    typer.Option(
        metavar="generic",
        parser=values.brand,
        help="Show no name of a real model, company, host or product.",
    ),
]
FastForward = Annotated[
    str | None,
    typer.Option(
        metavar="step=N|time=TIME",
        parser=values.fast_forward,
        help="Play the first part without waiting, e.g. step=500 or time=2h, then at the config's speed.",
    ),
]
Prompt = Annotated[bool, typer.Option("--prompt", help="Type the command line on the terminal first, for film.")]
NoKeys = Annotated[bool, typer.Option("--no-keys", help="Read no keys; ? shows what they do.")]
ShowCompletion = Annotated[
    bool,
    typer.Option("--show-completion", help="Print a script that completes options in bash and zsh, and exit."),
]
Version = Annotated[bool, typer.Option("--version", help="Show the version, and exit.")]
