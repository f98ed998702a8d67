"""Many collectives in a row: nothing piles up.

python -m pytest -m slow tests/unit/fake_torch_dist/transports/test_soak.py -s
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

import fake_torch_dist as dist
from tests.support import worlds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc"),
]

RANKS = 8
COLLECTIVES = 100_000
GROWTH_BYTES = 1 << 20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(rank: int) -> tuple[int, int, int]:
    """(resident bytes after a tenth, at the end, open descriptors more than at the beginning)."""
    chance = random.Random(7)  # the same on all ranks: they have to call the same things
    half = dist.new_group(list(range(RANKS // 2)))
    descriptors = len(os.listdir("/proc/self/fd"))
    early = 0
    for number in range(COLLECTIVES):
        count = RANKS * chance.choice((1, 4, 64, 2048))
        whole, part = np.full(count, rank + 1.0), np.ones(count // RANKS)
        kind = chance.randrange(6)
        if kind == 0:
            dist.all_reduce(whole)
            assert whole[0] == RANKS * (RANKS + 1) / 2
        elif kind == 1:
            dist.all_gather_single(whole, part)
        elif kind == 2:
            dist.reduce_scatter_single(part, whole)
        elif kind == 3:
            dist.broadcast(whole, number % RANKS)
            assert whole[0] == number % RANKS + 1
        elif kind == 4 and rank < RANKS // 2:
            work = dist.all_reduce(whole, group=half, async_op=True)
            assert work is not None
            work.wait()
        elif kind == 5:
            dist.barrier()
        if number == COLLECTIVES // 10:
            early = resident_bytes()
    return early, resident_bytes(), len(os.listdir("/proc/self/fd")) - descriptors


def test_memory_and_descriptors_stay_flat(capsys, monkeypatch):
    monkeypatch.setattr(worlds, "DEADLINE_S", 1200.0)
    found = worlds.values(worlds.ranks(soak, RANKS))
    with capsys.disabled():
        grown = [late - early for early, late, _ in found]
        print(f"\n  {COLLECTIVES:,} collectives of {RANKS} ranks: memory grew by {max(grown):,} bytes at the most")
    assert all(late - early < GROWTH_BYTES for early, late, _ in found)
    assert all(more <= RANKS * 2 for _, _, more in found)  # connections are made when first needed
