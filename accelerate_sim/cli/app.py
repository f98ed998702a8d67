"""The command line that every training script shares: config, speed, number of runs, and output directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from accelerate_sim.cli.command import OptionCommand, without_local_rank
from accelerate_sim.cli.standard_streams import end_without_output
from accelerate_sim.cli.train_command import refuse, train_command
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.display.slow_reader import OutputClosed
from accelerate_sim.process.placement import is_other_rank, own_placement
from accelerate_sim.process.schedulers import detect, unplaced
from fake_torch_dist.default_sigint import DefaultSigint

if TYPE_CHECKING:
    from accelerate_sim.config.schema import RunConfig
    from accelerate_sim.process.placement import Placement
    from accelerate_sim.session.coordination import Coordination
    from accelerate_sim.session.recorded_terminal import RecordedTerminal

HELP = """Play a training run of a language model on a GPU cluster that is not there.

Everything that is shown is simulated: no GPU, no network and no data are used, and nothing is written to disk
without --output-dir or --record. Without --config each run draws a model, a GPU and a dataset from the catalog.
"""


def launch(train: Callable[[RunConfig], None]) -> NoReturn:
    """Read the command line, run the training function ``train`` for each run, and exit.

    Under a launcher rank 0 does so, and starts the same runs in the other processes.
    """
    words, local_rank = without_local_rank(sys.argv[1:])
    if local_rank and not os.environ.get("LOCAL_RANK"):
        os.environ["LOCAL_RANK"] = local_rank
    try:
        placement = _placement()
    except ConfigError as error:
        sys.exit(2 if is_other_rank() else refuse(str(error)))
    if placement and not placement.is_main:
        from accelerate_sim.session.follower import run_follower

        _leave(run_follower(train, placement))
    coordination: Coordination | None = None
    if placement:
        from accelerate_sim.session.coordination import Coordination

        coordination = Coordination(placement)
    with DefaultSigint():
        code = run_command_line(train, coordination, words=words)
        if coordination:
            coordination.dismiss(1 if isinstance(code, str) else code or 0)
    _leave(code)


def _placement() -> Placement | None:
    """The rank of this process; None if it plays all ranks. Rank 0 prints one line about the detected launcher.

    Raises ConfigError.
    """
    given = dict(os.environ)
    detection = detect(given)
    placement = own_placement()
    if placement is None:
        if note := unplaced(given):
            sys.stderr.write(f"{Path(sys.argv[0]).name}: note: {note}\n")
        return None
    if not placement.local_world_size:
        from accelerate_sim.session.discovered_layout import settled  # it takes a meeting of all ranks
        from fake_torch_dist.errors import DistError

        try:
            placement = settled(placement)
        except DistError as error:
            sys.stderr.write(f"[rank{placement.rank}]: {' '.join(str(error).split())}\n")
            sys.exit(1)
    if detection and detection.names and placement.is_main:
        sentence = detection.sentence(given, placement.num_nodes, placement.local_world_size)
        sys.stderr.write(f"{Path(sys.argv[0]).name}: note: {sentence}\n")
    return placement


def run_command_line(
    train: Callable[[RunConfig], None],
    coordination: Coordination | None = None,
    recording: RecordedTerminal | None = None,
    words: list[str] | None = None,
) -> str | int | None:
    """Run the training function with the options of a command line. Returns the exit code, as ``SystemExit`` has it.

    ``words`` are the arguments; None: those of the program. ``recording`` takes the place of standard output for the
    session, but not for help, lists, plans and mistakes.
    """
    words, program = sys.argv[1:] if words is None else words, Path(sys.argv[0]).name
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"]}
    if words[:1] == ["report"]:
        from accelerate_sim.cli.report import report

        words, program = words[1:], f"{program} report"
        app.command(context_settings=settings)(report)
    else:
        app.command(cls=OptionCommand, help=HELP, context_settings=settings)(
            train_command(train, coordination, recording)
        )
    try:
        typer.main.get_command(app)(words, prog_name=program)  # app() would take the rank from exceptions' lines
    except SystemExit as end:
        return end.code
    except ConfigError as error:
        return refuse(str(error))
    except BrokenPipeError:
        return end_without_output(OutputClosed())
    except OutputClosed as error:
        return end_without_output(error)
    return 0


def _leave(code: str | int | None) -> NoReturn:
    """Exit. After a signal at once, since a Ctrl-C may not take as long as the interpreter's own end."""
    if isinstance(code, int) and code > 128:
        os._exit(code)
    sys.exit(code)
