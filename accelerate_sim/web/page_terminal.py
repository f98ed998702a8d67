"""``PageTerminal``: the terminal of a page, which gets frames in batches, ahead of the time at which it shows them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from accelerate_sim.session.recorded_terminal import RecordedTerminal, RunBeginning

FIRST_CHARS = 2_000
"""Characters of the first batch: few, so that the page shows something at once."""
BATCH_CHARS = 120_000
"""Characters of the largest batch."""


class PageTerminal(RecordedTerminal):
    """Gives batches of frames to ``post``, as JSON in UTF-8: [[recorded second, text], ...].

    They are bytes, which a page copies at once; it would take a text character by character.

    A session on it ends after each run, and ``next_run`` says where it goes on.
    """

    endless = True

    def __init__(
        self,
        columns: int,
        rows: int,
        post: Callable[[bytes], object],
        beginning: RunBeginning | None = None,
        interrupt_s: float = math.inf,
    ) -> None:
        super().__init__(columns, rows, beginning, interrupt_s)
        self.next_run: RunBeginning | None = None
        self._post = post
        self._encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
        self._frames: list[tuple[float, str]] = []
        self._chars, self._limit = 0, FIRST_CHARS

    def show(self, text: str) -> None:
        """Add a frame; post the batch if it is large enough."""
        self._frames.append((round(self.time.now_s, 6), text))
        self._chars += len(text)
        if self._chars > self._limit:
            self.flush()

    def flush(self) -> None:
        """Post the frames that are left."""
        if self._frames:
            self._post(self._encode(self._frames).encode())
            self._frames, self._chars, self._limit = [], 0, min(2 * self._limit, BATCH_CHARS)

    def ends_before(self, beginning: RunBeginning) -> bool:
        """Note where the next run begins, and end the session."""
        self.next_run = beginning
        return True
