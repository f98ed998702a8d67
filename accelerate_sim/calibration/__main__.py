"""``python -m accelerate_sim.calibration FILE.csv``: measured runs against the model, and the model fitted to them."""

import argparse
import csv
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from accelerate_sim.calibration import report
from accelerate_sim.calibration.accuracy import Errors, compared
from accelerate_sim.calibration.columns import OPTIONAL, REQUIRED, BadCell, Measured, Refused, measured
from accelerate_sim.calibration.fitting import Fit
from accelerate_sim.calibration.held_out import held_out
from accelerate_sim.catalog import Constant, constant_table, constants
from accelerate_sim.catalog.constants import read_constants, with_values


class BadInput(Exception):
    """What the user gave cannot be used; the text says what, where and what to do."""


Listed = tuple[str, str]
"""A row and the reason for which it is left out."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
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
        description="Compare measured training runs with what the simulator predicts for them.",
        epilog=f"columns that the file needs:\n{columns}\n\ncolumns that it may have:\n{others}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="CSV file with a header, one measured run a line")
    parser.add_argument("--rows", action="store_true", help="print every run, not only families")
    parser.add_argument("--markdown", action="store_true", help="print the tables as markdown")
    parser.add_argument("--fit", action="store_true", help="fit the constants to these runs first; takes two minutes")
    parser.add_argument("--constants", type=Path, metavar="JSON", help="constants to use in place of the package's")
    parser.add_argument("--write", type=Path, metavar="JSON", help="where to write fitted constants")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.write and not options.fit:
        raise BadInput("--write writes fitted constants: use it with --fit")
    runs, left_out = read_runs(options.file)
    table = _table(options.constants)
    values = {name: constant.value for name, constant in table.items()}
    used = [run for run in runs if run.usable]
    unseen, aside = None, None
    if options.fit:
        fit = Fit(used, table)
        values = {name: float(f"{value:.4g}") for name, value in fit.improve(_say).items()}
        unseen = _unseen(fit, used)
        aside = held_out(fit, used, _say)
        print(*report.constant_lines(table, values), "", sep="\n")
        if options.write:
            _write(options.write, with_values(table, values))
    if options.rows:
        print(*report.row_lines(compared(runs, values)), "", sep="\n")
    summary = report.summary_markdown if options.markdown else report.summary_lines
    print(*summary(compared(used, values), unseen), sep="\n")
    if aside:
        print("", *aside.lines(), sep="\n")
    if left_out:
        print(f"\nLeft out ({len(left_out)}):", *(f"  {row}: {reason}" for row, reason in left_out), sep="\n")
    return 0


def _unseen(fit: Fit, runs: Sequence[Measured]) -> dict[str, Errors]:
    """Errors of every family with constants that were fitted to all others."""
    families = list(dict.fromkeys(run.family for run in runs))
    every = []
    for family, values in fit.without(families, _say).items():
        every += compared([run for run in runs if run.family == family], values)
    return report.family_errors(every) | report.totals(every)


def read_runs(path: Path) -> tuple[list[Measured], list[Listed]]:
    """The runs of a file, and the rows that cannot be expressed; raise :class:`BadInput` for what is wrong."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in REQUIRED if name not in (reader.fieldnames or ())]:
                needed = "needs" if len(missing) == 1 else "need"
                names = ", ".join(missing)
                raise BadInput(f"{path}: no column {names}, which predictions {needed}; --help lists all columns")
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; give the path of a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: is not a CSV file in UTF-8 ({error})") from None
    runs, left_out = [], []
    for line, row in rows:
        name = row.get("row_id") or f"line {line}"
        try:
            runs.append(measured(row))
        except Refused as error:
            left_out.append((name, str(error)))
        except BadCell as error:
            raise BadInput(f"{path}, line {line} ({name}): {error}") from None
    if not any(run.usable for run in runs):
        raise BadInput(f"{path}: no run that predictions can be compared with; --help lists what a row has to say")
    return runs, left_out


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


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; give a file that can be written") from None


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
