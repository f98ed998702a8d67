"""The merge keeps up with 64 ranks that write flat out.

python -m pytest -m slow tests/benchmarks/test_merge_speed.py -s
"""

from __future__ import annotations

import pytest

from tests.benchmarks.merge_bench import BLOCK, SINKS, Setting, bare, memory_lines_s, merged, pipeline_lines_s

pytestmark = pytest.mark.slow

GOAL_LINES_S = 4e6
TURNS = 3


@pytest.mark.parametrize("sink", SINKS)
def test_64_writers_flat_out(sink, capsys):
    setting = Setting(seconds=1)
    turns = [
        tuple(pipeline_lines_s(setting, BLOCK, sink, kind(setting))[0] for kind in (merged, bare)) for _ in range(TURNS)
    ]
    ours, copied = (max(found) for found in zip(*turns, strict=True))
    with capsys.disabled():
        print(f"\n  64 writers -> {sink}: {ours / 1e6:.1f} M lines/s merged, {copied / 1e6:.1f} M only copied")
    # A machine that can't even copy three times the goal through its pipes says nothing about the merge.
    assert ours >= GOAL_LINES_S or ours >= copied / 3


def test_the_merge_alone(capsys):
    lines_s = max(memory_lines_s(Setting(seconds=0.5)) for _ in range(TURNS))
    with capsys.disabled():
        print(f"\n  merge alone: {lines_s / 1e6:.1f} M lines/s")
    assert lines_s >= 2 * GOAL_LINES_S
