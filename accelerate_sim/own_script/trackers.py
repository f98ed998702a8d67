"""Trackers of a user's own script: what ``Accelerator.log`` is given goes to them as it is, under Accelerate's names.

``tensorboard`` writes event files, as the package does, without needing it; ``jsonl`` writes a line for each call. A
tracker of the user's own is a subclass of ``GeneralTracker``. Files go below the logging directory.

What this module does not do: trackers that need a server, and images or tables.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from accelerate_sim.tracking.event_records import ScalarEvents, record, varint


class GeneralTracker:
    """Base of a script's trackers. An instance of this class itself takes everything and keeps nothing."""

    name: ClassVar[str] = ""
    requires_logging_directory: ClassVar[bool] = False
    main_process_only: bool = True

    @property
    def tracker(self) -> Any:
        """The object that does the work, for what this class has no method for."""
        return None

    def start(self) -> None:
        """Begin; called by ``init_trackers``."""

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Keep the hyperparameters of the run."""

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Keep figures of one step."""

    def finish(self) -> None:
        """Nothing more will come."""


class JsonlTracker(GeneralTracker):
    """One JSON object a line in PROJECT.jsonl: ``config`` first, then the values of each call with its step."""

    name = "jsonl"
    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: str | os.PathLike[str], **kwargs: Any) -> None:
        self.path = Path(logging_dir) / f"{run_name}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115 - closed by finish()

    @property
    def tracker(self) -> Any:
        return self._file

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self._write({"config": values})

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        self._write({"step": step, **values})

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps({"simulated": True, **line}, default=plain) + "\n")
        self._file.flush()

    def finish(self) -> None:
        self._file.close()


class TensorBoardTracker(GeneralTracker):
    """An event file of scalars below ``logging_dir``/PROJECT. Values that are no numbers are left out of it."""

    name = "tensorboard"
    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: str | os.PathLike[str], **kwargs: Any) -> None:
        self.directory = Path(logging_dir) / run_name
        self.directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.simulated"
        self._file = open(self.directory / name, "wb")  # noqa: SIM115 - closed by finish()
        version = b"brain.Event:2"
        # Protobuf fields 1, the wall time, and 3, the version of the format.
        self._file.write(record(b"\x09" + struct.pack("<d", time.time()) + b"\x1a" + varint(len(version)) + version))
        self._file.flush()
        self._steps = 0

    @property
    def tracker(self) -> Any:
        return self._file

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        import yaml

        text = yaml.safe_dump(json.loads(json.dumps(values, default=plain)))
        (self.directory / "hparams.yml").write_text(text, encoding="utf-8")

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        numbers = {name: number for name, value in values.items() if (number := as_number(value)) is not None}
        if numbers:
            events = ScalarEvents(list(numbers))
            row = np.array([list(numbers.values())], float)
            self._file.write(events.records(np.array([time.time()]), [self._steps if step is None else step], row))
            self._file.flush()
        self._steps += 1

    def finish(self) -> None:
        self._file.close()


TRACKERS: Mapping[str, type[Any]] = {"tensorboard": TensorBoardTracker, "jsonl": JsonlTracker}
"""Trackers that a script can name."""


def as_number(value: Any) -> float | None:
    """A value as a number, None if it is none."""
    if isinstance(value, str):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def plain(value: Any) -> Any:
    """A value that JSON has no type for: a number, a list, or its text."""
    if hasattr(value, "tolist"):
        return value.tolist()
    number = as_number(value)
    return str(value) if number is None else number


def check_trackers(log_with: Any) -> list[Any]:
    """Names and trackers that a script asks for, in a list. ValueError for one that is not here."""
    from accelerate_sim.utils.dataclasses import LoggerType

    asked: Sequence[Any] = log_with if isinstance(log_with, list | tuple) else [] if log_with is None else [log_with]
    found: list[Any] = []
    for each in asked:
        if isinstance(each, GeneralTracker):
            found.append(each)
            continue
        name = str(getattr(each, "value", each))
        if name == LoggerType.ALL.value:
            found += TRACKERS
        elif name in TRACKERS:
            found.append(name)
        elif name in LoggerType.list():
            raise ValueError(f"{name} is not there for a script's own figures: use {' or '.join(TRACKERS)}")
        else:
            raise ValueError(f"Unsupported logging capability: {name}. Choose between {['all', *TRACKERS]}")
    return found


def open_trackers(
    asked: Sequence[Any], project_name: str, logging_dir: str | None, options: Mapping[str, Any]
) -> list[GeneralTracker]:
    """The trackers of a script, opened. ValueError for one that needs a directory and has none."""
    opened: list[GeneralTracker] = []
    for each in asked:
        if isinstance(each, GeneralTracker):
            each.start()
            opened.append(each)
            continue
        if logging_dir is None:
            raise ValueError(f"Logging with `{each}` requires a `logging_dir` to be passed in.")
        opened.append(TRACKERS[each](project_name, logging_dir, **options.get(each, {})))
    return opened
