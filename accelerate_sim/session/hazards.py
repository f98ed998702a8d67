"""Puts the hazards that a config names between a session's screen and its descriptors."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from accelerate_sim.config.hazards import HAZARDS, in_order
from accelerate_sim.config.problems import ConfigError, Problem, shown
from accelerate_sim.display.screen import OutputClosed, Screen
from accelerate_sim.hazards.hazard import LoggingProcess
from accelerate_sim.hazards.outlet import Outlet
from accelerate_sim.hazards.rank_outlets import RankOutlets, WholeLines
from accelerate_sim.hazards.terminal_rows import TerminalRows
from accelerate_sim.sim.plan import Plan

Deliver: TypeAlias = Callable[[str, bytes], None]
Finish: TypeAlias = Callable[[], None]


def require_directory(entries: Sequence[str], output_dir: Path | None) -> None:
    """Raise ConfigError if a hazard needs an output directory and there is none."""
    for choice in in_order(entries):
        if HAZARDS[choice.name].writes_files and output_dir is None:
            reason = f"has {choice.name}, which writes files"
            way_out = "Say where to with --output-dir."
            raise ConfigError([Problem.about("log.hazards", shown(list(entries)), reason, way_out)])


def open_outlet(
    screen: Screen, plan: Plan, ranks: Sequence[int], now: Callable[[], datetime], directory: Path | None
) -> None:
    """Let the lines of ``screen`` pass the hazards of ``plan`` from now on; the truth goes to ``directory``.

    ``ranks`` are those that this process plays of a job of several; [0] if it plays all.
    """
    deliver, finish = _above_the_bars(screen) if screen.live else _to_pipes(screen)
    screen.flush()
    if directory is not None:
        os.makedirs(directory, exist_ok=True)

    def outlet_of(rank: int, deliver: Deliver, finish: Finish) -> Outlet:
        suffix = f".rank{rank}" if rank else ""
        layout = plan.layout
        process = LoggingProcess(plan.config.run.seed, rank, layout.world_size, layout.gpus_per_node, directory, suffix)
        return Outlet(in_order(plan.config.log.hazards), process, now, deliver, finish=finish)

    if len(ranks) == 1:
        screen.pass_through(outlet_of(ranks[0], deliver, finish))
        return
    lines = {rank: WholeLines(deliver) for rank in ranks}
    outlets = {rank: outlet_of(rank, lines[rank], lines[rank].close) for rank in ranks}
    screen.pass_through(RankOutlets(outlets, finish))


def _to_pipes(screen: Screen) -> tuple[Deliver, Finish]:
    """Write the bytes of each stream to its descriptor."""
    errors = screen.beside(2)

    def deliver(stream: str, data: bytes) -> None:
        if stream == "stdout":
            screen.deliver_bytes(data)
        else:
            with suppress(OutputClosed):  # nobody reads standard error, which ends no program
                errors.deliver_bytes(data)

    return deliver, lambda: None


def _above_the_bars(screen: Screen) -> tuple[Deliver, Finish]:
    """Show what the bytes of both streams leave on a terminal, above the bars that the screen draws."""
    rows = TerminalRows(lambda: screen.width)

    def finish() -> None:
        screen.append(rows.close())
        screen.flush()

    return lambda _, data: screen.append(rows.feed(data)), finish
