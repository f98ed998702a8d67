"""``DashboardCanvas``: encodes frames of the whole screen, in the terminal's alternate screen.

Rows that have not changed since the last frame are not written again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console, RenderableType
from rich.layout import Layout
from rich.panel import Panel

from accelerate_sim.dashboard import panels
from accelerate_sim.dashboard.history import History
from accelerate_sim.dashboard.panels import FIGURES, View
from accelerate_sim.display.style import Style
from fake_torch_dist.terminal.frame import BEGIN_FRAME, END_FRAME

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[?25h\x1b[?1049l"
BEGIN, END = BEGIN_FRAME.decode(), END_FRAME.decode()
LINES_KEPT = 200
SMALLEST = (40, 12)
"""Columns and rows below which only the log is drawn."""


@dataclass(frozen=True, slots=True)
class DashboardState:
    """A dashboard between two runs, from which another session goes on with the next run."""

    history: History
    lines: tuple[str, ...]
    """The latest lines of the log."""
    rows: tuple[str, ...]
    """The rows that the screen shows."""
    view: View | None
    """The latest moment of the run before."""

    def drawn(self) -> str:
        """The text that shows it on a screen that shows anything else."""
        return BEGIN + ENTER + "".join(map(_row_text, range(len(self.rows)), self.rows)) + END


class DashboardCanvas:
    """A canvas whose frames fill the screen.

    ``size`` gives columns and rows of the terminal, ``view`` the run, None before it begins, and ``summary`` the lines
    that stay on the ordinary screen in the end.
    """

    def __init__(
        self,
        history: History,
        style: Style,
        size: Callable[[], tuple[int, int]],
        view: Callable[[], View | None],
        summary: Callable[[int], Sequence[str]],
        named: Callable[[str], str] = str,
    ) -> None:
        """``named`` gives a text the names that the screen shows."""
        self.history = history
        self.figure = FIGURES[0]
        self.size = size
        self._style, self._view, self._summary = style, view, summary
        self._named = named
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._rows: list[str] = []
        self._entered = self._ended = False

    def next_figure(self) -> None:
        """Let the heat map show its next figure."""
        self.figure = FIGURES[(FIGURES.index(self.figure) + 1) % len(FIGURES)]

    def line_width(self) -> int:
        """Columns of a line of the log."""
        return max(1, self.size()[0] - (0 if self._ended else 2))

    def frame(self, lines: Sequence[str], live: Sequence[str]) -> str:
        """The text that draws the screen; after the end, the lines."""
        if self._ended:
            return "".join(f"{line}\r\n" for line in lines)
        self._lines.extend(lines)
        columns, rows = self.size()
        drawn = self._drawn(columns, rows, live)
        text = "" if self._entered else ENTER
        if not self._entered or len(drawn) != len(self._rows):
            self._rows, text = [""] * len(drawn), text or "\x1b[2J"
        self._entered = True
        changed = [
            _row_text(number, row)
            for number, (row, before) in enumerate(zip(drawn, self._rows, strict=True))
            if row != before
        ]
        self._rows = drawn
        return BEGIN + text + "".join(changed) + END

    def cleared(self) -> str:
        """The text that leaves the alternate screen; the next frame enters it again."""
        left = LEAVE if self._entered else ""
        self._entered = False
        return left

    def ended(self) -> str:
        """The text that leaves the alternate screen for good, and the summary below it."""
        if self._ended:
            return ""
        self._ended = True
        return self.cleared() + "".join(f"{line}\r\n" for line in self._summary(self.size()[0]))

    def state(self) -> DashboardState:
        """The state from which the next run's session goes on with this screen."""
        return DashboardState(self.history, tuple(self._lines), tuple(self._rows), self._view())

    def go_on(self, state: DashboardState) -> None:
        """Take a screen over, as another session has left it."""
        self._lines.extend(state.lines)
        self._rows, self._entered = list(state.rows), bool(state.rows)

    def leave_shown(self) -> None:
        """Let the screen show what it shows, also when the session ends."""
        self._ended = True

    def forget(self) -> None:
        """Draw every row of the next frame."""
        self._rows = []

    def _drawn(self, columns: int, rows: int, live: Sequence[str]) -> list[str]:
        view = self._view()
        if view is None or columns < SMALLEST[0] or rows < SMALLEST[1]:
            body: RenderableType = panels.log_tail(self._lines, (columns, rows - 1))
        else:
            body = self._layout(view, columns, rows - 1)
        console = Console(
            file=StringIO(), width=columns, height=rows - 1, force_terminal=True, legacy_windows=False,
            color_system="standard" if self._style.color else None, no_color=not self._style.color,
            highlight=False, markup=False, emoji=False, _environ={},
        )  # fmt: skip
        with console.capture() as capture:
            console.print(body, end="", soft_wrap=False)
        drawn = capture.get().split("\n")[: rows - 1]
        drawn += [""] * (rows - 1 - len(drawn))
        return [*drawn, live[-1] if live else ""]

    def _layout(self, view: View, columns: int, rows: int) -> Layout:
        """The panels: loss and GPUs above, pace, step and what is ahead in the middle, the log below."""
        history, style = self.history, self._style
        upper, middle = max(6, (rows - 1) * 9 // 20), max(5, min(12, (rows - 1) // 3))
        lower = rows - 1 - upper - middle
        right = max(view.gpus.gpus_per_node * 3 + 4, columns * 2 // 5) if columns >= 70 else columns // 2
        third = columns // 3
        layout, model = Layout(), self._named(view.run.model.title)
        layout.split_column(
            Layout(panels.heading(view, history, style, columns, model), size=1), Layout(name="upper", size=upper),
            Layout(name="middle", size=middle), Layout(name="log", size=lower),
        )  # fmt: skip
        left = columns - right
        layout["upper"].split_row(
            Layout(self._box("loss", panels.losses(view, history, style, (left - 4, upper - 2))), size=left),
            Layout(
                self._box(self.figure, panels.heat_map(view, style, (right - 4, upper - 2), self.figure)), size=right
            ),
        )  # fmt: skip
        inner = (third - 4, middle - 2)
        layout["middle"].split_row(
            Layout(self._box("throughput", panels.pace(view, history, style, inner)), size=third),
            Layout(self._box("a step", panels.step_parts(view, style, inner)), size=third),
            Layout(self._box("ahead", panels.ahead(view, history, style, (columns - 2 * third - 4, middle - 2)))),
        )
        layout["log"].update(panels.log_tail(self._lines, (columns, lower)))
        return layout

    def _box(self, title: str, text: RenderableType) -> Panel:
        return Panel(
            text, title=title, title_align="left", box=box.ASCII if self._style.ascii else box.ROUNDED,
            border_style="bright_black", safe_box=False,
        )  # fmt: skip


def _row_text(number: int, row: str) -> str:
    """The text that replaces a row of the screen; the first is number 0."""
    return f"\x1b[{number + 1};1H{row}\x1b[0m\x1b[K"
