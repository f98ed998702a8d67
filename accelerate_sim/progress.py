"""tqdm's bars on the simulated clock, at the bottom of the screen.

Arguments, rates and look are tqdm's. The differences: elapsed time and ETA are simulated, ``Screen`` draws on the
terminal, no monitor thread runs, a bar that does not fit gets shorter figures instead of being cut, and on a pipe a bar
is a line at every tenth of its way. In a notebook it is tqdm's notebook bar, or text where there are no widgets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from tqdm import tqdm as std_tqdm
from tqdm.std import Bar  # type: ignore[attr-defined]  # absent in the stubs

from accelerate_sim.display.bar_text import bar_of, figure_texts
from accelerate_sim.display.cell_output import CellCanvas
from accelerate_sim.display.screen import PIPE_WIDTH
from accelerate_sim.session.session import Session

if TYPE_CHECKING:
    from accelerate_sim.display.notebook_bar import NotebookBar

FULL = "{l_bar}{bar}{r_bar}"
"""The format of tqdm; the others are for narrower screens."""
NARROWER = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]",
    "|{bar}| {n_fmt}/{total_fmt} {elapsed}<{remaining} {figures}",
    "{n_fmt}/{total_fmt} {elapsed}<{remaining} {figures}",
    "{elapsed}<{remaining} {figures}",
)
SMALLEST_BAR = 4
BAR_MARK = "\0"
"""Holds the place of the bar in a line whose other figures are formatted."""
UNSCALED = (False, True)
"""Values of ``unit_scale`` that do not change the numbers of a bar."""
PIPE_PARTS = 10


class tqdm(std_tqdm):  # type: ignore[type-arg]  # generic in its stubs alone
    """A bar of the current session. ``parts``: number of lines that a bar prints on a pipe."""

    monitor_interval: ClassVar[int] = 0
    _lock = nullcontext()

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        *args: Any,
        parts: int = PIPE_PARTS,
        bar_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        session = Session.current()
        self._screen = session.screen
        self._formats = (bar_format or FULL, *NARROWER)
        self._parts, self._parts_said = parts, 0
        kwargs.setdefault("disable", not (session.progress and session.is_main_process and session.shows_script))
        kwargs |= {"gui": True, "mininterval": 0.0, "miniters": 0, "ascii": session.style.ascii}
        super().__init__(iterable, *args, **kwargs)
        if not self.disable:
            self._time = session.clock.read
            self.start_t = self.last_print_t = session.clock.read()
            if self._screen.live:
                self._widget = self._notebook_bar()
                self._pinned = self._widget.draw if self._widget else self.render
                self._screen.pin(self._pinned)

    def _notebook_bar(self) -> NotebookBar | None:
        if isinstance(self._screen.canvas, CellCanvas):
            from accelerate_sim.display.notebook_bar import NotebookBar

            self._screen.flush()
            with suppress(ImportError):  # bars are text then
                return NotebookBar(self, self._formats[0])
        return None

    def render(self, width: int, *, has_ended: bool = False) -> str:
        """The bar in at most ``width - 1`` columns, in the fullest format that leaves room for a bar.

        A bar that ``has_ended`` shows the mean rate, as tqdm does without a smoothed one.
        """
        figures = dict(self.format_dict)
        if has_ended:
            figures["rate"] = None
        texts = figure_texts(figures)
        for bar_format in self._formats:
            if "{figures}" in bar_format:
                figures["figures"] = short_figures(str(self.postfix or ""))
            marked = self._marked(figures, texts, bar_format)
            has_bar = "{bar}" in bar_format
            without_bar = marked.replace(BAR_MARK, "", 1) if has_bar else marked
            text = without_bar.rstrip()
            if len(text) + SMALLEST_BAR * has_bar < width:
                break
        if has_bar:
            text = self._filled(figures, bar_format, marked, width - 1).rstrip()
        while len(text) >= width and " " in text:
            text = text.rpartition(" ")[0]  # a figure that is cut would be another figure
        return text[: max(width - 1, 0)]

    def _marked(self, figures: dict[str, Any], texts: dict[str, Any] | None, bar_format: str) -> str:
        """The line with a mark in the place of the bar; ``texts`` are those of ``figure_texts``."""
        marked_format = bar_format.replace("{bar}", BAR_MARK)
        if texts is not None:
            texts["figures"] = figures.get("figures")
            try:
                return marked_format.format_map(texts)
            except KeyError:  # a field that few formats have
                pass
        return str(self.format_meter(**figures | {"bar_format": marked_format, "ncols": None}))

    def _filled(self, figures: dict[str, Any], bar_format: str, marked: str, columns: int) -> str:
        """The line of so many columns with a bar at the mark.

        tqdm formats all figures and measures the line anew to place a bar, so it does that only where a bar is not
        simply a share of these columns, or where a character may be two columns wide.
        """
        total, length = figures["total"], columns - len(marked) + len(BAR_MARK)
        if length < 1 or not marked.isascii():
            return str(self.format_meter(**figures | {"bar_format": bar_format, "ncols": columns}))
        is_share = total and 0 <= figures["n"] <= total and figures["unit_scale"] in UNSCALED and not figures["colour"]
        if not is_share or marked.count(BAR_MARK) != 1:
            sized = bar_format.replace("{bar}", f"{{bar:{length}}}")
            return str(self.format_meter(**figures | {"bar_format": sized, "ncols": None}))
        charset = Bar.ASCII if figures["ascii"] is True else figures["ascii"] or Bar.UTF
        return marked.replace(BAR_MARK, bar_of(figures["n"] / total, charset, length))

    def refresh(self, *args: Any, **kwargs: Any) -> None:
        """Mark the bar to be drawn; on a pipe, print a line when another part is done."""
        if self._screen.live:
            self._screen.refresh()
            return
        part = int(self.n * self._parts / self.total + 1e-9) if self.total else 0
        if part > self._parts_said:
            self._parts_said = part
            self._screen.write([self.render(PIPE_WIDTH)])

    def close(self) -> None:
        """Remove the bar from the screen; with ``leave``, its last state stays in the scrollback."""
        if self.disable:
            return
        self.disable = True
        if self._screen.live:
            self._screen.unpin(self._pinned)
            if self._widget:
                self._widget.close()
            elif self.leave and self.n >= (self.total or 0):
                self._screen.write([self.render(self._screen.table_width, has_ended=True)])


def short_figures(postfix: str) -> str:
    """Shorten the text after the bar: ``ppl=12.34, tok/s=1,074,449`` becomes ``ppl=12.34 tok/s=1.07M``."""
    return re.sub(r"\d{1,3}(?:,\d{3})+", _in_three_digits, postfix).replace(", ", " ")


def _in_three_digits(count: re.Match[str]) -> str:
    return str(std_tqdm.format_sizeof(int(count[0].replace(",", ""))))
