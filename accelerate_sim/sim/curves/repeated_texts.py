"""Texts that a run from scratch reads several times: what they still teach, and what the model memorises of them.

A few passes over a data set teach nearly what new texts would; all that follow teach ever less. The model memorises
what it has read often, sooner if it has many parameters per token: the loss on these texts falls to a few hundredths,
and that on others rises, as the model becomes too sure of itself.
"""

import math
from dataclasses import dataclass

import numpy as np

from accelerate_sim.sim.noise import Draws, Floats

NEW_PASSES = 4.0
"""Passes over a data set that teach what new texts would (Muennighoff et al. 2023)."""
FURTHER_WORTH = 12.4
"""New passes that all further ones together are worth; with the first ones that is the 16.4 of the same paper."""
REPEATS_AT_ONE, REPEATS_POWER = 255.0, 0.525
"""Repeats in which a model with one parameter per token memorises most, and the power by which more need fewer.

They are 74 in logs of 10.7M parameters on a million characters (nanoGPT), and 4 to 5 of 162M on the 4,608 tokens of
one story (Raschka 2024).
"""
WAY_OF_A_PASS, WAY_POWER = 0.06, 0.5
"""Sum of the rates of a pass from which a longer one needs no fewer repeats, and the power by which a shorter one needs
more: nanoGPT's is 0.06, and at 0.3 of its rate it takes twice as many; 5 steps of 3e-4 a pass take 0.8M 180.
"""
REPEATS_SPREAD = (0.8, 1.25)
"""Range of the factor by which they differ from one data set to another."""
UNNOTICED, MEMORISING_POWER = 0.125, 1.25
"""Share of those repeats that leaves no trace in the loss, and the power by which later ones count."""
RECALLED = 0.99
"""Most of a text that is known by heart; the first tokens of a sequence do not tell which text it is."""
LEFT_NATS = (0.05, 0.1)
"""Range of the nats that are left of texts that are memorised: 0.04 to 0.1 in logs of a thousand passes and more."""
OVERSURE, OVERSURE_STEPS = 0.2, 500.0
"""Share by which the loss on other texts grows when all is memorised, and steps in which it begins to.

It grows with their logarithm: 162M on one story lost 0.06 in 90 steps, 10.7M on a million characters 0.16 in 5,000.
"""


@dataclass(frozen=True)
class RepeatedTexts:
    """The texts of one epoch, which each pass but the first reads again. ``read`` are all tokens before a step."""

    tokens: float
    """Tokens of one pass."""
    repeats: float
    """Repeats in which most of what can be memorised is."""
    most: float
    """Share of the texts that fits into the model: a parameter holds 3.6 bits, as a token (Morris et al. 2025)."""
    left: float
    """Nats that are left of what is memorised."""

    @classmethod
    def of(cls, draws: Draws, tokens: float, parameters: float, read: float, way: float) -> "RepeatedTexts | None":
        """The texts of a run that reads ``read`` tokens in all; None if no repeat of them shows in the loss.

        ``way`` is the sum of the rates of one pass.
        """
        per_token = parameters / tokens
        repeats = REPEATS_AT_ONE * per_token**-REPEATS_POWER * draws.log("repeats", *REPEATS_SPREAD)
        repeats *= max(WAY_OF_A_PASS / way, 1.0) ** WAY_POWER
        if read / tokens <= min(NEW_PASSES, 1.0 + UNNOTICED * repeats):
            return None
        return cls(tokens, repeats, -RECALLED * math.expm1(-per_token), draws.between("left", *LEFT_NATS))

    def worth(self, read: Floats) -> Floats:
        """New tokens that teach as much as these."""
        further = np.maximum(read / self.tokens - NEW_PASSES, 0.0)
        taught = NEW_PASSES - FURTHER_WORTH * np.expm1(-further / FURTHER_WORTH)
        return np.asarray(np.where(further > 0.0, self.tokens * taught, read))

    def memorised(self, read: Floats) -> Floats:
        """Share of the texts that the model knows by heart."""
        noticed = np.maximum((read / self.tokens - 1.0) / self.repeats - UNNOTICED, 0.0)
        return np.asarray(-self.most * np.expm1(-(noticed**MEMORISING_POWER)))

    def trained(self, loss: Floats, read: Floats) -> Floats:
        """The loss on these texts, of a model that would have ``loss`` on them without memory of single ones."""
        return np.asarray(loss - self.memorised(read) * np.maximum(loss - self.left, 0.0))

    def unseen(self, loss: Floats, read: Floats, step: Floats) -> Floats:
        """The loss on other texts, of a model that would have ``loss`` on them without memory of single ones."""
        return np.asarray(loss * (1.0 + OVERSURE * self.memorised(read) ** 2 * np.log1p(step / OVERSURE_STEPS)))
