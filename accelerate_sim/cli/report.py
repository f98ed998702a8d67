"""``fake-train report DIR``: the report of a run that is finished, or that is still going on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from accelerate_sim.artifacts.output_error import OutputError
from accelerate_sim.config.problems import ConfigError, Problem, printable
from accelerate_sim.report.history import NoHistory, read_history
from accelerate_sim.report.write import require_drawing, write_run_report


def report(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The --output-dir of a run.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page to write.")] = Path("report.html"),
    run: Annotated[int | None, typer.Option(metavar="N", help="Number of the run. [default: the last one]")] = None,
    usd_per_gpu_hour: Annotated[
        float | None, typer.Option(metavar="X", help="Price of a GPU for an hour. [default: 2.5]", min=0.0)
    ] = None,
) -> None:
    """Write a page with the pictures and figures of a run. Raises ConfigError."""
    require_drawing("--out", out)
    try:
        write_run_report(out, read_history(directory, run), usd_per_gpu_hour)
    except (NoHistory, ValueError) as error:
        way_out = "Name the --output-dir of a run that has made a step."
        raise ConfigError([Problem("report", None, "", printable(str(directory)), str(error), way_out)]) from None
    except OutputError as error:
        sys.exit(str(error))
    print(f"{printable(str(out))}: the report of {printable(str(directory))}")
