"""Writes the benchmark page: every speed and memory figure, as a ratio to a limit that was measured beside it.

    python -m tests.benchmarks                      # all parts, to FIGURES.md
    python -m tests.benchmarks --rounds 3 start run # some parts, to standard output

A part is a module ``NAME_figures`` of this folder with a function ``figures()``.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tests.benchmarks.figure import Measured, measure

FOLDER = Path(__file__).parent
HEAD = """# Figures

Written by `python -m tests.benchmarks` on {cores} cores, Python {python}; {rounds} rounds. Each figure and its limit
are measured by turns. Values are the least of all rounds, the ratio is the median of the rounds' ratios, and the spread
is the lowest and the highest of these. Where the unit says CPU, time is processor time, so that other programs on the
machine count little; elsewhere it is real time.
"""
TABLE = "| what | value | limit | its value | ratio | spread |\n| --- | --- | --- | --- | --- | --- |"


def parts() -> list[str]:
    """Names of the parts of the page, in order."""
    return sorted(path.stem.removesuffix("_figures") for path in FOLDER.glob("*_figures.py"))


def page(measured: dict[str, Sequence[Measured]], rounds: int) -> str:
    """The text of the page."""
    sections = [
        f"## {name.capitalize()}\n\n{TABLE}\n" + "\n".join(each.row() for each in rows) + "\n"
        for name, rows in measured.items()
    ]
    head = HEAD.format(cores=os.cpu_count(), python=platform.python_version(), rounds=rounds)
    return "\n".join([head, *sections])


def main() -> None:
    """Measure the parts that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Write the benchmark page.")
    parser.add_argument("part", nargs="*", help=f"one of {', '.join(parts())}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if unknown := sorted(set(asked.part) - set(parts())):
        parser.error(f"there is no part {unknown[0]!r}; use one of {', '.join(parts())}")
    names = asked.part or parts()
    modules = {name: import_module(f"tests.benchmarks.{name}_figures") for name in names}
    text = page({name: measure(module.figures(), asked.rounds) for name, module in modules.items()}, asked.rounds)
    if asked.part:
        print(text)
    else:
        (FOLDER / "FIGURES.md").write_text(text)


if __name__ == "__main__":
    main()
