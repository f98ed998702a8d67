"""Formats figures as text, with one format for each kind of quantity.

Sizes of files are decimal, as storage vendors and ``ls --si`` count; GPU memory is binary, as ``nvidia-smi`` counts.
"""

import math

_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
_SMALL = ("", "m", "µ", "n", "p")
_COUNT = ("", "K", "M", "B", "T", "Q")


def bytes_text(size_bytes: float) -> str:
    """A file's size in decimal units: ``826 B``, ``9.1 MB``, ``141.1 GB``, ``1.48 TB``."""
    value, step = _scaled(size_bytes, len(_DECIMAL))
    if step == 0:
        return f"{value:.0f} B"
    return f"{value:.{2 if step > 3 else 1}f} {_DECIMAL[step]}B"


def gib_text(size_bytes: float) -> str:
    """GPU memory in binary units: ``79.6 GiB``, ``512 MiB``."""
    if abs(size_bytes) < 999.5 * 2**20:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:,.1f} GiB"


def machines_text(nodes: int, gpus_per_node: int) -> str:
    """Size of a cluster: ``8 nodes x 8 GPUs``, ``1 node x 1 GPU``."""
    return f"{nodes:,} node{'s' * (nodes != 1)} x {gpus_per_node} GPU{'s' * (gpus_per_node != 1)}"


def count_text(count: float) -> str:
    """A count to four or five digits: ``512``, ``1.05M``, ``70.55B``, ``1.30T``."""
    value, step = _scaled(count, len(_COUNT))
    return f"{value:.2f}{_COUNT[step]}" if step else f"{value:g}"


def duration_text(seconds: float) -> str:
    """A length of time: ``0:00:07``, ``20:37:02``, ``1d 02:03:04``; negative ones count as 0."""
    whole = round(max(0.0, seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days:,}d {hour:02}:{minute:02}:{second:02}" if days else f"{hour}:{minute:02}:{second:02}"


def rate_text(tokens_per_s: float) -> str:
    """Throughput in whole tokens per second: ``42,382 tokens/s``; one decimal below 100."""
    return f"{tokens_per_s:,.{0 if tokens_per_s >= 99.95 else 1}f} tokens/s"


def si_text(value: float, unit: str, decimals: int = 1) -> str:
    """A quantity with the prefix that keeps it below 1000: ``28.0 kW``, ``401.2 TFLOP/s``, ``85.0 ms``."""
    if 0 < abs(value) < 0.9995:
        step = min(len(_SMALL) - 1, math.ceil(-math.log10(abs(value) * 1.0005) / 3))
        return f"{value * 1000.0**step:.{decimals}f} {_SMALL[step]}{unit}"
    scaled, step = _scaled(value, len(_DECIMAL))
    return f"{scaled:.{decimals}f} {_DECIMAL[step]}{unit}"


def message_text(size_bytes: float) -> str:
    """Size of a collective's message in MB, with enough digits to check a bandwidth: ``1,073.7 MB``."""
    return f"{size_bytes / 1e6:,.1f} MB"


def perplexity_text(perplexity: float) -> str:
    """A perplexity with two decimals: ``24,875.04``."""
    return f"{perplexity:,.2f}"


def mfu_text(mfu: float) -> str:
    """A share of the peak, ``46.3%``; ``n/a`` above 1, which only an imposed step time can ask for."""
    return f"{mfu:.1%}" if mfu <= 1 else "n/a"


def energy_text(joules: float) -> str:
    """Electrical energy: ``512.3 kWh``, ``1.2 GWh``."""
    return si_text(joules / 3600.0, "Wh")


def _scaled(value: float, num_prefixes: int) -> tuple[float, int]:
    # 999.96 would be printed as 1000.0 of the smaller unit.
    step = 0
    while abs(value) >= 999.95 and step < num_prefixes - 1:
        value /= 1000.0
        step += 1
    return value, step
