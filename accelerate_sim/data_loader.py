"""Datasets and loaders. Nothing is read: a batch knows which step and micro-batch it is, and the loss follows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from accelerate_sim.logging import get_logger
from accelerate_sim.state import PartialState

if TYPE_CHECKING:
    from accelerate_sim.accelerator import Accelerator
    from accelerate_sim.catalog import DatasetSpec

logger = get_logger(__name__)


class TokenIds(NamedTuple):
    """Token ids of one micro-batch on every rank: which ones they are, not the ids themselves."""

    step: int
    """Optimizer step, or for validation the steps done."""
    number: int
    """Micro-batch of the step, or batch of the validation."""


Batch = dict[str, TokenIds]


class Dataset(NamedTuple):
    """One split of a dataset."""

    spec: DatasetSpec
    split: str


def load_dataset(name: str) -> dict[str, Dataset]:
    """The splits of a dataset, of which the run reads the subset that one epoch takes; logs both."""
    state = PartialState.required()
    run, spec, layout = state.run, state.run.dataset, state.run.layout
    if name.lower() != spec.name.lower():
        raise ValueError(f"the run reads {spec.name!r}, not {name!r}: data.dataset in the config says which")
    train = run.config.train
    tokens = run.tokens_before(run.last_step)
    subset = subset_of(spec, train.steps_per_epoch * layout.tokens_per_step)
    state.session.clock.advance(run.startup.dataset)
    title = f"{spec.title}, subset {subset.name}" if subset.name else spec.title
    logger.info("Dataset: %s | %s samples | %s tokens", title, f"{subset.samples:,}", f"{subset.tokens:,}")
    ramp = train.batch_ramp
    if ramp and len(run.batches.stages) > 1:
        logger.info(
            "Batch ramp: from %s sequences by %s at a time over the first %s samples, %s from step %s on",
            *(f"{n:,}" for n in (ramp.start, ramp.increment, ramp.samples)),
            *(f"{n:,}" for n in (layout.global_batch, run.batches.whole.first_step + 1)),
        )
    logger.info(
        "Batch: global %s sequences = micro batch %s x DP %s x accumulation %s | sequence length %s | %s tokens a step",
        *(f"{n:,}" for n in (layout.global_batch, layout.micro_batch, layout.data, layout.accumulation)),
        *(f"{n:,}" for n in (layout.sequence_length, layout.tokens_per_step)),
    )
    even = not ramp and run.last_step == run.total_steps
    logger.info(
        "Steps: %s an epoch x %s epochs | %s tokens%s | the run reads %s",
        *(f"{n:,}" for n in (train.steps_per_epoch, train.epochs)),
        *((f"{tokens // train.epochs:,}", " an epoch") if even else (f"{tokens:,}", " in all")),
        _share_read(tokens, subset.tokens, spec),
    )
    return {"train": Dataset(spec, "train"), "validation": Dataset(spec, "validation")}


class Subset(NamedTuple):
    """The part of a dataset that one epoch reads once."""

    name: str
    """Name of the sample, with its tokens in short; empty for the whole dataset."""
    samples: int
    tokens: int


def subset_of(spec: DatasetSpec, epoch_tokens: int) -> Subset:
    """The subset whose size makes an epoch of ``epoch_tokens`` a pass; the whole dataset if it has no more."""
    if epoch_tokens >= spec.tokens:
        return Subset("", spec.samples, spec.tokens)
    samples = max(1, round(spec.samples * epoch_tokens / spec.tokens))
    return Subset(f"sample-{short_count(epoch_tokens)}T", samples, epoch_tokens)


def short_count(count: int) -> str:
    """Three digits of a count and its magnitude: ``1.05B``, ``141M``, ``20.5K``."""
    for magnitude, sign in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= magnitude:
            return f"{float(f'{count / magnitude:.3g}'):g}{sign}"
    return str(count)


def _share_read(tokens: int, subset_tokens: int, spec: DatasetSpec) -> str:
    """The share of a dataset that a run of so many tokens reads, and how often."""
    share, passes = min(tokens, subset_tokens) / spec.tokens, tokens / subset_tokens
    if share >= 1:
        return f"{tokens / spec.tokens:.2f} times the whole dataset"
    often = f", {float(f'{passes:.2f}'):g} times" if passes > 1 else ""
    return f"{share * 100:.3g} % of the dataset{often}"


class DataLoader:
    """Micro-batches of a split; its length is what one epoch, or one validation, takes."""

    def __init__(self, dataset: Dataset, batch_size: int) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.skipped = 0
        """Batches at the beginning that are not handed out."""
        self.accelerator: Accelerator | None = None

    def __len__(self) -> int:
        run = PartialState.required().run
        if self.dataset.split == "train":
            return self.batches_of(run.config.train.steps_per_epoch) - self.skipped
        return run.config.eval.batches - self.skipped

    def batches_of(self, steps: int) -> int:
        """Micro-batches that the first ``steps`` steps of the present epoch take."""
        run = PartialState.required().run
        done = self.accelerator.completed_steps if self.accelerator else 0
        # After the last step of all there is no further epoch to speak of.
        first = min(done, run.total_steps - 1) // run.config.train.steps_per_epoch * run.config.train.steps_per_epoch
        return run.micro_batches(first, first + steps)

    def without_first(self, num_batches: int) -> DataLoader:
        """The same without its first batches."""
        rest = DataLoader(self.dataset, self.batch_size)
        rest.skipped, rest.accelerator = num_batches, self.accelerator
        return rest

    def __iter__(self) -> Iterator[Batch]:
        if self.accelerator is None:
            raise RuntimeError("This DataLoader must be passed to Accelerator.prepare() before it is read.")
        if self.dataset.split == "train":
            return islice(self._train(self.accelerator), self.skipped, None)
        return islice(self._validation(self.accelerator), self.skipped, None)

    def _train(self, accelerator: Accelerator) -> Iterator[Batch]:
        run, steps = accelerator.run, accelerator.run.config.train.steps_per_epoch
        first = accelerator.completed_steps // steps * steps
        for step in range(first, first + steps):
            accumulation = run.accumulation(step)
            if run.batches.begins(step):
                logger.info(
                    "Batch: global %s sequences = micro batch %s x DP %s x accumulation %s from step %s on",
                    f"{run.batches.batch(step):,}", run.layout.micro_batch, f"{run.layout.data:,}",
                    f"{accumulation:,}", f"{step + 1:,}",
                )  # fmt: skip
            for number in range(accumulation):
                ids = TokenIds(step, number)
                yield {"input_ids": ids, "labels": ids}

    def _validation(self, accelerator: Accelerator) -> Iterator[Batch]:
        begin_s = accelerator.clock.now_s
        accelerator.begin_phase("validation")
        for number in range(accelerator.run.config.eval.batches):
            # The time of a batch passes before it is handed over, so that a bar counts it when it is done.
            accelerator.clock.advance_to(begin_s + (number + 1) * accelerator.run.evaluation_batch_s)
            ids = TokenIds(accelerator.completed_steps, number)
            yield {"input_ids": ids, "labels": ids}
