"""The voice of Lightning's Trainer: a tqdm bar on standard output, its logger's lines on standard error.

Formats are those of lightning 2.6.6. A bar has the rate in batches per second, also below 1, and its postfix has three
significant digits. It is drawn twice at each step: with the count, then with the loss. Lines of the set-up come from
every rank. Not played: the bars of validations.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from accelerate_sim.records import (
    ConnectRecord,
    DetectRecord,
    EvalRecord,
    ExportingRecord,
    LaunchRecord,
    ModelRecord,
    RestoredRecord,
    RestoringRecord,
    StepRecord,
    SummaryRecord,
)
from accelerate_sim.voices.tqdm_bar import PIPE_BAR, TqdmBar
from accelerate_sim.voices.voice import Bar, Line, Setting, Voice, VoiceState, Wording

DASHES = "-" * 100
TIPS = (
    (
        "logging and experiment tracking", "litlogger", "LitLogger",
        "logs metrics and artifacts automatically to the Lightning Experiments platform",
    ),
    (
        "uploads and versioning", "litmodels", "LitModelCheckpoint",
        "syncs automatically with the Lightning model registry",
    ),
)  # fmt: skip
"""Packages that Lightning recommends where they are missing: purpose, name, class and effect."""
SANITY_BATCHES = 2


class Lightning(VoiceState):
    """The bar of the epoch, and the last figures in its postfix."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.begin = self.now()
        self.bar: TqdmBar | None = None
        self.epoch = 0
        self.steps = 0
        self.model_class = ""
        self.train_loss = self.val_loss = ""
        self.is_done = False


def info(text: str, rank: int = 0) -> Line:
    """A line of Lightning's logger, which has no prefix."""
    return Line(text, rank=rank, to_stderr=True)


def three_digits(value: float) -> str:
    """A figure with three significant digits, in five characters at least, as in the bar."""
    text = f"{value:.3g}"
    return text if "e" in text else (text if "." in text else f"{text}.").ljust(5, "0")


def _launch(record: LaunchRecord, state: Lightning) -> Iterator[Line]:
    yield from hardware()
    for purpose, package, callback, effect in TIPS:
        yield info(
            f"💡 Tip: For seamless cloud {purpose}, try installing [{package}](https://pypi.org/project/{package}/) "
            f"to enable {callback}, which {effect}."
        )


def hardware() -> Iterator[Line]:
    """The lines about the accelerators."""
    yield info("GPU available: True (cuda), used: True")
    yield info("TPU available: False, using: 0 TPU cores")


def connected(record: ConnectRecord, state: VoiceState) -> Iterator[Line]:
    """The lines of the process group, and those of the devices from every rank."""
    world, local = state.run.world_size, state.run.gpus_per_node
    for rank in range(world):
        yield info(f"Initializing distributed: GLOBAL_RANK: {rank}, MEMBER: {rank + 1}/{world}", rank)
    text = f"All distributed processes registered. Starting with {world} processes"
    yield info(f"{DASHES}\ndistributed_backend=nccl\n{text}\n{DASHES}\n")
    devices = ",".join(map(str, range(local)))
    for rank in range(world):
        yield info(f"LOCAL_RANK: {rank % local} - CUDA_VISIBLE_DEVICES: [{devices}]", rank)


def model_table(state: VoiceState, kind: str) -> Line:
    """The table of the model's modules, of which there is one of class ``kind``, with the counts below it."""
    shape = state.plan.model.architecture
    size, flops = _count(shape.parameters), _count(state.run.flops_per_token)
    cells = {"Name": "model", "Type": kind, "Params": size, "Mode": "train", "FLOPs": flops}
    widths = [max(map(len, cell)) for cell in cells.items()]
    head, row = (
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (cells, cells.values())
    )
    dashes = "-" * (len(head) + 4)
    counts = (
        (size, "Trainable params"), (_count(0), "Non-trainable params"), (size, "Total params"),
        (f"{shape.parameters * 4 / 1e6:,.3f}", "Total estimated model params size (MB)"),
        (str(shape.layers * 9 + 4), "Modules in train mode"), ("0", "Modules in eval mode"), (flops, "Total Flops"),
    )  # fmt: skip
    rows = ["", f"  | {head}", dashes, f"0 | {row}", dashes, *(f"{count:<10}{name}" for count, name in counts)]
    return info("\n".join(rows))


def _count(count: int) -> str:
    """A count with three digits and a letter, as Lightning's summary has it."""
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= unit:
            value = count / unit
            return f"{value:.1f} {letter}" if value < 100 else f"{int(value):,d} {letter}"
    return f"{count} "


