"""The calibration's tables as text: for a terminal, and as markdown."""

from collections.abc import Callable, Mapping, Sequence

from accelerate_sim.calibration.accuracy import Comparison, Errors, ranked_pairs
from accelerate_sim.catalog import Constant

Families = Mapping[str, Errors]
HEAD = ["family", "runs", "median", "p90", "bias"]
HEAD_UNSEEN = ["family", "runs", "left out: median", "p90", "bias", "fitted: median", "p90", "bias"]
"""Columns of a fit: first what the other families alone predict, then the fit to all."""


def row_lines(comparisons: Sequence[Comparison]) -> list[str]:
    """Return a line for every run: published and predicted tokens/s/GPU, and GiB where measured."""
    widest = max((len(one.run.row_id) for one in comparisons), default=0)
    lines = [
        f"{'row':{widest}}  {'tokens/s/GPU':>12} {'predicted':>10} {'error':>7}"
        f"  {'GiB':>6} {'predicted':>9} {'error':>7}"
    ]
    for one in comparisons:
        speed = f"{one.run.tokens_per_s_per_gpu:12,.1f} {one.tokens_per_s_per_gpu:10,.1f} {one.error:+7.1%}"
        memory = ""
        if one.run.memory_bytes is not None and one.memory_error is not None:
            memory = f"  {one.run.memory_bytes / 2**30:6.1f} {one.memory_bytes / 2**30:9.1f} {one.memory_error:+7.1%}"
        note = "" if one.run.usable else "  (not counted: the row says so)"
        note += "" if one.fits else "  (may not fit)" if one.may_fit else "  (predicted not to fit)"
        lines.append(f"{one.run.row_id:{widest}}  {speed}{memory}{note}".rstrip())
    return lines


def family_errors(comparisons: Sequence[Comparison]) -> dict[str, Errors]:
    """Return the errors of speed by family, in the order of the file."""
    families: dict[str, list[float]] = {}
    for one in comparisons:
        families.setdefault(one.run.family, []).append(one.error)
    return {family: Errors.of(errors) for family, errors in families.items()}


def totals(comparisons: Sequence[Comparison]) -> dict[str, Errors]:
    """Return the errors of dense models' speed, of the speed of models with experts, and of memory."""
    groups = {
        "speed, dense": [one.error for one in comparisons if not one.run.model.moe],
        "speed, experts": [one.error for one in comparisons if one.run.model.moe],
        "memory": [one.memory_error for one in comparisons if one.memory_error is not None],
    }
    return {name: Errors.of(errors) for name, errors in groups.items() if errors}


def ranking(comparisons: Sequence[Comparison]) -> tuple[int, int]:
    """Return how many pairs that differ in one setting are ranked right, and how many there are."""
    verdicts = [right for _, _, right in ranked_pairs(comparisons)]
    return sum(verdicts), len(verdicts)


def summary_lines(comparisons: Sequence[Comparison], unseen: Families | None = None) -> list[str]:
    """Return the table by family and the totals, for a terminal."""
    return _summary(comparisons, unseen, _plain)


def summary_markdown(comparisons: Sequence[Comparison], unseen: Families | None = None) -> list[str]:
    """Return the table by family and the totals as markdown."""
    return _summary(comparisons, unseen, _markdown)


def _summary(
    comparisons: Sequence[Comparison], unseen: Families | None, table: Callable[[list[list[str]]], list[str]]
) -> list[str]:
    rows = [HEAD if unseen is None else HEAD_UNSEEN]
    for name, errors in family_errors(comparisons).items():
        rows.append(_row(name, errors, unseen))
    rows.append([])
    for name, errors in totals(comparisons).items():
        rows.append(_row(name, errors, unseen))
    lines = table(rows)
    lines.append("")
    right, pairs = ranking(comparisons)
    if pairs:
        lines.append(f"Pairs that differ in one setting, ranked right: {right} of {pairs} ({right / pairs:.1%}).")
    beyond = sum(not one.may_fit for one in comparisons)
    tight = sum(not one.fits for one in comparisons) - beyond
    lines.append(f"Predicted not to fit, though they ran: {beyond} of {len(comparisons)}; {tight} more are uncertain.")
    return lines


def _row(name: str, errors: Errors, unseen: Families | None) -> list[str]:
    """One line: the errors, and before them those of constants that were fitted to the other families, if known."""
    count, *fitted = _cells(errors)
    if unseen is None:
        return [name, count, *fitted]
    apart = _cells(unseen[name])[1:] if name in unseen else [""] * len(fitted)
    return [name, count, *apart, *fitted]


def _cells(errors: Errors) -> list[str]:
    return [str(errors.count), f"{errors.median:.1%}", f"{errors.p90:.1%}", f"{errors.bias:+.1%}"]


def _plain(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows if row) for column in range(len(rows[0]))]
    aligned = []
    for row in rows:
        cells = [f"{cell:{'<' if not column else '>'}{widths[column]}}" for column, cell in enumerate(row)]
        aligned.append("  ".join(cells).rstrip())
    return aligned


def _markdown(rows: list[list[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows if row]
    return [lines[0], f"| --- |{' ---: |' * (len(rows[0]) - 1)}", *lines[1:]]


def constant_lines(table: Mapping[str, Constant], found: Mapping[str, float]) -> list[str]:
    """Return a line for every fitted constant, with its prior."""
    rows = [["constant", "prior", "fitted", ""]]
    for name, constant in table.items():
        if constant.trust:
            at_end = min(abs(found[name] - constant.low), abs(found[name] - constant.high)) < 1e-3 * found[name]
            rows.append([name, f"{constant.prior:.4g}", f"{found[name]:.4g}", "at its bound" if at_end else ""])
    return _plain(rows)
