"""All hazards, alone and two at a time: each intended line is found in the bytes by the truth alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest

from accelerate_sim.config.hazards import HAZARDS, in_order
from accelerate_sim.hazards.hazard import LoggingProcess
from accelerate_sim.hazards.outlet import Outlet
from tests.support.spoiled_log import SpoiledLog

BEGIN = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)
LINES = [
    "[{time:%Y-%m-%d %H:%M:%S}] [Rank 0/4] INFO step {at} | loss {loss:.4f} | lr 1.50e-04 | mem 68.90/79.60 GiB",
    "{time:%Y-%m-%dT%H:%M:%S}.123Z rank=0 event=step step={at} loss={loss:.4f}",
    "{{'loss': '{loss:.3f}', 'grad_norm': '1.500', 'epoch': '0.25'}}",
    " [{time:%Y-%m-%d %H:%M:%S}.123456] iteration {at:8d}/      60 | lm loss: {loss:.6E} | loss scale: 1.0 |",
    "I{time:%m%d %H:%M:%S}.123456 140110937163584 metric_logger.py:230] completed step: {at}, loss: {loss:.3f}",
    ':::MLLOG {{"time_ms": 17698518{at:02d}123, "key": "stats", "value": {{"reduced_train_loss": {loss:.4f}}}}}',
    "saving checkpoint to /data/out/checkpoint-{at}",
    "",
    "█ half a bar",
]
"""Lines of several voices; each third one goes to standard error."""
SHARES = {"rotate": 0.0, "long-lines": 0.1}
PAIRS = [(name,) for name in HAZARDS] + list(combinations(HAZARDS, 2)) + [tuple(HAZARDS)]


def spoiled(directory: Path, names: tuple[str, ...], seed: int) -> tuple[dict[str, bytes], list[tuple[str, str]]]:
    """The bytes of both streams, and (stream, line) of each intended line."""
    out = {"stdout": b"", "stderr": b""}
    intended, now = [], BEGIN

    def deliver(stream: str, data: bytes) -> None:
        out[stream] += data

    shares = [f"{name}:{SHARES.get(name, 0.5)}" for name in names]
    outlet = Outlet(in_order(shares), LoggingProcess(seed, 0, 4, 2, directory, ""), lambda: now, deliver)
    for at in range(70):
        now = BEGIN + timedelta(seconds=3 * at)
        outlet.reach(at)
        line = LINES[at % len(LINES)].format(at=at, time=now, loss=9 - at / 10)
        intended.append(("stderr" if at % 3 == 0 else "stdout", line))
        outlet.lines(*intended[-1][:1], [line])
    outlet.close()
    return out, intended


@pytest.mark.parametrize("names", PAIRS, ids="+".join)
def test_the_truth_tells_where_each_intended_line_is(names: tuple[str, ...], tmp_path: Path) -> None:
    for seed in (PAIRS.index(names) % 2,) if len(names) == 2 else (0, 1):
        directory = tmp_path / str(seed)
        directory.mkdir()
        out, intended = spoiled(directory, names, seed)
        truth = [json.loads(line) for line in (directory / "log_truth.jsonl").read_text().splitlines()]
        assert [(entry["stream"], entry["line"]) for entry in truth] == intended
        SpoiledLog(out).read(truth)
        assert any(entry["done"] for entry in truth)
        if "long-lines" in names:
            assert_stored(directory, out)
        if "rotate" in names:
            assert_rotated(directory, truth)


def assert_stored(directory: Path, out: dict[str, bytes]) -> None:
    """Both forms of containers have all bytes that left the process."""
    whole = {"stdout": b"", "stderr": b""}
    for row in (directory / "log.cri.log").read_bytes().split(b"\n")[:-1]:
        _, stream, tag, part = row.split(b" ", 3)
        whole[stream.decode()] += part + (b"\n" if tag == b"F" else b"")
    assert whole == out
    entries = [json.loads(row) for row in (directory / "log-json.log").read_text().splitlines()]
    for stream, data in out.items():
        kept = "".join(entry["log"] for entry in entries if entry["stream"] == stream)
        assert kept.replace("\ufffd", "") == data.decode(errors="replace").replace("\ufffd", "")


def assert_rotated(directory: Path, truth: list[dict[str, object]]) -> None:
    """The files that are kept have each line since the oldest of them that nothing struck."""
    kept = b"".join(path.read_bytes() for path in directory.glob("train.log*")).split(b"\n")
    rotated = [at for at, entry in enumerate(truth) if "rotate: " in str(entry["done"])]
    assert rotated
    plain = [entry for entry in truth[([0] * 6 + rotated)[-6] :] if not entry["done"] and entry["line"]]
    assert [entry for entry in plain if str(entry["line"]).encode() not in kept] == []
