"""The table at the end of a run: a box with groups of figures."""

from accelerate_sim.display.style import Style, columns, cut, padded
from accelerate_sim.display.units import (
    bytes_text,
    count_text,
    duration_text,
    energy_text,
    gib_text,
    mfu_text,
    perplexity_text,
    rate_text,
    si_text,
)
from accelerate_sim.records import SummaryRecord
from fake_torch_dist.terminal.descriptor import printable

Row = tuple[str, str, str]
"""(label, figure, addition) of a line; the addition is left out where there is no room."""


def summary_table(record: SummaryRecord, width: int, style: Style) -> list[str]:
    """The box for a terminal ``width`` columns wide: as wide as its figures need, and at most ``width - 1``."""
    groups = _groups(record)
    label_width = max(columns(label) for _, rows in groups for label, _, _ in rows)
    wanted = max(columns(value + more) for _, rows in groups for _, value, more in rows)
    inner = max(10, min(width - 1 - 4, 2 + label_width + 2 + wanted))
    label_width = min(label_width, inner // 2)
    lines = [_rule("top_left", "", "top_right", inner, style)]
    lines.append(_boxed([(style.text(f"Run {record.run}: {record.model}"), "bold")], inner, style))
    for name, rows in groups:
        lines.append(_rule("tee_right", name, "tee_left", inner, style))
        lines += [_boxed(_row(row, label_width, inner, style), inner, style) for row in rows]
    return [*lines, _rule("bottom_left", "", "bottom_right", inner, style)]


def _groups(record: SummaryRecord) -> list[tuple[str, list[Row]]]:
    gpus, seconds = record.gpus, max(record.total_time_s, 1e-9)
    per_gpu = record.mean_tokens_per_s / gpus
    validated = record.best_loss != record.final_loss  # a run that has not validated has no other loss
    of_validation = "  (validation)" if validated else ""
    exported: list[Row] = []
    if record.export_path:
        exported = [("Size", bytes_text(record.export_bytes), ""), ("Saved to", printable(record.export_path), "")]
    return [
        ("Time", [
            ("Total", duration_text(record.total_time_s), ""),
            ("Training", duration_text(record.train_time_s), f"  ({record.train_time_s / seconds:.1%})"),
        ]),
        ("Training", [
            ("Epochs", f"{record.epochs:,}", ""),
            ("Steps", f"{record.steps:,}", ""),
            ("Tokens", count_text(record.tokens), f"  ({record.tokens:,})"),
            ("Throughput", rate_text(record.mean_tokens_per_s), f"  ({rate_text(per_gpu).split()[0]} per GPU)"),
            ("MFU", mfu_text(record.mean_mfu), ""),
            *_faults(record),
        ]),
        ("Loss", [
            ("Final loss", f"{record.final_loss:.4f}", ""),
            ("Final perplexity", perplexity_text(record.final_perplexity), ""),
            ("Best loss", f"{record.best_loss:.4f}", of_validation),
            ("Best perplexity", perplexity_text(record.best_perplexity), of_validation),
        ]),
        ("Hardware", [
            ("GPUs", f"{gpus:,} × {record.gpu}", ""),
            ("Mean utilization", f"{record.mean_gpu_utilization_pct:.1f}%", ""),
            ("Peak memory", gib_text(record.peak_memory_bytes), ""),
            ("Energy", energy_text(record.energy_j), f"  (mean {si_text(record.energy_j / seconds, 'W')})"),
        ]),
        ("Model", [
            ("Parameters", count_text(record.parameters), f"  ({record.parameters:,})"),
            *exported,
        ]),
    ]  # fmt: skip


def _faults(record: SummaryRecord) -> list[Row]:
    """Rows of a run in which faults happened."""
    if record.attempts is None or record.goodput is None:
        return []
    lost = f"  ({record.lost_steps:,} steps made again)" if record.lost_steps else ""
    return [("Attempts", f"{record.attempts:,}", lost), ("Goodput", f"{record.goodput:.1%}", "")]


def _row(row: Row, label_width: int, inner: int, style: Style) -> list[tuple[str, str]]:
    label, value, more = (style.text(text) for text in row)
    room = inner - label_width - 4
    if columns(value + more) > room:
        more = ""
    # A path that is too long loses its beginning, because its end is more specific.
    while columns(value) > room and label == "Saved to" and len(value) > 1:
        value = style.glyph("ellipsis") + value.lstrip(style.glyph("ellipsis"))[1:]
    name = padded("  " + cut(label, label_width, style), label_width + 4)
    return [(name, ""), (cut(value, room, style), "bold"), (more, "dim")]


def _boxed(pieces: list[tuple[str, str]], inner: int, style: Style) -> str:
    visible = columns(Style(ascii=style.ascii).line(pieces, inner))
    side = style.paint(style.glyph("bar"), "dim")
    return f"{side} {style.line(pieces, inner)}{' ' * (inner - visible)} {side}"


def _rule(left: str, text: str, right: str, inner: int, style: Style) -> str:
    rule = style.glyph("rule")
    if not text:
        return style.paint(style.glyph(left) + rule * (inner + 2) + style.glyph(right), "dim")
    rest = rule * (inner - 1 - columns(text))
    start = style.paint(style.glyph(left) + rule, "dim")
    return f"{start} {style.paint(text, 'cyan')} {style.paint(rest + style.glyph(right), 'dim')}"
