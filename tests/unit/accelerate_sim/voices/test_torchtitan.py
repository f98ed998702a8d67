"""torchtitan's line about the directory of checkpoints, which comes before the one about mixed precision."""

from __future__ import annotations

import pytest

from accelerate_sim.api import StepRecord, TextRecord, play

ACTIVE = "Checkpointing active. Checkpoints will be loaded from and saved to outputs/gpt2"


def set_up(voice: str, *changes: str) -> list[str]:
    """The texts that are logged before the first step, without the prefix of the logger."""
    texts = []
    for record in play("debug", changes, voice=voice):
        if isinstance(record, StepRecord):
            break
        if isinstance(record, TextRecord):
            texts.append(record.text.partition(" INFO - ")[2])
    return texts


@pytest.mark.parametrize("version", ["0.1", "0.2.2"])
def test_the_directory_of_checkpoints_is_logged(version: str) -> None:
    texts = set_up(f"torchtitan@{version}")
    place = texts.index(ACTIVE)
    assert texts[place - 1].startswith("CUDA memory usage for model: ")
    assert texts[place + 1].startswith("Mixed precision training is ")


def test_without_checkpoints_there_is_no_such_line() -> None:
    assert not any("Checkpointing" in text for text in set_up("torchtitan", "checkpoint.every=0"))
