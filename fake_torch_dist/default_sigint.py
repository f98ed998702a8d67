"""The system's action for SIGINT while modules are imported: the process ends at once, without a word.

As Python's exception, Ctrl-C would surface anywhere in a module that is being imported, and be shown, lost, or taken
for another error.
"""

import _signal as signal  # type: ignore[import-not-found]  # ``signal`` makes enumerations first, and Ctrl-C may come


class DefaultSigint:
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
        if self._changed and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
