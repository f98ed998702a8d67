"""``get_logger``, as in Accelerate: in a job of many processes one of them logs.

By default that is the main process; with ``main_process_only=False`` every process logs. ``rank=k`` logs in the name of
rank k, in the process that runs this rank. Lines are printed by the handler of the session, if there is one.
"""

import logging
from collections.abc import MutableMapping
from typing import Any

from accelerate_sim.process.placement import own_placement


class MultiProcessAdapter(logging.LoggerAdapter[logging.Logger]):
    """A logger for a job of many ranks, under Accelerate's name."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log, unless another process is to do so."""
        placement = own_placement()
        own = placement.rank if placement else 0
        if not kwargs.get("main_process_only", True):
            kwargs.setdefault("rank", own)
        if placement is None or kwargs.get("rank", 0) == own:
            super().log(level, msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Move ``rank`` into the record, and take out the arguments that are Accelerate's."""
        kwargs.pop("main_process_only", None)
        kwargs.pop("in_order", None)
        kwargs["extra"] = {"rank": kwargs.pop("rank", 0)}
        return msg, kwargs


def get_logger(name: str, log_level: str | None = None) -> MultiProcessAdapter:
    """The logger called ``name``, at ``log_level`` if one is given."""
    logger = logging.getLogger(name)
    if log_level is not None:
        logger.setLevel(log_level.upper())
    return MultiProcessAdapter(logger, {})
