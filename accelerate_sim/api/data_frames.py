"""``to_frame``: records as a table, with pandas if it is installed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from importlib import import_module
from typing import Any

from accelerate_sim.api.records import FaultRecord, TextRecord
from accelerate_sim.api.source import refused
from accelerate_sim.records import Record
from accelerate_sim.tracking.json_events import json_event


def to_frame(records: Iterable[Record | FaultRecord | TextRecord], kind: type | None = None) -> Any:
    """A pandas DataFrame with a row for each record, and the columns of metrics.jsonl.

    ``kind`` keeps the records of one class, such as StepRecord. Raises ImportError, which says how to get pandas, and
    ConfigError for anything else than records.
    """
    if isinstance(records, str) or not isinstance(records, Iterable):
        raise refused("records", records, "are no records", 'Use those of a run, e.g. to_frame(play("debug")).')
    try:
        pandas = import_module("pandas")
    except ImportError:
        raise ImportError("to_frame needs pandas: pip install pandas") from None
    kept = (record for record in records if kind is None or isinstance(record, kind))
    rows = [_row(record) for record in kept]
    return pandas.DataFrame([row for row in rows if row is not None])


def _row(record: Record | FaultRecord | TextRecord) -> dict[str, Any] | None:
    if isinstance(record, FaultRecord | TextRecord):
        return {"event": "fault" if isinstance(record, FaultRecord) else "text"} | asdict(record)
    return json_event(record, every_gpu=True)
