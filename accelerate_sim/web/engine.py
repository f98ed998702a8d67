"""The engine of the page: plays a command line of ``train.py`` in this process, as often as it is asked to.

It runs in a worker of the browser, where nothing may wait, so it computes ahead of what is shown. It needs no browser.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any, get_args

import yaml

from accelerate_sim import catalog
from accelerate_sim.cli.app import run_command_line
from accelerate_sim.config.keys import field_at
from accelerate_sim.session.recorded_terminal import RecordedTerminal, RunBeginning
from accelerate_sim.web.page_terminal import PageTerminal

if TYPE_CHECKING:
    from accelerate_sim.dashboard.canvas import DashboardState

SCRIPT = "train.py"
STDOUT_FD = 1
CHOSEN = ("parallel.sharding", "train.precision", "train.recompute")
"""Keys of the plan's form whose choices are those of the schema."""
KEPT_FILES = ("--output-dir", "-o", "--record")
"""Options that name a file or directory to write."""
FAILED, REFUSED = 1, 2
"""Exit codes of a command line that ends with a text, and of one that asks for what a page does not do."""
DASHBOARDS_KEPT = 64
"""Dashboards between two runs that are kept: of more runs than the page can go back to."""
_dashboards: dict[tuple[Any, ...], DashboardState] = {}
"""Dashboards by command line, size and beginning of the next run."""


def play(
    arguments: Sequence[str],
    columns: int,
    rows: int,
    post: Callable[[bytes], object],
    beginning: Sequence[float] = (),
    interrupt_s: float | None = None,
) -> str:
    """Play one run of a terminal's session, and post its frames. Returns JSON: exit code, and the next run's beginning.

    If the next run's frames need more than an empty terminal, there is a text ``screen``, which draws it.
    ``beginning`` is the beginning that an earlier call returned; empty for the first run. At the recorded second
    ``interrupt_s`` Ctrl-C is pressed. Text that is no session's, such as a plan or an error, is one frame at the end.
    """
    kind = (*arguments, columns, rows)
    start = None
    if beginning:
        number, clock_s, real_s = beginning
        start = RunBeginning(int(number), clock_s, real_s, _dashboards.get((*kind, *beginning)))
    terminal = PageTerminal(columns, rows, post, start, math.inf if interrupt_s is None else interrupt_s)
    with _columns(columns):
        code, text = _said(arguments, terminal)
    if text:
        terminal.show(text.replace("\n", "\r\n"))
    terminal.flush()
    following = terminal.next_run
    place = [following.number, following.clock_s, following.real_s] if following else None
    end: dict[str, Any] = {"code": code, "next": place}
    if following and place and following.dashboard:
        _keep((*kind, *place), following.dashboard)
        end["screen"] = following.dashboard.drawn()
    return json.dumps(end)


def _keep(place: tuple[Any, ...], dashboard: DashboardState) -> None:
    """Keep a dashboard for the next run, and for the end of that run after Ctrl-C. The oldest is forgotten."""
    _dashboards.pop(place, None)
    _dashboards[place] = dashboard
    if len(_dashboards) > DASHBOARDS_KEPT:
        del _dashboards[next(iter(_dashboards))]


def digest(arguments: Sequence[str]) -> str:
    """SHA-256 of the bytes that the command line writes to a pipe, in hexadecimal."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as pipe:
        kept = os.dup(STDOUT_FD)
        os.dup2(pipe.fileno(), STDOUT_FD)
        try:
            with open(STDOUT_FD, "w", encoding="utf-8", closefd=False) as stdout, redirect_stdout(stdout):
                _run([*arguments, "--speed", "max"], None)
        finally:
            os.dup2(kept, STDOUT_FD)
            os.close(kept)
        pipe.seek(0)
        return hashlib.sha256(pipe.read()).hexdigest()


def choices(arguments: Sequence[str]) -> str:
    """The choices of a form for ``--plan``, as JSON: names for keys that have some, and the value of each key.

    The values are those of the config that the command line makes; null if it is refused.
    """
    words = [word for word in arguments if word != "--plan"]
    code, text = _said([*words, "--print-config"])
    values = None if code else dict(_dotted(yaml.safe_load(text)))
    names = {"model": list(catalog.model_names()), "cluster.gpu": list(catalog.gpu_names())}
    for key in CHOSEN:
        field = field_at(tuple(key.split(".")))
        names[key] = [name for name in get_args(field.annotation if field else None) if isinstance(name, str)]
    return json.dumps({"choices": names, "values": values})


def _dotted(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        yield prefix + name, value
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{name}.")


def warm_up() -> None:
    """Play a short run, print each kind of text, and make a mistake, so that all that these need is imported."""
    usual = ["--config", "llama70b", "--start-time", "2026-01-31T09:30:00"]
    texts = ["--plan"], ["--print-config"], ["--list", "models"], ["--help"], ["--version"], ["--set", "train.lrr=1"]
    for words in (["--max-steps", "12"], *texts, ["--speed", "none"], ["--colour", "red"]):
        play([*usual, *words], 120, 40, lambda batch: None)
    choices(usual)


def _said(arguments: Sequence[str], terminal: RecordedTerminal | None = None) -> tuple[int, str]:
    """Exit code of the command line, and what it prints that is no frame."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    with redirect_stdout(said), redirect_stderr(said):
        code = _run(arguments, terminal)
    said.seek(0)
    return code, said.read()


def _run(arguments: Sequence[str], terminal: RecordedTerminal | None) -> int:
    """Exit code of the command line. One that asks for files is refused, as nobody could read them."""
    if option := next(filter(KEPT_FILES.__contains__, arguments), None):
        print(f"{option}: a page keeps no files. Leave it out here; on a computer the command writes them.")
        return REFUSED
    from accelerate_sim.train import main

    before, sys.argv = sys.argv, [SCRIPT, *arguments]
    try:
        code = run_command_line(main, recording=terminal)
    finally:
        sys.argv = before
    return code if isinstance(code, int) else FAILED if code else 0


@contextmanager
def _columns(columns: int) -> Iterator[None]:
    """Let texts be as wide as the terminal."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
