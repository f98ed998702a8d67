"""The texts of a dataset as a loss sees them: their length, and how hard they are.

Tokens of one text are hard together, so the noise of a batch is set by its texts. Lengths are the dataset's own means;
difficulties follow from its domain.
"""

import math
from dataclasses import dataclass
from typing import Self

from accelerate_sim.catalog.datasets import DatasetSpec

LONGEST_TOKENS = 4000.0
"""Tokens of a text beyond which it counts as several: its parts differ as texts do, and loaders shuffle them."""
SPREAD = (0.9, 1.9)
"""Range of a text's tokens over the mean of the dataset; most tokens are in texts that are longer than the mean."""
USUAL = (-0.14, 0.08)
WEB = (0.0, 0.2)
BLEND = (-0.4, -0.15)
"""Ranges of the nats that texts are harder than those that the law of losses was fitted to.

Models of 124M to 8B on FineWeb and C4 end 0.1 to 0.15 nats above it, one of 15B on a blend of many sources 0.36 below.
"""
STORIES = ("synthetic stories", 0.3, 0.4)
"""Domain whose texts use few words, the share of a usual token's nats that theirs carry, and the power of that share by
which the loss is lower while only the frequency of each token is known.

124M on TinyStories was below 4.5 nats after 50 steps of 32,768 tokens and ended at 1.14 after 2,000.
"""
EASIER = ("educational", "synthetic")
"""Words of a domain whose texts are chosen or written to be learned from."""
BLENDED = ("sources", "code")


@dataclass(frozen=True)
class Texts:
    """Lengths and difficulty of a dataset's texts."""

    mean_tokens: float = 1100.0
    difficulty: tuple[float, float] = USUAL
    """Range of the nats by which they are harder than usual ones."""
    information: float = 1.0
    """Nats that their tokens carry over those of usual texts' tokens."""
    tokens: float = math.inf
    """Tokens of all of them, beyond which an epoch reads them again."""

    @classmethod
    def of(cls, dataset: DatasetSpec) -> Self:
        """Return what is known of a dataset's texts."""
        information = STORIES[1] if dataset.domain == STORIES[0] else 1.0
        mean_tokens = min(dataset.tokens / dataset.samples, LONGEST_TOKENS)
        return cls(mean_tokens, _difficulty(dataset.domain), information, dataset.tokens)

    @property
    def frequencies(self) -> float:
        """Nats that a model loses which knows how often each token occurs, over those on usual texts."""
        return float(self.information ** STORIES[2])


UNKNOWN_TEXTS = Texts()
"""Texts of a usual length and difficulty."""


def _difficulty(domain: str) -> tuple[float, float]:
    if any(word in domain for word in EASIER):
        return USUAL
    if any(word in domain for word in BLENDED):
        return BLEND
    return WEB if domain.startswith("web") else USUAL
