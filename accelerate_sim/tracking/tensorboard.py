"""Writes TensorBoard event files: scalars, hyperparameters and a text. Wall times are simulated.

Messages are those of the ``tensorboard`` package, or of ``tensorboardX``; events of scalars, of which there is one a
step, are made many at once (``event_records.py``). What this does not use: ``SummaryWriter``, which starts a thread.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.atomic import explained, make_directory
from accelerate_sim.records import EvalRecord, Record, StepRecord, SummaryRecord
from accelerate_sim.tracking.event_records import ScalarEvents, record, whole_events
from accelerate_sim.tracking.growing_file import GrowingFile
from accelerate_sim.tracking.one_file import OneFile
from accelerate_sim.tracking.tracker import RunStart, TrackerContext, flat
from accelerate_sim.voices.voice import Scalars, voice_called

DIRECTORY = "runs"
FILE_NAME_END = ".simulated"
STEP_SCALARS = {
    "loss": "train/loss", "perplexity": "train/perplexity", "grad_norm": "train/grad_norm", "lr": "train/learning_rate",
    "global_batch": "train/global_batch",
    "tokens_per_s": "perf/tokens_per_s", "mfu": "perf/mfu", "step_time_s": "perf/step_time_s",
}  # fmt: skip
EVAL_SCALARS = {"loss": "eval/loss", "perplexity": "eval/perplexity"}
BATCH = 512
"""Steps that are kept to be encoded together."""


def _figures(names: Iterable[str]) -> Callable[[object], tuple[Any, ...]]:
    """A function that reads attributes of a record."""
    known = tuple(names)
    read: Callable[[object], Any] = attrgetter(*known)
    return read if len(known) > 1 else lambda record: (read(record),)


class TensorBoardTracker(OneFile):
    """Writes one event file per run below ``directory/runs``. ImportError without one of the packages."""

    @classmethod
    def open(cls, context: TrackerContext) -> TensorBoardTracker:
        """The tracker of a session."""
        return cls(context.directory, voice_called(context.log.voice).scalars)

    def __init__(self, directory: Path, scalars: Scalars | None = None) -> None:
        """``scalars``: tags of a framework; None: the house's."""
        of_step, of_eval = scalars or (STEP_SCALARS, EVAL_SCALARS)
        self._messages = _Messages()
        self.output_dir = directory
        self.directory = directory / DIRECTORY
        self._steps: list[StepRecord] = []
        self._step_events = ScalarEvents(list(of_step.values()))
        self._eval_events = ScalarEvents(list(of_eval.values()))
        self._step_figures = _figures(of_step)
        self._eval_figures = _figures(of_eval)
        self._time_s = 0.0

    def begin(self, start: RunStart) -> None:
        """Open the file of a run; that of a resumed run is truncated after the steps that were made, and appended to.

        Raises OutputError.
        """
        self.close()
        self._time_s = start.time.timestamp()
        folder = self.directory / f"run-{start.number}"
        with explained(folder / "events"):
            make_directory(folder, self.output_dir)
            found = sorted(folder.glob(f"events.out.tfevents.*{FILE_NAME_END}"))
            if found and start.step:
                self._file = GrowingFile(found[-1], self._bytes_until(start.step, plain_file.read(found[-1])))
                return
            name = f"events.out.tfevents.{int(self._time_s)}.{socket.gethostname()}{FILE_NAME_END}"
            # An older file is of this run too, which starts again from its beginning, perhaps on another host.
            self._file = GrowingFile(found[-1] if found else folder / name)
        for event in self._messages.first_events(self._time_s, start.config):
            self._file.append(record(event))

    def _bytes_until(self, step: int, data: bytes) -> int:
        """Length in bytes of the part of the file that holds no later step."""
        end = 0
        for offset, event in whole_events(data):
            its_step = self._messages.step_of(event)
            if its_step is None or its_step > step:
                return offset
            end = offset + len(record(event))
        return end

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                self._steps.append(record)
                if len(self._steps) >= BATCH:
                    self._append_steps()
            case EvalRecord():
                self._append_steps()
                figures = np.array([self._eval_figures(record)])
                self._append(self._eval_events.records(np.array([self._time_s]), [record.step], figures))
            case SummaryRecord():
                self.flush()

    def _append_steps(self) -> None:
        steps, self._steps = self._steps, []
        if not steps:
            return
        times_s = np.array([step.time.timestamp() for step in steps])
        self._time_s = float(times_s[-1])
        figures = np.array([self._step_figures(step) for step in steps])
        self._append(self._step_events.records(times_s, [step.step for step in steps], figures))

    def flush(self) -> None:
        """Write everything that has been observed. Raises OutputError."""
        self._append_steps()
        super().flush()


class _Messages:
    """Events that are made with the package's protobuf messages."""

    def __init__(self) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
            from tensorboard.plugins.hparams import plugin_data_pb2
        except ImportError:
            from tensorboardX.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
            from tensorboardX.proto import plugin_hparams_pb2 as plugin_data_pb2

        self._event: Any = event_pb2.Event
        self._summary: Any = summary_pb2.Summary
        self._tensor: Any = tensor_pb2.TensorProto
        self._string_type = types_pb2.DT_STRING
        self._hparams: Any = plugin_data_pb2

    def step_of(self, event: bytes) -> int | None:
        """The step of an event; None if the bytes are no event."""
        from google.protobuf.message import DecodeError

        try:
            return int(self._event.FromString(event).step)
        except DecodeError:
            return None

    def first_events(self, time_s: float, config: Mapping[str, Any]) -> list[bytes]:
        """First events of a file: format version, hyperparameters, and the note that figures are simulated."""
        text = "Simulated: these figures are of a run that did not take place."
        events = (
            self._event(wall_time=time_s, file_version="brain.Event:2"),
            self._event(wall_time=time_s, summary=self._hyperparameters(time_s, config)),
            self._event(wall_time=time_s, summary=self._text("simulated", text)),
        )
        return [event.SerializeToString() for event in events]

    def _hyperparameters(self, time_s: float, config: Mapping[str, Any]) -> Any:
        from google.protobuf.struct_pb2 import Value

        info, keys = self._hparams.SessionStartInfo(start_time_secs=time_s), dict(flat(config))
        for key, value in keys.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            info.hparams[key].CopyFrom(
                Value(number_value=value) if number else Value(string_value=json.dumps(value).strip('"'))
            )
        content = self._hparams.HParamsPluginData(version=0, session_start_info=info).SerializeToString()
        # Readers give a summary without a value an empty tensor of floats; some take that for a scalar, and fail.
        summary = self._string("_hparams_/session_start_info", "hparams", json.dumps(keys))
        summary.value[0].metadata.plugin_data.content = content
        return summary

    def _text(self, tag: str, text: str) -> Any:
        return self._string(f"{tag}/text_summary", "text", text)

    def _string(self, tag: str, plugin: str, text: str) -> Any:
        """A summary of one value, a string."""
        value = self._summary.Value(tag=tag)
        value.metadata.plugin_data.plugin_name = plugin
        value.tensor.CopyFrom(self._tensor(dtype=self._string_type, string_val=[text.encode()]))
        return self._summary(value=[value])
