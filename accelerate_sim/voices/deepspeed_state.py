"""The state of DeepSpeed's voice in a run, and the places in its sources that its log lines name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from accelerate_sim.records.timestamps import asctime
from accelerate_sim.voices.voice import Line, Setting, VoiceState

GIB = 2**30


class Places(NamedTuple):
    """Release of a version, and files and lines of its calls of the logger."""

    release: str
    log_dist: str
    accelerator: str
    backend: str
    init: str
    config: str
    json: str
    zero_check: str


PLACES = {
    "0.16": Places("0.16.9", "107", "254", "669", "700", "1007", "993", "59"),
    "0.18": Places("0.18.9", "123", "225", "821", "852", "962", "948", "66"),
}


class DeepSpeedState(VoiceState):
    """Times and samples for the running average."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.level = self.options["log_level"] or ("info" if self.version == "0.16" else "warning")
        self.places = PLACES[self.version]
        self.is_old = self.version == "0.16"
        self.steps = self.samples = self.micro_steps = self.skipped = 0
        self.seconds = 0.0
        use = self.plan.memory
        self.allocated = (use.weights + use.gradients + use.optimizer) / GIB
        self.max_allocated = use.allocated / GIB

    def info(self, where: str, text: str, rank: int = 0) -> Iterator[Line]:
        """A line of DeepSpeed's logger; ``where`` is file, line and function."""
        if self.level == "info":
            yield Line(f"[{asctime(self.now())}] [INFO] [{where}] {text}", rank=rank)

    def main(self, text: str) -> Iterator[Line]:
        """A line that names rank 0, which alone logs it."""
        return self.info(f"logging.py:{self.places.log_dist}:log_dist", f"[Rank 0] {text}")
