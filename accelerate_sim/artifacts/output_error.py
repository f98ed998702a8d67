"""The run can't go on writing."""


class OutputError(Exception):
    """What happened to which file, what is still intact, and the way out: the whole message, in one text."""
