"""The exception for output that cannot be written."""

from fake_torch_dist.terminal.descriptor import printable


class OutputError(Exception):
    """A run cannot write its output. The message is one line: file, reason, intact parts, way out."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))
