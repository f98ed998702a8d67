"""The run can't go on writing."""

from fake_torch_dist.terminal.descriptor import printable


class OutputError(Exception):
    """What happened to which file, what is still intact, and the way out: the whole message, on one line."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))
