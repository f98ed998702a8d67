"""TensorBoard event files, by the record writer of the ``tensorboard`` package: scalars, hyperparameters, a text.

Wall times are simulated. What this does not use: ``SummaryWriter``, which starts a thread and needs torch.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts.atomic import explained
from accelerate_sim.records import EvalRecord, Record, StepRecord, SummaryRecord
from accelerate_sim.tracking.run_start import RunStart, flat

DIRECTORY = "runs"
STEP_SCALARS = {
    "loss": "train/loss", "perplexity": "train/perplexity", "grad_norm": "train/grad_norm", "lr": "train/learning_rate",
    "tokens_per_s": "perf/tokens_per_s", "mfu": "perf/mfu", "step_time_s": "perf/step_time_s",
}  # fmt: skip
EVAL_SCALARS = {"loss": "eval/loss", "perplexity": "eval/perplexity"}


class TensorBoardTracker:
    """One event file per run and process below ``directory/runs``. ImportError without the package."""

    def __init__(self, directory: Path) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary, self._open = event_pb2.Event, summary_pb2.Summary, RecordWriter
        self.directory = directory / DIRECTORY
        self._writer: Any = None
        self._time_s = 0.0

    def begin(self, start: RunStart) -> None:
        """A run begins, or goes on: everything that TensorBoard has of later steps is purged."""
        self.close()
        folder = self.directory / f"run-{start.number}"
        with explained(folder / "events", "The run's other files are complete."):
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{int(start.time.timestamp())}.{socket.gethostname()}.{start.step}.simulated"
            self._writer = self._open(open(folder / name, "wb"))  # noqa: SIM115 - it is closed with the writer
        self._time_s = start.time.timestamp()
        self._write(file_version="brain.Event:2")
        if start.step:
            self._write(step=start.step + 1, session_log=self._session_start())
        self._write(summary=self._hyperparameters(start.config))
        self._write(summary=self._text("simulated", "Simulated: these figures are of a run that did not take place."))

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                self._time_s = record.time.timestamp()
                self._scalars(record, STEP_SCALARS, record.step)
            case EvalRecord():
                self._scalars(record, EVAL_SCALARS, record.step)
            case SummaryRecord():
                self.flush()

    def _scalars(self, record: Record, names: Mapping[str, str], step: int) -> None:
        values = [self._summary.Value(tag=tag, simple_value=getattr(record, name)) for name, tag in names.items()]
        self._write(step=step, summary=self._summary(value=values))

    def _write(self, **fields: Any) -> None:
        self._writer.write(self._event(wall_time=self._time_s, **fields).SerializeToString())

    def _session_start(self) -> Any:
        from tensorboard.compat.proto.event_pb2 import SessionLog

        return SessionLog(status=SessionLog.START)

    def _hyperparameters(self, config: Mapping[str, Any]) -> Any:
        from google.protobuf.struct_pb2 import Value
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

        info = SessionStartInfo(start_time_secs=self._time_s)
        for key, value in flat(config):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            info.hparams[key].CopyFrom(
                Value(number_value=value) if number else Value(string_value=json.dumps(value).strip('"'))
            )
        content = HParamsPluginData(version=0, session_start_info=info).SerializeToString()
        value = self._summary.Value(tag="_hparams_/session_start_info")
        value.metadata.plugin_data.plugin_name = "hparams"
        value.metadata.plugin_data.content = content
        return self._summary(value=[value])

    def _text(self, tag: str, text: str) -> Any:
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        value = self._summary.Value(tag=f"{tag}/text_summary")
        value.metadata.plugin_data.plugin_name = "text"
        value.tensor.CopyFrom(TensorProto(dtype=DT_STRING, string_val=[text.encode()]))
        return self._summary(value=[value])

    def flush(self) -> None:
        """What has been observed can be read. Raises OutputError."""
        if self._writer:
            with explained(self.directory / "events", "The run's other files are complete."):
                self._writer.flush()

    def close(self) -> None:
        """End the file. Raises OutputError."""
        if self._writer:
            with explained(self.directory / "events", "The run's other files are complete."):
                self._writer.close()
            self._writer = None
