"""Writes runs for Weights & Biases, always offline: run directories that ``wandb sync`` uploads.

Messages are those of the ``wandb`` package, and so is the file's format; it is written here (``wandb_records.py``) and
not by wandb's own process, which takes 0.7 ms a step and uses real time. Times are simulated. What this does not
do: connect to a server, record facts of the machine.
"""

from __future__ import annotations

import hashlib
import json
from operator import attrgetter
from pathlib import Path
from typing import Any

from accelerate_sim.artifacts import plain_file
from accelerate_sim.artifacts.atomic import explained, make_directory
from accelerate_sim.records import EvalRecord, Record, StepRecord, SummaryRecord
from accelerate_sim.tracking.growing_file import GrowingFile
from accelerate_sim.tracking.tracker import RunStart, TrackerContext
from accelerate_sim.tracking.wandb_files import write_first_files, write_summary
from accelerate_sim.tracking.wandb_records import FILE_HEADER, fragments, history_record, whole_records

DIRECTORY = "wandb"
PROJECT = "simulated-training"
STEP_FIGURES = (
    "loss", "perplexity", "grad_norm", "lr", "global_batch", "tokens", "tokens_per_s", "mfu", "step_time_s",
)  # fmt: skip
OLDEST_READER = "0.70.0"
"""Oldest version of wandb that reads the file format."""
BATCH = 512
"""Steps that are kept to be encoded together."""


class WandbTracker:
    """Writes one offline run of wandb per run. ImportError without the package."""

    @classmethod
    def open(cls, context: TrackerContext) -> WandbTracker:
        """The tracker of a session."""
        return cls(context.directory)

    def __init__(self, directory: Path) -> None:
        import wandb
        from wandb.proto import wandb_internal_pb2

        self._messages: Any = wandb_internal_pb2
        self._version = str(wandb.__version__)
        self.output_dir = directory
        self.directory = directory / DIRECTORY
        self._file: GrowingFile | None = None
        self._records = 0
        self._steps: list[StepRecord] = []
        self._evals: dict[int, EvalRecord] = {}
        self._step_figures = attrgetter(*STEP_FIGURES)
        self._latest: dict[str, float] = {}
        self._begin_s = 0.0
        self._finished = False

    def begin(self, start: RunStart) -> None:
        """Open the file of a run; that of a resumed run is truncated after the steps that were made, and appended to.

        Raises OutputError.
        """
        self.close()
        self._latest, self._finished = {}, False
        with explained(self.directory):
            found = sorted(self.directory.glob(f"offline-run-*r{start.number}/run-*.wandb")) if start.step else []
            if found:
                self._go_on(found[-1], start.step)
                return
            # The id depends on the start time, because equal runs of different times are different runs for an upload.
            text = f"{start.model}/{start.seed}/{start.time.isoformat()}"
            identifier = f"{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}r{start.number}"
            folder = self.directory / f"offline-run-{start.time:%Y%m%d_%H%M%S}-{identifier}"
            make_directory(folder / "files", self.output_dir)
            write_first_files(folder / "files", start)
            self._file = GrowingFile(folder / f"run-{identifier}.wandb")
        self._file.append(FILE_HEADER)
        self._records = 0
        self._begin_s = start.time.timestamp()
        version = self._messages.VersionInfo(producer=self._version, min_consumer=OLDEST_READER)
        self._append_message(header=self._messages.HeaderRecord(version_info=version))
        self._append_message(run=self._run(identifier, start))

    def _run(self, identifier: str, start: RunStart) -> Any:
        run = self._messages.RunRecord(
            run_id=identifier, project=PROJECT, display_name=f"{start.model}-seed{start.seed}", tags=["simulated"]
        )
        run.start_time.FromNanoseconds(round(self._begin_s * 1e6) * 1000)
        for key, value in {**start.config, "simulated": True}.items():
            run.config.update.add(key=key, value_json=json.dumps(value))
        return run

    def _go_on(self, path: Path, step: int) -> None:
        """Continue a file after the record of ``step``."""
        from google.protobuf.message import DecodeError

        keep_bytes, self._records = len(FILE_HEADER), 0
        for end, data in whole_records(plain_file.read(path)):
            try:
                record = self._messages.Record.FromString(data)
            except DecodeError:
                break
            kind = record.WhichOneof("record_type")
            if kind == "exit" or (kind == "history" and record.history.step.num > step):
                break
            if kind == "run":
                self._begin_s = record.run.start_time.ToNanoseconds() / 1e9
            if kind == "summary":
                self._latest = {item.nested_key[0]: json.loads(item.value_json) for item in record.summary.update}
            keep_bytes, self._records = end, self._records + 1
        self._file = GrowingFile(path, keep_bytes)

    def observe(self, record: Record) -> None:
        match record:
            case StepRecord():
                self._steps.append(record)
                if len(self._steps) > BATCH:
                    self._append_steps(len(self._steps) - 1)
            case EvalRecord():
                self._evals[record.step] = record
            case SummaryRecord():
                self._finished = True

    def _append_steps(self, number: int) -> None:
        """Write the first ``number`` of the kept steps, and a summary of the latest figures."""
        steps, self._steps = self._steps[:number], self._steps[number:]
        for step in steps:
            figures = dict(zip(STEP_FIGURES, self._step_figures(step), strict=True))
            if validation := self._evals.pop(step.step, None):
                figures |= {"eval_loss": validation.loss, "eval_perplexity": validation.perplexity}
            time_s = step.time.timestamp()
            figures |= {"_timestamp": time_s, "_runtime": round(time_s - self._begin_s, 6), "_step": step.step}
            self._latest |= figures
            self._append(history_record(self._records + 1, step.step, figures))
        if steps:
            summary = self._messages.SummaryRecord()
            for name, value in self._latest.items():
                summary.update.add(nested_key=[name], value_json=json.dumps(value))
            self._append_message(summary=summary)

    def _append_message(self, **content: Any) -> None:
        self._append(self._messages.Record(num=self._records + 1, **content).SerializeToString())

    def _append(self, record: bytes) -> None:
        assert self._file
        with explained(self._file.path):
            self._file.append(fragments(record, self._file.size_bytes))
        self._records += 1

    def flush(self) -> None:
        """Write all steps except the latest, whose validation may still follow. Raises OutputError."""
        self._write(len(self._steps) - 1)

    def sync(self) -> None:
        """Write everything that has been observed. Raises OutputError."""
        self._write(len(self._steps))

    def _write(self, steps: int) -> None:
        if self._file:
            self._append_steps(max(steps, 0))
            with explained(self._file.path):
                self._file.flush()

    def close(self) -> None:
        """Write the rest, and an exit record if the run has finished, and close the file. Raises OutputError."""
        if self._file is None:
            return
        try:
            self._append_steps(len(self._steps))
            if self._finished:
                runtime_s = int(self._latest.get("_runtime", 0.0))
                self._append_message(exit=self._messages.RunExitRecord(exit_code=0, runtime=runtime_s))
            self._write(0)
            if self._finished and self._latest:
                with explained(self._file.path):
                    write_summary(self._file.path.parent / "files", self._latest)
        finally:
            self._file.close()
            self._file = None
