"""The state of the Trainer's voice in a run, and the lines that its logger prints at level INFO.

Sources: trainer, configuration_utils and modeling_utils of transformers 4.57.6 and 5.24.0. 4.x names the file and the
line of each call, in the explicit format that the example scripts ask for; 5.x names its package.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from accelerate_sim.records import CheckpointRecord, DeletedRecord, EvalRecord, SavingRecord, StepRecord
from accelerate_sim.records.timestamps import asctime
from accelerate_sim.voices.tqdm_bar import TqdmBar
from accelerate_sim.voices.voice import Line, Setting, VoiceState

SHARD_BYTES = {"4": 5_000_000_000, "5": 50_000_000_000}
"""Largest file of weights, by version."""


class Trainer(VoiceState):
    """Sums since the last log and since the training began, and the bar."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.is_4 = self.version == "4"
        self.says_info = self.options["log_level"] == "info"
        self.begin = self.now()
        self.weight_bytes = 2 * self.plan.model.architecture.parameters
        self.resumes = False
        """True from the beginning of a process that goes on with a checkpoint until it is loaded."""
        self.bar: TqdmBar | None = None
        self.loss = self.total_loss = 0.0
        self.steps = self.total_steps = 0
        self.last: StepRecord | None = None

    def counted(self, loss: float) -> float:
        """The loss that is added for a step: in the place of nan and inf a part of the sum since the last log."""
        return loss if loss - loss == 0.0 else self.loss / (1 + self.steps)

    def seconds(self, time: datetime) -> float:
        """Seconds from the beginning of the training to ``time``."""
        return (time - self.begin).total_seconds()

    def info(self, where: str, text: str, time: datetime | None = None) -> Iterator[Line]:
        """A line of the logger; ``where`` is the file and the line that 4.x names."""
        if self.says_info:
            prefix = f"[INFO|{where}] {asctime(time or self.now())} >> " if self.is_4 else "[transformers] "
            yield Line(prefix + text, to_stderr=True)

    def epoch(self, step: int) -> float:
        """Epochs done after ``step``."""
        return step / self.run.steps_per_epoch

    def entry(self, values: Mapping[str, Any]) -> str:
        """The dictionary of a log as the version prints it."""
        if self.is_4:
            return str({key: round(value, 2) if key == "epoch" else value for key, value in values.items()})
        return str({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in values.items()})


def banner(state: Trainer) -> Iterator[Line]:
    """The sizes of the training."""
    run, config = state.run, state.plan.config
    batch = state.plan.layout.global_batch
    yield from state.info("trainer.py:2519", "***** Running training *****")
    yield from state.info("trainer.py:2520", f"  Num examples = {run.steps_per_epoch * batch:,}")
    yield from state.info("trainer.py:2521", f"  Num Epochs = {run.epochs:,}")
    if not state.is_4:
        yield from state.info("", f"  Num update steps per epoch = {run.steps_per_epoch:,}")
    yield from state.info("trainer.py:2522", f"  Instantaneous batch size per device = {config.train.micro_batch:,}")
    yield from state.info(
        "trainer.py:2525", f"  Total train batch size (w. parallel, distributed & accumulation) = {batch:,}"
    )
    yield from state.info("trainer.py:2526", f"  Gradient Accumulation steps = {state.plan.layout.accumulation}")
    yield from state.info("trainer.py:2527", f"  Total optimization steps = {run.total_steps:,}")
    count = state.plan.model.architecture.parameters
    yield from state.info("trainer.py:2528", f"  Number of trainable parameters = {count:,}")


def resumed(step: int, state: Trainer) -> Iterator[Line]:
    """The position from which the training goes on."""
    epochs, steps = divmod(step, state.run.steps_per_epoch)
    batches = steps * state.plan.layout.accumulation
    if state.is_4:
        what = "  Continuing training from"
        yield from state.info("trainer.py:2549", f"{what} checkpoint, will skip to saved global_step")
        yield from state.info("trainer.py:2550", f"{what} epoch {epochs}")
        yield from state.info("trainer.py:2551", f"{what} global step {step}")
        skipped = f"the first {epochs} epochs then the first {batches} batches in the first epoch."
        yield from state.info("trainer.py:2553", f"  Will skip {skipped}")
        return
    yield from state.info("", f"  Resuming training from checkpoint with epoch {epochs} and global step {step}")
    past = f"{epochs} epochs and {batches} batches"
    yield from state.info("", f"  Fast-forwarding the dataloader past {past} to resume from the exact training state.")


def validating(record: EvalRecord, state: Trainer) -> Iterator[Line]:
    """The beginning of a validation, which is over."""
    run, begin = state.run, state.now() - timedelta(seconds=record.seconds)
    samples = state.plan.config.eval.batches * run.data_parallel * run.micro_batch
    yield from state.info("trainer.py:4643", "\n***** Running Evaluation *****", begin)
    yield from state.info("trainer.py:4645", f"  Num examples = {samples}", begin)
    yield from state.info("trainer.py:4648", f"  Batch size = {run.micro_batch}", begin)


def saving(record: SavingRecord, state: Trainer) -> Iterator[Line]:
    """The beginning of a checkpoint."""
    yield from model_begun(record.path, state)


def model_begun(path: str, state: Trainer) -> Iterator[Line]:
    """The files of a model that are written before its weights."""
    yield from state.info("trainer.py:4309", f"Saving model checkpoint to {path}")
    for line, name in ((491, "config.json"), (757, "generation_config.json")):
        yield from state.info(f"configuration_utils.py:{line}", f"Configuration saved in {path}/{name}")


def model_saved(path: str, state: Trainer) -> Iterator[Line]:
    """The files of the weights, which are several if they are large."""
    largest = SHARD_BYTES[state.version]
    files = math.ceil(state.weight_bytes / largest)
    if files <= 1:
        yield from state.info("modeling_utils.py:4181", f"Model weights saved in {path}/model.safetensors")
        return
    yield from state.info(
        "modeling_utils.py:4190",
        f"The model is bigger than the maximum size per checkpoint ({largest // 10**9}GB) and is going to be split in "
        f"{files} checkpoint shards. You can find where each parameters has been saved in the index located at "
        f"{path}/model.safetensors.index.json.",
    )


def saved(record: CheckpointRecord, state: Trainer) -> Iterator[Line]:
    """The end of a checkpoint."""
    yield from model_saved(record.path, state)


def deleted(record: DeletedRecord, state: Trainer) -> Iterator[Line]:
    """The line about a deleted checkpoint; version 5 prints none."""
    if state.is_4:
        text = f"Deleting older checkpoint [{record.path}] due to args.save_total_limit"
        yield from state.info("trainer.py:4418", text)
