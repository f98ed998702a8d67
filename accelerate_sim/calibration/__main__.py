"""The command ``python -m accelerate_sim.calibration``: compare measured runs with the model, or fit it to them.

``python -m accelerate_sim.calibration curves FILE`` compares curves instead, ``losses FILE`` expected losses.
"""

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from accelerate_sim.calibration import curves, expected_loss, page, report
from accelerate_sim.calibration.accuracy import Errors, compared
from accelerate_sim.calibration.columns import OPTIONAL, REQUIRED, Measured
from accelerate_sim.calibration.fitting import FEWEST_RUNS, Fit
from accelerate_sim.calibration.held_out import HeldOut, held_out
from accelerate_sim.calibration.run_table import BadInput, LeftOut, read_runs
from accelerate_sim.catalog import Constant, constant_table, constants
from accelerate_sim.catalog.constants import read_constants, with_values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["curves"]:
            return curves.run(words[1:])
        if words[:1] == ["losses"]:
            return expected_loss.run(words[1:])
        return _run(_parser().parse_args(words))
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    columns = textwrap.fill(", ".join(REQUIRED), 100)
    others = textwrap.fill(", ".join(OPTIONAL), 100)
    parser = argparse.ArgumentParser(
        prog="python -m accelerate_sim.calibration",
        description="Compare measured training runs with what the simulator predicts for them. "
        "With 'curves FILE.yaml' as arguments, compare their loss, gradient norm and step times instead; with "
        "'losses FILE.yaml', the losses that runs of other data sets expect.",
        epilog=f"columns that the file needs:\n{columns}\n\ncolumns that it may have:\n{others}\n\n"
        "Tables of published runs are in the repository's tests/reference; ACCURACY.md names each figure's command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", type=Path, nargs="+", metavar="FILE",
        help="CSV file with a header, one measured run a line; commas, semicolons or tabs",
    )  # fmt: skip
    parser.add_argument("--rows", action="store_true", help="print every run, not only families")
    parser.add_argument("--marked", action="store_true", help="compare the rows with fit_ok = 0 in place of the others")
    parser.add_argument("--markdown", action="store_true", help="print the tables as markdown")
    parser.add_argument("--update", type=Path, metavar="PAGE", help="put the tables into a markdown page as well")
    parser.add_argument("--fit", action="store_true", help="fit the constants to these runs first; takes a minute")
    parser.add_argument("--constants", type=Path, metavar="JSON", help="constants to use in place of the package's")
    parser.add_argument("--write", type=Path, metavar="JSON", help="where to write fitted constants")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.write and not options.fit:
        raise BadInput("--write writes fitted constants: use it with --fit")
    if options.marked and options.fit:
        raise BadInput("--marked compares rows that are no measure, --fit fits to the others; leave out one of the two")
    runs, left_out = _read(options.files, marked=options.marked)
    table = _table(options.constants)
    values = {name: constant.value for name, constant in table.items()}
    used = [run for run in runs if run.usable != options.marked]
    if not used:
        raise BadInput("no row says of itself that it is no measure (fit_ok = 0); leave out --marked")
    unseen, aside = None, None
    if options.fit:
        fit = _fit(options.files[0], used, table)
        values = {name: float(f"{value:.4g}") for name, value in fit.improve(_say).items()}
        unseen = _unseen(fit, used)
        aside = held_out(fit, used, _say)
        print(*report.constant_lines(table, values), "", sep="\n")
        if options.write:
            _write(options.write, with_values(table, values))
    if options.rows:
        print(*report.row_lines(compared(runs, values)), "", sep="\n")
    comparisons = compared(used, values)
    if options.update:
        _update(
            options.update,
            " ".join(path.name for path in options.files) + (", marked" if options.marked else ""),
            _tables(report.summary_markdown(comparisons, unseen), aside),
        )
    summary = report.summary_markdown if options.markdown else report.summary_lines
    print(*_tables(summary(comparisons, unseen), aside), sep="\n")
    if left_out:
        print(f"\nLeft out ({len(left_out)}):", *(f"  {one.label}: {one.reason}" for one in left_out), sep="\n")
    return 0


def _read(paths: Sequence[Path], *, marked: bool) -> tuple[list[Measured], list[LeftOut]]:
    """Return the runs of all files, and the rows of no use."""
    runs, left_out = [], []
    for path in paths:
        found, useless, unknown = read_runs(path, marked=marked)
        if unknown:
            _say(f"{path}: unknown columns, which change nothing: {', '.join(unknown)}; --help lists all columns")
        runs += found
        left_out += useless
    return runs, left_out


def _tables(summary: list[str], aside: HeldOut | None) -> list[str]:
    return [*summary, "", *aside.lines()] if aside else summary


def _fit(path: Path, runs: Sequence[Measured], table: Mapping[str, Constant]) -> Fit:
    fit = Fit(runs, table)
    if len(runs) < FEWEST_RUNS:
        raise BadInput(
            f"{path}: {len(runs)} run{' is' if len(runs) == 1 else 's are'} too few to fit {len(fit.names)} "
            f"constants to; --fit needs {FEWEST_RUNS} or more. Leave out --fit to compare them, or add published "
            "runs to the file"
        )
    return fit


def _unseen(fit: Fit, runs: Sequence[Measured]) -> dict[str, Errors]:
    """Return the errors of every family with constants that were fitted to all others."""
    families = list(dict.fromkeys(run.family for run in runs))
    every = []
    for family, values in fit.without(families, _say).items():
        every += compared([run for run in runs if run.family == family], values)
    return report.family_errors(every) | report.totals(every)


def _table(path: Path | None) -> Mapping[str, Constant]:
    if path is None:
        return constant_table()
    try:
        table = read_constants(path)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{path}: is not a file of constants ({error}); --fit --write makes one") from None
    if missing := [name for name in constants() if name not in table]:
        raise BadInput(f"{path}: lacks the constants {', '.join(missing[:5])}; --fit --write makes a whole file")
    return table


def _update(path: Path, name: str, lines: Sequence[str]) -> None:
    try:
        text = page.updated(path.read_text(encoding="utf-8"), name, lines)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); give a markdown page") from None
    except page.NoPlace as error:
        raise BadInput(f"{path}: {error}") from None
    _write(path, text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; give a file that can be written") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
