"""``Listeners``: the functions that are called when the process waits, is stopped or goes on, or is paused."""

from collections.abc import Callable


class Listeners:
    """Functions by the moment at which they are called, in the order in which they were added."""

    def __init__(self) -> None:
        self._before_waiting: list[Callable[[float], None]] = []
        self._on_pause: list[Callable[[], None]] = []
        self._on_redraw: list[Callable[[], None]] = []
        self._on_hold: list[Callable[[], None]] = []
        self._on_release: list[Callable[[], None]] = []

    def add(
        self,
        *,
        before_waiting: Callable[[float], None] | None = None,
        on_pause: Callable[[], None] | None = None,
        on_redraw: Callable[[], None] | None = None,
        on_hold: Callable[[], None] | None = None,
        on_release: Callable[[], None] | None = None,
    ) -> None:
        """Add functions that are called at the moments that their names say.

        ``before_waiting(seconds)`` comes before each wait, ``on_pause()`` before Ctrl-Z stops the process, and
        ``on_redraw()`` after it continues or its terminal is resized. ``on_hold()`` and ``on_release()`` come after
        waits begin and cease to be held.
        """
        self._before_waiting += [before_waiting] if before_waiting else []
        self._on_pause += [on_pause] if on_pause else []
        self._on_redraw += [on_redraw] if on_redraw else []
        self._on_hold += [on_hold] if on_hold else []
        self._on_release += [on_release] if on_release else []

    def tell_wait(self, seconds: float) -> None:
        """Tell of a wait of so many real seconds."""
        for listener in self._before_waiting:
            listener(seconds)

    def tell_pause(self) -> None:
        """Tell that the process is about to be stopped."""
        for listener in self._on_pause:
            listener()

    def tell_redraw(self) -> None:
        """Tell that the process goes on, or that its terminal has another size."""
        for listener in self._on_redraw:
            listener()

    def tell_hold(self) -> None:
        """Tell that waits are held."""
        for listener in self._on_hold:
            listener()

    def tell_release(self) -> None:
        """Tell that waits go on."""
        for listener in self._on_release:
            listener()
