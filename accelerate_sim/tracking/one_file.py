"""``OneFile``: the part of a tracker that writes one growing file for each run: appended to, flushed and closed."""

from __future__ import annotations

from accelerate_sim.artifacts.atomic import explained
from accelerate_sim.tracking.growing_file import GrowingFile


class OneFile:
    """Writes the file of the present run; a subclass opens it."""

    _file: GrowingFile | None = None

    def _append(self, data: bytes) -> None:
        """Add data to the file, if there is one. Raises OutputError."""
        if self._file:
            with explained(self._file.path):
                self._file.append(data)

    def flush(self) -> None:
        """Write everything that has been observed. Raises OutputError."""
        if self._file:
            with explained(self._file.path):
                self._file.flush()

    def sync(self) -> None:
        self.flush()

    def close(self) -> None:
        """Write the rest and close the file; a second call does nothing. Raises OutputError."""
        try:
            self.flush()
        finally:
            if self._file:
                self._file.close()
                self._file = None
