"""The keys of a terminal that steer a session, and the loop that reads them.

Keys are served by the waits of the session, so that none is read between a line and its end. They come from standard
input, or from fake-torchrun, which has the terminal of its ranks.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from accelerate_sim.session.launcher_keys import LauncherKeys
from accelerate_sim.session.steering import Steering
from accelerate_sim.session.typed_line import TypedLine
from fake_torch_dist.launcher.environment_names import KEYS as LAUNCHER
from fake_torch_dist.terminal.keyboard import Keyboard

if TYPE_CHECKING:
    from accelerate_sim.session.session import Session

STDIN = 0
SPEED_KEYS = "+-0"
SHORTER = (*SPEED_KEYS, "?")
"""Keys that the help of a narrow screen does not name one by one."""
OPENS_LINE = "f"
"""The key after which a line is typed."""


class KeyBinding(NamedTuple):
    """A key, the word for it in the help, and the action."""

    name: str
    help: str
    act: Callable[[Session, Steering], None]


def _look(session: Session, steering: Steering) -> None:
    """Draw the grid of the GPUs at this moment; no file gets it."""
    active = session.active
    if active is None:
        return
    from accelerate_sim.display.gpu.table import gpu_table

    record = active.look()
    console, host = session.console, active.run.config.cluster.host
    session.screen.write(gpu_table(record, console.table_width, session.style, host))
    session.screen.flush()


def _help(session: Session, steering: Steering) -> None:
    if session.keys:
        steering.say(session.keys.help(session.screen.width))


def _fault(session: Session, steering: Steering) -> None:
    """Ask for the words of a fault, which then strikes."""
    from accelerate_sim.session.control.commands import RefusedCommand, answer

    def strike(words: str) -> None:
        try:
            steering.say(f"[{answer(session, 'fault', words)['text']}]")
        except RefusedCommand as refused:
            steering.say(f"[{refused}]")

    if session.keys:
        session.keys.read_line("fault: ", "kill rank=any at=now", strike)


KEYS: Mapping[str, KeyBinding] = {
    " ": KeyBinding("space", "pause", lambda _, steering: steering.toggle()),
    ".": KeyBinding(".", "one step", lambda _, steering: steering.one_step()),
    "+": KeyBinding("+", "faster", lambda _, steering: steering.multiply(2.0)),
    "-": KeyBinding("-", "slower", lambda _, steering: steering.multiply(0.5)),
    "0": KeyBinding("0", "speed", lambda _, steering: steering.normal_speed()),
    "g": KeyBinding("g", "GPUs", _look),
    OPENS_LINE: KeyBinding(OPENS_LINE, "fault", _fault),
    "?": KeyBinding("?", "help", _help),
    "q": KeyBinding("q", "quit", lambda _, steering: steering.end()),
}
"""Every key, by the character that a terminal sends for it."""


class KeySource(Protocol):
    """A terminal whose keys are read, or a process that reads them from it."""

    @property
    def fd(self) -> int:
        """Descriptor that can be read when there are keys."""

    def hush(self) -> bool:
        """Let keys come one by one, without an echo. False if none can be had."""

    def pressed(self) -> bytes:
        """The keys that have come; empty if there can be no more."""

    def restore(self) -> None:
        """Leave the terminal as it was."""


class Keys:
    """Reads keys from ``source`` and calls the action that ``table`` has for each."""

    def __init__(
        self, session: Session, steering: Steering, source: KeySource, table: Mapping[str, KeyBinding] = KEYS
    ) -> None:
        self._session, self._steering, self._table = session, steering, dict(table)
        self._source = source
        self._served: int | None = None
        """Descriptor that is served; None: keys are not read."""
        self._line: TypedLine | None = None

    def add(self, key: str, text: str, act: Callable[[], None]) -> None:
        """Add a key, which draws the screen anew."""

        def act_and_draw(session: Session, steering: Steering) -> None:
            act()
            session.screen.refresh()
            session.screen.flush()

        self._table[key] = KeyBinding(key, text, act_and_draw)

    def help(self, width: int) -> str:
        """The keys with their words; where these do not fit, with one word for the keys of the speed."""
        text = " ".join(f"[{key.name}] {key.help}" for key in self._table.values())
        if len(text) < width:
            return text
        named = {key.name: key.help for key in self._table.values() if key.name not in SHORTER}
        return " ".join(f"[{name}] {word}" for name, word in (named | {SPEED_KEYS: "speed"}).items())

    def read_line(self, label: str, text: str, on_line: Callable[[str], None]) -> None:
        """Let the user change ``text``, beside its label on the bar line; Enter gives it to ``on_line``."""
        self._line = TypedLine(label, text, on_line)
        self._steering.ask(self._line.shown)

    def _type(self, line: TypedLine, keys: str) -> None:
        self._line = line.type(keys)
        if self._line:
            self._steering.ask(self._line.shown)
        else:
            self._steering.ask("")
            line.end(keys)

    def take(self) -> None:
        """Read keys from now on if this process has the terminal."""
        if self._source.hush() and self._served is None:
            self._served = self._source.fd
            self._session.signals.serve(self._served, select.POLLIN, self._read)

    def give_back(self) -> None:
        """Read no more keys, and leave the terminal as it was."""
        self._leave()
        self._source.restore()

    def _leave(self) -> None:
        if self._served is not None:
            self._session.signals.dismiss(self._served)
            self._served = None

    def _read(self) -> None:
        keys = self._source.pressed().decode("ascii", "replace")
        if keys:
            self._press(keys)
        else:
            self._leave()

    def _press(self, keys: str) -> None:
        """Act on keys that were read at once; those after the key of a line are typed into it."""
        if not self._line and any(key not in self._table for key in keys.partition(OPENS_LINE)[0]):
            return  # the code of another key is no key of ours
        for place, key in enumerate(keys):
            if self._line:
                self._type(self._line, keys[place:])
                return
            if key in self._table:
                self._table[key].act(self._session, self._steering)


def key_source() -> KeySource | None:
    """The launcher that offers keys, or the terminal on standard input; None: there are no keys to be had."""
    if address := os.environ.get(LAUNCHER):
        return LauncherKeys(address)
    try:
        return Keyboard(STDIN, reads_keys=True) if os.isatty(STDIN) else None
    except OSError:
        return None