def _model(record: ModelRecord, state: Lightning) -> Iterator[Line]:
    state.model_class = record.model_class
    return iter(())


def _begin(record: DetectRecord, state: Lightning) -> Iterator[Line | Bar]:
    state.begin = state.now()
    yield model_table(state, state.model_class)
    if state.plan.config.eval.batches:
        yield from _sanity_check(state)
    for _ in range(2):
        yield _unknown("Training")


def _sanity_check(state: Lightning) -> Iterator[Bar]:
    """The bar of the two batches that are evaluated before the first step, which is wiped out."""
    for _ in range(2):
        yield _unknown("Sanity Checking")
    seconds = state.plan.evaluation_batch_s
    bar = TqdmBar(SANITY_BATCHES, 0.0, description="Sanity Checking DataLoader 0", inverts_rate=False, refreshes=True)
    for count in range(SANITY_BATCHES + 1):
        bar.update(count, count * seconds)
        yield bar.bar(leaves=False if count == SANITY_BATCHES else None)._replace(to_stderr=False)


def _unknown(what: str) -> Bar:
    """A bar whose length is not known yet."""

    def text(width: int) -> str:
        left, right = f"{what}: |", "| 0/? [00:00<?, ?it/s]"
        return f"{left}{' ' * (max(width - len(left) - len(right), 1) if width else PIPE_BAR)}{right}"

    return Bar(text, to_stderr=False)


def _restoring(record: RestoringRecord, state: Lightning) -> Iterator[Line]:
    yield info(f"Restoring states from the checkpoint path at {record.path}")


def _restored(record: RestoredRecord, state: Lightning) -> Iterator[Line]:
    yield info(f"Restored all states from the checkpoint at step {record.step}")


def _step(record: StepRecord, state: Lightning) -> Iterator[Bar]:
    state.steps = record.step
    now_s = (record.time - state.begin).total_seconds()
    if record.epoch != state.epoch:
        yield from _epoch(record.epoch, now_s - record.step_time_s, state)
    bar = state.bar
    assert bar
    bar.update((record.step - 1) % state.run.steps_per_epoch + 1, now_s)
    yield _bar(state)
    state.train_loss = f", v_num=0, train_loss={three_digits(record.loss)}"
    bar.tell(state.train_loss + state.val_loss)
    yield _bar(state)


def _epoch(epoch: int, begin_s: float, state: Lightning) -> Iterator[Bar]:
    """The end of the epoch before, whose bar begins anew before it gets the name of the next one."""
    state.epoch = epoch
    if state.bar:
        yield _bar(state)
    for number in (epoch - 2, epoch - 1) if state.bar else (epoch - 1,):
        state.bar = TqdmBar(
            state.run.steps_per_epoch, begin_s, description=f"Epoch {number}", inverts_rate=False, refreshes=True
        )
        state.bar.tell(state.train_loss + state.val_loss)
        yield _bar(state)


def _bar(state: Lightning, *, leaves: bool | None = None) -> Bar:
    assert state.bar
    return state.bar.bar(leaves=leaves)._replace(to_stderr=False)


def _evaluation(record: EvalRecord, state: Lightning) -> Iterator[Bar]:
    state.val_loss = f", val_loss={three_digits(record.loss)}"
    if state.bar:
        state.bar.update(state.bar.count, (state.now() - state.begin).total_seconds())
        state.bar.tell(state.train_loss + state.val_loss)
        yield _bar(state)


def _end(record: ExportingRecord | SummaryRecord, state: Lightning) -> Iterator[Line | Bar]:
    if state.is_done:
        return
    state.is_done = True
    if bar := state.bar:
        yield _bar(state)
        bar.update(bar.count, (state.now() - state.begin).total_seconds())
        yield _bar(state, leaves=True)
    yield stopped(state.run.total_steps)


def stopped(steps: int) -> Line:
    """The line that says why the training ended."""
    return info(f"`Trainer.fit` stopped: `max_steps={steps}` reached.")


LINES: Mapping[type, Wording] = {
    LaunchRecord: _launch,
    ConnectRecord: connected,
    ModelRecord: _model,
    DetectRecord: _begin,
    RestoringRecord: _restoring,
    RestoredRecord: _restored,
    StepRecord: _step,
    EvalRecord: _evaluation,
    ExportingRecord: _end,
    SummaryRecord: _end,
}
"""Kinds of record that Lightning has words for."""


def ranks(state: VoiceState) -> Container[int]:
    """All ranks: each names its devices."""
    return range(state.run.world_size)


VOICE = Voice(LINES, Lightning, ranks)
