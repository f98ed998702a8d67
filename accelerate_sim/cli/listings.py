"""The tables that the command line prints instead of a run: catalog, config, plan."""

from __future__ import annotations

import sys
from collections.abc import Callable

from accelerate_sim import catalog
from accelerate_sim.config.document import documented_yaml
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.shipped import shipped_configs
from accelerate_sim.config.tracker_table import TRACKERS
from accelerate_sim.config.voice_table import VOICES
from accelerate_sim.display.screen import PIPE_WIDTH
from accelerate_sim.display.units import count_text, gib_text
from accelerate_sim.session.terminal import terminal_style
from accelerate_sim.sim.plan import Plan
from fake_torch_dist.terminal.descriptor import size_of


def show(what: str, *, ascii_only: bool) -> None:
    """Print a table of models, GPUs, datasets, configs, trackers, voices, hazards or faults."""
    tables = {
        "models": _models, "gpus": _gpus, "datasets": _datasets, "configs": _configs, "trackers": _trackers,
        "voices": _voices, "hazards": _hazards, "faults": _faults,
    }  # fmt: skip
    rows = tables[what]()
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_config(config: RunConfig) -> None:
    """Print the whole config, with an explanation of each key."""
    sys.stdout.write(documented_yaml(config))


def show_plan(plan: Plan, *, ascii_only: bool, named: Callable[[str], str]) -> None:
    """Print the time, memory and energy that a run would take. ``named`` gives the text its names."""
    from accelerate_sim.display.plan.plan_report import plan_report
    from accelerate_sim.sim.run import Run

    live, style = terminal_style(1, ascii_only=ascii_only)
    width = size_of(1)[0] if live else PIPE_WIDTH
    print(named("\n".join(plan_report(Run.of(plan), width, style))))


def _models() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("NAME", "PARAMETERS", "LAYERS", "HIDDEN", "CONTEXT", "TITLE")]
    for spec in map(catalog.model, catalog.model_names()):
        shape = spec.architecture
        size = (count_text(shape.parameters), str(shape.layers), str(shape.hidden), str(shape.context))
        rows.append((spec.name, *size, spec.title))
    return rows


def _gpus() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("NAME", "BF16 TFLOP/S", "MEMORY", "POWER", "YEAR", "PRODUCT")]
    for spec in map(catalog.gpu, catalog.gpu_names()):
        figures = (f"{spec.bf16_flops / 1e12:.0f}", gib_text(spec.memory_bytes), f"{spec.power_limit_w:.0f} W")
        rows.append((spec.name, *figures, str(spec.year), spec.product))
    return rows


def _datasets() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("NAME", "TOKENS", "SAMPLES", "DOMAIN", "LICENSE", "TITLE")]
    for spec in map(catalog.dataset, catalog.dataset_names()):
        sizes = (count_text(spec.tokens), count_text(spec.samples))
        rows.append((spec.name, *sizes, spec.domain, spec.license, spec.title))
    return rows


def _configs() -> list[tuple[str, ...]]:
    """The shipped configs by the names that ``--config`` takes, each with its first comment line."""
    rows: list[tuple[str, ...]] = [("NAME", "WHAT")]
    for name, path in shipped_configs().items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        rows.append((name, first.lstrip("# ")))
    return rows


def _trackers() -> list[tuple[str, ...]]:
    """The trackers that ``--log-with`` takes."""
    return [
        ("NAME", "PACKAGE", "WHAT"),
        *((name, " or ".join(entry.packages) or "-", entry.help) for name, entry in TRACKERS.items()),
    ]


def _voices() -> list[tuple[str, ...]]:
    """The voices that ``log.voice`` takes, each followed by its versions and options."""
    rows: list[tuple[str, ...]] = [("NAME", "WHAT")]
    for name, entry in VOICES.items():
        rows.append((name, entry.help))
        for version, difference in entry.versions.items():
            rows.append((f"{name}@{version}", difference + (" (default)" if version == entry.newest else "")))
        for option, about in entry.options.items():
            setting = f"--set log.voice_options.{option}={_shown(about.default)}"
            rows.append((name, f"{setting}: {about.help}"))
    return rows


def _shown(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _hazards() -> list[tuple[str, ...]]:
    """The hazards that ``--log-hazard`` takes, with the share of the lines that each strikes by default."""
    from accelerate_sim.config.hazards import HAZARDS

    return [("NAME", "SHARE", "WHAT"), *((name, f"{each.share:g}", each.help) for name, each in HAZARDS.items())]


def _faults() -> list[tuple[str, ...]]:
    """The kinds of fault that ``--fault`` takes, with the keys that are each one's own."""
    from accelerate_sim.faults.kinds import KINDS

    return [
        ("NAME", "TARGET", "KEYS", "WHAT"),
        *((kind.name, "|".join(kind.targets), ", ".join(kind.keys) or "-", kind.help) for kind in KINDS.values()),
    ]
