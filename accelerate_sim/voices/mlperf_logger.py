"""Calls of mlperf-logging's logger in NVIDIA's results of round 5.1, and the state of MLPerf's voice in a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from accelerate_sim.voices.voice import Line, Setting, VoiceState

POINT, START, END = "POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"


class Place(NamedTuple):
    """A call of the logger."""

    file: str
    line: int


SHELL = Place("<string>", 3)
SUBMISSION, HYPERPARAMETERS, INIT = (Place("/workspace/llm/pretrain.py", line) for line in (566, 601, 750))
LORA_SUBMISSION, LORA_INIT = (Place("/workspace/ft-llm/train.py", line) for line in (491, 490))
STEP, LORA_STEP = (
    Place("/workspace/llm/custom_callbacks.py", 480),
    Place("/workspace/ft-llm/custom_callbacks.py", 273),
)
_CALLBACKS = "/usr/local/lib/python3.12/dist-packages/mlperf_common/callbacks/logging.py"
RUN, RUN_STOP, EVAL_START, EVAL_STOP, STATS, BLOCK_START, BLOCK_STOP, STEP_TIME, ACCURACY, SIZES = (
    Place(_CALLBACKS, line) for line in (83, 106, 131, 148, 163, 185, 194, 210, 272, 297)
)
LORA_PLACES = {
    "target_accuracy": 494, "opt_base_learning_rate": 276, "opt_adamw_weight_decay": 277, "opt_gradient_clip_norm": 278,
    "opt_learning_rate_warmup_factor": 303, "lora_rank": 312, "lora_alpha": 313,
    "opt_learning_rate_training_steps": 514, "seed": 563,
}  # fmt: skip
"""Lines of the training script that log hyperparameters; a callback logs the sizes."""


class MlPerf(VoiceState):
    """The position in blocks of training."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.is_lora = self.version == "llama2_70b_lora"
        self.is_over = False
        self.step = self.samples = 0
        self.block_step = self.block_samples = 0
        """Steps and samples before the present block; -1 steps: there is none."""
        self.block_time = self.data_time = self.now()
        config = self.plan.config
        self.validated_every = config.eval.every or self.run.steps_per_epoch
        self._encode = json.JSONEncoder().encode

    def line(
        self, event: str, key: str, place: Place, value: Any = None, time: datetime | None = None, rank: int = 0,
        **metadata: Any,
    ) -> Line:  # fmt: skip
        """A line of mlperf-logging's logger."""
        time_ms = round((time or self.now()).timestamp() * 1000)
        entry = {
            "namespace": "", "time_ms": time_ms, "event_type": event, "key": key, "value": value,
            "metadata": {"file": place.file, "lineno": place.line} | metadata,
        }  # fmt: skip
        return Line(f":::MLLOG {self._encode(entry)}", rank=rank)

    def stats(self, place: Place, stats: Mapping[str, float], time: datetime, metadata: Mapping[str, float]) -> Line:
        """The line of a step, as ``line`` makes it; it is put together here, because there are many of them."""
        return Line(
            f':::MLLOG {{"namespace": "", "time_ms": {round(time.timestamp() * 1000)}, "event_type": "{POINT}", '
            f'"key": "tracked_stats", "value": {{{_fields(stats)}}}, '
            f'"metadata": {{"file": "{place.file}", "lineno": {place.line}, {_fields(metadata)}}}}}'
        )

    def moment(self, event: str, key: str, place: Place, time: datetime | None = None, **metadata: Any) -> Line:
        """A line that tells the samples and the steps so far."""
        return self.line(event, key, place, None, time, samples_count=self.samples, step=self.step, **metadata)


def _fields(numbers: Mapping[str, float]) -> str:
    """Members of a JSON object, which has NaN for a number that is none."""
    return ", ".join([f'"{key}": {value!r}' if value - value == 0.0 else f'"{key}": {json.dumps(value)}'
                      for key, value in numbers.items()])  # fmt: skip
