"""Seconds of what happens once."""

from __future__ import annotations

import pytest

from accelerate_sim import catalog
from accelerate_sim.sim.startup import ExportTimes, StartUp
from accelerate_sim.sim.storage import Storage

LLAMA, GPT2 = (catalog.model(name).architecture for name in ("llama-3-70b", "gpt2"))
FINEWEB = catalog.dataset("fineweb-edu")


def startup(seed: int, world: int = 64, storage_gbytes_per_s: float = 40) -> StartUp:
    return StartUp.of(seed, LLAMA, FINEWEB, world, Storage.of(seed, max(1, world // 8), storage_gbytes_per_s))


def test_weights_are_read_at_the_speed_of_the_file_system() -> None:
    """141 GB take as long as that, and longer from a slow one."""
    for seed in range(10):
        assert 141.1 / 40 < startup(seed).weights < 60
        assert startup(seed, storage_gbytes_per_s=4).weights > 4 * startup(seed).weights


def test_more_ranks_take_longer_to_connect() -> None:
    for seed in range(10):
        assert 2 < startup(seed).connect < startup(seed, world=16384).connect < 60


def test_everything_takes_a_while() -> None:
    for seed in range(10):
        one = startup(seed)
        assert all(seconds > 0.1 for seconds in vars(one).values())
        assert one.total == pytest.approx(sum(vars(one).values()))
        assert one.total < 300


def test_larger_models_take_longer_to_export() -> None:
    for seed in range(10):
        store = Storage.of(seed, 8, 40)
        large, small = (ExportTimes.of(seed, model, store) for model in (LLAMA, GPT2))
        assert large.total > 5 * small.total
        assert large.write > 141.1 / 40
        assert all(seconds > 0.1 for seconds in vars(small).values())
