"""The subset of a dataset whose size makes one epoch a pass over it."""

from typing import NamedTuple

from accelerate_sim.catalog import DatasetSpec


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
