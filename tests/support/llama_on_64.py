"""Llama 3 70B on 64 GPUs: what is known of it without asking the simulator, and its finished bars."""

import re

from tests.support.reading import Played

LLAMA_3_70B = {
    "layers": 80, "hidden": 8192, "heads": 64, "kv heads": 8, "ffn": 28672, "vocab": 128256, "context": 8192,
}  # fmt: skip
PARAMETERS = 70_553_706_496
H100_NIC_BYTES_PER_S = 400e9 / 8
H100_NVLINK_BYTES_PER_S = 450e9
RANKS, NODES, PER_NODE = 64, 8, 8


def bar(run: Played, name: str) -> re.Match[str]:
    """The line that a finished bar leaves behind: (done, total, elapsed)."""
    found = [re.fullmatch(rf"{name}: 100%\|█+\| (\d+)/(\d+) \[([\d:]+)<00:00,.*\]", line) for line in run.lines]
    lines = [line for line in found if line]
    assert lines, f"no finished bar {name!r}"
    assert all(line[1] == line[2] for line in lines)
    return lines[0]
