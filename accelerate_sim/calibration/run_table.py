"""Read a CSV file of measured runs: its rows in the model's terms, and the rows of no use with the reasons.

``columns.py`` translates a row; this module opens files, recognises separators and headers, and sets apart rows that
cannot be used.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from accelerate_sim.calibration.cells import BadCell, RefusedRow
from accelerate_sim.calibration.columns import COLUMNS, INFORMATIVE, KEYS, REQUIRED, Measured, measured

SEPARATORS = ",;\t"
MOST_REASONS = 5


class BadInput(Exception):
    """An input of the user that cannot be used; the text names it, the place and the way out."""


class LeftOut(NamedTuple):
    """A row that is not used, and the reason."""

    label: str
    """The row's name and line."""
    reason: str


class RunTable(NamedTuple):
    """The runs of a file, and what in it is not used."""

    runs: list[Measured]
    left_out: list[LeftOut]
    unknown: list[str]
    """Columns without a meaning, each with the name that was probably meant."""


def read_runs(path: Path, *, marked: bool = False) -> RunTable:
    """Return the runs of a file; raise :class:`BadInput` where none can be compared.

    With ``marked``, rows that say that they are no measure can be, too.
    """
    names, rows = _read(path)
    runs, left_out = [], []
    for line, cells in rows:
        row = dict(zip(names, cells, strict=False))
        name = row.get("row_id", "").strip()
        try:
            _refuse_extra(names, cells)
            runs.append(measured({**row, "row_id": name or f"line {line}"}))
        except (RefusedRow, BadCell) as error:
            left_out.append(LeftOut(f"{name} (line {line})" if name else f"line {line}", str(error)))
    if not any(run.usable or marked for run in runs):
        raise BadInput(_nothing_to_compare(path, runs, left_out))
    return RunTable(runs, left_out, [f"{name}{_meant(name)}" for name in names if name and not _is_known(name)])


def _read(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Return the names of the columns, and (line, cells) of the rows that have any."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = max(SEPARATORS, key=text.partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        names = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; give the path of a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: is not a CSV file in UTF-8 ({error})") from None
    if not any(names):
        raise BadInput(f"{path}: is empty; its first line has to name the columns, which --help lists")
    if missing := [name for name in REQUIRED if name not in names]:
        raise BadInput(_without(path, names, missing))
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise BadInput(f"{path}: two columns are called {', '.join(twice)}; rename or remove one of each")
    return names, rows


def _refuse_extra(names: Sequence[str], cells: Sequence[str]) -> None:
    if any(cell.strip() for cell in cells[len(names) :]):
        raise BadCell(f"{len(cells)} cells under {len(names)} columns; quote cells that contain the separator")


def _without(path: Path, names: Sequence[str], missing: Sequence[str]) -> str:
    needed = "needs" if len(missing) == 1 else "need"
    near = [f"{name!r} is there{hint}" for name in names if not _is_known(name) and (hint := _meant(name))]
    hints = f" ({'; '.join(near)})" if near else ""
    return f"{path}: no column {', '.join(missing)}, which predictions {needed}{hints}; --help lists all columns"


def _nothing_to_compare(path: Path, runs: Sequence[Measured], left_out: Sequence[LeftOut]) -> str:
    reasons = [f"  {one.label}: {one.reason}" for one in left_out]
    reasons += [f"  {run.row_id}: fit_ok = 0 says that it is no measure; --marked compares it" for run in runs]
    if len(reasons) > MOST_REASONS:
        reasons[MOST_REASONS:] = [f"  and {len(reasons) - MOST_REASONS} more"]
    listed = "\n".join([":", *reasons]) if reasons else ": there are no rows below the header"
    return f"{path}: no run that predictions can be compared with{listed}\n--help lists what a row has to say"


def _is_known(name: str) -> bool:
    return name in COLUMNS or name in INFORMATIVE


def _meant(name: str) -> str:
    """Return a hint at the column that was probably meant."""
    lower = name.lower()
    close: Iterator[str] = iter(get_close_matches(lower, COLUMNS, n=1, cutoff=0.75))
    found = lower if lower in COLUMNS else KEYS.get(lower) or next(close, None)
    return f" (did you mean {found}?)" if found else ""
