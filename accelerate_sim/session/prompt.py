"""``--prompt``: the shell's prompt and the command line, typed on a terminal before the first line of a session."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_sim.sim import noise

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session

HIDDEN = {
    "--prompt": 0,
    "--record": 1,
    "--record-pace": 1,
    "--record-size": 1,
    "--no-keys": 0,
    "--fast-forward": 1,
    "--brand": 1,
}
"""Options that a viewer is not shown, and the number of words that follow each."""
KEY_S = (0.03, 0.14)
"""Shortest and longest time between two keys, in real seconds."""
READ_S = 0.6
"""Real seconds before the first key, and before Enter."""


def shell_line(words: Sequence[str]) -> str:
    """The command line of a program as one types it, without the options that make the film."""
    program = Path(words[0]).name
    shown = ["python", program] if program.endswith(".py") else [program]
    rest = list(words[1:])
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if name not in HIDDEN:
            shown.append(word)
        elif HIDDEN[name] and not equals:
            del rest[:1]
    return shlex.join(shown)


def type_prompt(session: Session, line: str) -> None:
    """Type ``line`` after a prompt, key by key. Without a terminal the whole line is printed."""
    screen, wait = session.screen, session.signals.wait
    line = f"$ {session.style.text(screen.named(line))}"
    if not screen.live:
        screen.write([line])
        return
    typed = 2

    def render(width: int) -> str:
        return line[:typed][-(width - 1) :]

    screen.pin(render)
    screen.flush()
    wait(READ_S)
    for position in range(3, len(line) + 1):
        typed = position
        screen.refresh()
        screen.flush()
        share = float(noise.uniform(0, "typing", position)[0])
        wait(KEY_S[0] + (KEY_S[1] - KEY_S[0]) * share)
    wait(READ_S)
    screen.unpin(render)
    width = screen.width - 1
    screen.write([line[start : start + width] for start in range(0, len(line), width)])
