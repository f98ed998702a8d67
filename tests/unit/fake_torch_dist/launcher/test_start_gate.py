"""``StartGate``: a rank runs nothing until the agent has reported it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fake_torch_dist.launcher.protocol.agent_messages import RankTargets, StreamTarget, TargetKind
from fake_torch_dist.launcher.workers.start import Rank, start_ranks
from fake_torch_dist.launcher.workers.start_gate import StartGate
from fake_torch_dist.launcher.workers.worker import Command
from tests.support.processes import exit_codes, state_of, until

INHERITED = StreamTarget(TargetKind.INHERITED)


def touching(file: Path, let_go_on: Callable[[StartGate], object]) -> int:
    """Start a rank that makes a file, and call ``let_go_on`` when it waits; the rank's exit code."""
    rank, gate = Rank(0, RankTargets(INHERITED, INHERITED, ""), ()), StartGate()
    assert start_ranks([rank], Command(("touch", str(file))), set(), gate) is None
    until(lambda: state_of(rank.pid) in "SZ", "the rank waits")
    assert not file.exists()
    let_go_on(gate)
    return os.waitstatus_to_exitcode(os.waitpid(rank.pid, 0)[1])


@pytest.mark.parametrize(("opened_for", "code"), [(1, 0), (0, 1)], ids=["opened", "the agent has ended"])
def test_a_rank_waits_for_the_gate(tmp_path: Path, opened_for: int, code: int) -> None:
    file = tmp_path / "made"

    def agent() -> None:
        assert touching(file, lambda gate: gate.open(opened_for)) == code
        assert file.exists() == bool(opened_for)

    assert exit_codes(agent) == [0]
