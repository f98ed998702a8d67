"""Time and cost of the meeting of forked ranks. Printed; only ratios that no machine's speed changes are judged.

python -m pytest -m slow tests/benchmarks/test_meeting_speed.py -s
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ranks in processes of their own need Linux"),
]

BENCH = Path(__file__).with_name("meeting_bench.py")
REPEATS = 5


def best(world_size: int, repeats: int = REPEATS) -> dict[str, Any]:
    """The figures of the fastest of several meetings, in a process that imports what a launcher does."""
    command = [sys.executable, str(BENCH), str(world_size), str(repeats)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, timeout=300)
    return min((json.loads(line) for line in done.stdout.splitlines()), key=lambda figures: figures["init_ms"])


def test_how_ranks_meet(capsys):
    found = {size: best(size, REPEATS if size < 512 else 2) for size in (8, 64, 512)}
    with capsys.disabled():
        print()
        for size, figures in found.items():
            print(
                f"  {size:3} ranks: init {figures['init_ms']:6.0f} ms, of which forking {figures['fork_ms']:5.0f} ms; "
                f"first barrier {figures['barrier_ms']:5.1f} ms, others {figures['next_barriers_ms']:5.1f} ms; "
                f"a rank: {figures['rank_cpu_ms']:5.1f} ms of CPU, {figures['context_switches_per_rank']:3.0f} switches"
            )
        ratio = found[512]["init_ms"] / found[64]["init_ms"]
        print(f"  512 ranks take {ratio:.1f} x as long as 64, which are 8 x fewer")
    for size, figures in found.items():
        assert figures["requests_per_rank"] == 1, size
    assert found[512]["rank_cpu_ms"] < 4 * found[64]["rank_cpu_ms"]  # what each pair costs would be 8 times as much


def test_what_idle_ranks_keep(capsys):
    code = "import json, sys; sys.path.insert(0, sys.argv[1]); import meeting_bench as bench; "
    code += "print(json.dumps([bench.measure(size, with_pss=True).total_pss_mb for size in (8, 64)]))"
    command = [sys.executable, "-c", code, str(BENCH.parent)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, timeout=100)
    few, many = json.loads(done.stdout)
    with capsys.disabled():
        print(f"\n  64 ranks after a barrier: {many:.0f} MB PSS in all, {(many - few) / 56:.2f} MB for each more")
    assert many < 8 * few  # forked ranks share what they have not touched
