"""Escape codes in logs: colours of words, boxes of rich, and hyperlinks (OSC 8), also where there is no terminal."""

from __future__ import annotations

import re

from accelerate_sim.hazards.hazard import Hazard, Passage

WORD = re.compile(r"\b(?:INFO|WARNING|ERROR|loss|lr|step|iteration)\b")
PATH = re.compile(r"(?:[A-Za-z][\w.-]*)?(?:/[A-Za-z_][\w.-]*){2,}")
COLORS = ("\033[32m", "\033[1;34m", "\033[38;5;208m", "\033[38;2;54;234;195m")
RESET = "\033[0m"


class Ansi(Hazard):
    """Colours words of a line, links its path, or draws a box around it."""

    def alter(self, passage: Passage) -> None:
        number, text = passage.line.number, passage.text
        if not text or not self.strikes(number):
            return
        color = COLORS[number % len(COLORS)]
        if self.draw(number, "box") < 0.05 and "\n" not in text:
            edge = "─" * len(text)
            passage.text = f"╭{edge}╮\n│{color}{text}{RESET}│\n╰{edge}╯"
            self.note(passage, "a box was drawn around the line")
        elif path := PATH.search(text):
            link = f"\033]8;;file://{path[0]}\033\\{path[0]}\033]8;;\033\\"
            passage.text = text[: path.start()] + link + text[path.end() :]
            self.note(passage, f"{path[0]} is a hyperlink")
        else:
            passage.text = WORD.sub(lambda word: f"{color}{word[0]}{RESET}", text)
            if passage.text == text:
                passage.text = f"{color}{text}{RESET}"
            self.note(passage, "words are coloured")
