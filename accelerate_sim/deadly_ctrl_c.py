"""Ctrl-C as the system has it: it ends the process at once, without a word, where nothing is to be said or tidied up.

As Python's exception it would surface anywhere in a module that is being imported, and be shown, lost, or taken for
another error.
"""

import signal


class DeadlyCtrlC:
    """Until the block ends. A handler that somebody has set stays, and so does everything in other threads."""

    def __enter__(self) -> None:
        self._changed = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                self._changed = True
            except ValueError:  # not the main thread, where signals are
                pass

    def __exit__(self, *error: object) -> None:
        if self._changed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
