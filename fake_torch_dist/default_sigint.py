"""Restores SIGINT's default action while modules are imported: Ctrl-C then ends the process at once, without output.

Otherwise Ctrl-C raises KeyboardInterrupt inside the module that is being imported, where it may be shown, lost, or
turned into another error.
"""

import _signal as signal  # type: ignore[import-not-found]  # ``signal`` makes enumerations first, which takes time


class DefaultSigint:
    """Sets the default action until the block ends. A program's own handler stays; other threads do nothing."""

    _kept = False
    """A block has left the default action to the next one."""

    def __init__(self, *, until_next: bool = False, for_good: bool = False) -> None:
        """``until_next``: keep the default action until the end of the next block, which the same program enters.

        ``for_good``: keep it until the program ends.
        """
        self._until_next = until_next
        self._for_good = for_good

    def __enter__(self) -> None:
        self._changed, DefaultSigint._kept = DefaultSigint._kept, False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                self._changed = True
            except ValueError:  # not the main thread, where signals are
                pass

    def __exit__(self, *error: object) -> None:
        if self._changed and self._until_next:
            DefaultSigint._kept = True
        elif self._changed and not self._for_good and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
