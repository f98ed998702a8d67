"""Hazards of figures: a loss that is no number, or is not there."""

from __future__ import annotations

import re

from accelerate_sim.hazards.hazard import Hazard, Passage

LOSS = re.compile(
    r"((?:\w+[ _/])?loss(?:['\"]|\033\[\S*?m)*\s*[:=]?\s*['\"]?)([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)", re.I
)
FORMS = ("nan", "inf", "-inf", "NaN", "")


class Nan(Hazard):
    """Puts nan, inf or nothing in the place of the first loss of a line; in JSON, a bare NaN."""

    def alter(self, passage: Passage) -> None:
        if "loss" not in passage.text or not self.strikes(passage.line.number):
            return
        found = LOSS.search(passage.text)
        if not found:
            return
        form = FORMS[int(self.draw(passage.line.number, "form") * len(FORMS))]
        begin = found.start() if not form else found.start(2)
        passage.text = passage.text[:begin] + form + passage.text[found.end() :]
        self.note(passage, f"{found[2]} became {form}" if form else f"{found[0]} is missing")
