"""``NotebookBar``: tqdm's notebook bar, which shows the figures of a bar of ours.

It needs ipywidgets, as ``tqdm.notebook`` does; a notebook without them shows bars as text.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any
from weakref import proxy

from tqdm import tqdm as std_tqdm


class NotebookBar:
    """The widget of ``bar``, which is a tqdm; ``bar_format`` is its format."""

    delay = 0
    displayed = True

    def __init__(self, bar: std_tqdm[Any], bar_format: str) -> None:
        """Show the widget below what the cell shows. Raises ImportError if there are no widgets."""
        tqdm_notebook: Any = import_module("tqdm.notebook").tqdm_notebook
        self._bar, self._format = bar, bar_format.replace("{bar}", "<bar/>")
        self._update = tqdm_notebook.display
        self.container = tqdm_notebook.status_printer(None, bar.total, bar.desc, None)
        self.container.pbar = proxy(bar)
        import_module("IPython.display").display(self.container)

    @property
    def n(self) -> float:
        """Units that are done."""
        return self._bar.n

    def draw(self, width: int) -> str:
        """Show the present figures. Returns the text for the cell, which is empty."""
        self._show()
        return ""

    def close(self) -> None:
        """Show that the bar is complete, or has ended before; without ``leave`` take it away."""
        bar = self._bar
        if bar.total and bar.n < bar.total:
            self._show(bar_style="danger")
        elif bar.leave:
            self._show(bar_style="success")
        else:
            self._show(close=True)

    def _show(self, **signs: object) -> None:
        figures = dict(self._bar.format_dict) | {"bar_format": self._format}
        self._update(self, self._bar.format_meter(**figures), check_delay=False, **signs)
