"""Lines pass hazards in the order of the table; each decision depends on seed, rank and line number alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from accelerate_sim.config.hazards import HAZARDS, hazard_choice, hazard_names, in_order
from accelerate_sim.hazards.hazard import LoggingProcess
from accelerate_sim.hazards.long_lines import KINDS, SIZES, long_line, parts
from accelerate_sim.hazards.outlet import Outlet

NOW = datetime(2026, 1, 31, 9, 30, 0, 123456, tzinfo=UTC)
LINES = [
    f"[2026-01-31 09:30:{at:02d}] [Rank 0/4] INFO step {at} | loss {9 - at / 10:.4f} | lr 1.50e-04" for at in range(60)
]


def played(
    *hazards: str, directory: Path | None = None, rank: int = 0, seed: int = 42, lines: list[str] = LINES
) -> dict[str, bytes]:
    """The bytes that each stream gets of the lines."""
    out = {"stdout": b"", "stderr": b""}

    def deliver(stream: str, data: bytes) -> None:
        out[stream] += data

    job = LoggingProcess(seed, rank, 4, 2, directory, f".rank{rank}" if rank else "")
    outlet = Outlet(in_order(hazards), job, lambda: NOW, deliver)
    for step, line in enumerate(lines):
        outlet.reach(step)
        outlet.lines("stdout", [line])
    outlet.close()
    outlet.close()
    return out


def truth(directory: Path, suffix: str = "") -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / f"log_truth{suffix}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", HAZARDS)
def test_a_hazard_strikes_the_same_lines_of_a_seed_and_others_of_another(name: str, tmp_path: Path) -> None:
    first = played(f"{name}:0.5", directory=tmp_path)
    entries = truth(tmp_path)
    assert [entry["line"] for entry in entries] == LINES
    assert first == played(f"{name}:0.5", directory=tmp_path)
    if name not in ("rotate", "block-buffered", "dst-jump", "clock-skew"):
        assert first != played(f"{name}:0.5", directory=tmp_path, seed=43)
        assert first != played(f"{name}:0.5", directory=tmp_path, rank=1)
        assert 10 < sum(bool(entry["done"]) for entry in entries) < 60


@pytest.mark.parametrize("name", [name for name in HAZARDS if name not in ("rotate", "block-buffered")])
def test_a_line_without_a_deed_in_the_truth_is_there_as_it_was(name: str, tmp_path: Path) -> None:
    out = played(f"{name}:0.4", directory=tmp_path)
    rows = (out["stdout"] + out["stderr"]).split(b"\n")
    for entry in truth(tmp_path):
        if not entry["done"]:
            assert str(entry["line"]).encode() in rows


def test_share_0_strikes_nothing_and_leaves_the_bytes() -> None:
    names = [f"{name}:0" for name in HAZARDS if name not in ("rotate", "block-buffered")]
    assert played(*names)["stdout"] == "".join(f"{line}\n" for line in LINES).encode()


def test_torn_lines_are_whole_when_their_parts_are_put_together(tmp_path: Path) -> None:
    rows = played("torn-lines:1", directory=tmp_path)["stdout"].decode().split("\n")
    entries = truth(tmp_path)
    for first, second in zip(entries[::2], entries[1::2], strict=True):
        cut = int(str(first["done"]).split("cut after ")[1].split()[0])
        line = str(first["line"])
        head, tail = rows.pop(0), rows.pop(0)
        assert (head, tail) == (line[:cut] + str(second["line"]), line[cut:])


def test_block_buffered_output_is_late_and_whole_at_a_good_end() -> None:
    sizes: list[int] = []
    outlet = Outlet(
        in_order(["block-buffered"]),
        LoggingProcess(1, 0, 4, 2, None, ""),
        lambda: NOW,
        lambda _, data: sizes.append(len(data)),
    )
    for number in range(1000):
        outlet.lines("stdout", [f"line {number} of many"])
    assert set(sizes) == {8192}
    outlet.close()
    assert sum(sizes) == sum(len(f"line {number} of many\n") for number in range(1000))


@pytest.mark.parametrize(
    ("name", "begin"),
    [
        ("no-time", "[Rank 0/4] INFO step 0 "),
        ("epoch-time", "[1769851800.123] [Rank 0/4] "),
        ("rfc3339-time", "[2026-01-31T09:30:00.123456000Z] [Rank 0/4] "),
        ("glog-time", "I0131 09:30:00.123456    1000 trainer.cc:212] [Rank 0/4] INFO step 0 "),
    ],
)
def test_a_clock_has_the_form_of_its_name(name: str, begin: str) -> None:
    assert played(name)["stdout"].decode().startswith(begin)


GLOG_LINE = "I0101 00:00:30.000250 140110937163584 metric_logger.py:230] completed step: 3"
COUNT_LINE = ':::MLLOG {"namespace": "", "time_ms": 1769851800123, "key": "run_start"}'


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("no-time", "I 140110937163584 metric_logger.py:230] completed step: 3"),
        ("epoch-time", GLOG_LINE.replace("0101 00:00:30.000250", "1769851800.123")),
        ("rfc3339-time", GLOG_LINE.replace("0101 00:00:30.000250", "2026-01-31T09:30:00.123456000Z")),
        ("glog-time", GLOG_LINE),
    ],
)
def test_a_time_after_a_level_is_a_time(name: str, line: str) -> None:
    assert played(name, lines=[GLOG_LINE])["stdout"].decode() == f"{line}\n"


def test_local_time_falls_back_over_the_year_after_a_level() -> None:
    assert (
        played("dst-jump", lines=[GLOG_LINE] * 60)["stdout"]
        .decode()
        .splitlines()[-1]
        .startswith("I1231 23:00:30.000250 ")
    )


def test_a_wrong_clock_alone_changes_a_count_of_milliseconds() -> None:
    for name in ("no-time", "epoch-time", "rfc3339-time", "glog-time", "dst-jump"):
        assert played(name, lines=[COUNT_LINE] * 60)["stdout"].decode() == f"{COUNT_LINE}\n" * 60
    dated, counted = played("clock-skew", lines=[LINES[0], COUNT_LINE])["stdout"].decode().splitlines()
    skew = datetime.fromisoformat(dated[1:20]) - datetime(2026, 1, 31, 9, 30)
    moved_ms = int(counted.split('"time_ms": ')[1].partition(",")[0]) - 1769851800123
    assert 0 < abs(moved_ms) <= 120_000
    assert abs(moved_ms - skew.total_seconds() * 1000) < 1000


def test_local_time_falls_back_an_hour_once() -> None:
    hours = [line[12:14] for line in played("dst-jump")["stdout"].decode().splitlines()]
    assert hours == sorted(hours, reverse=True)
    assert set(hours) == {"09", "08"}


@pytest.mark.parametrize(
    "line",
    [
        "{'loss': 7.25, 'grad_norm': 1.5}", "{'loss': '7.25', 'grad_norm': '1.5'}", "step=3 loss=7.25 lr=1e-4",
        " iteration 3/20 | lm loss: 7.250000E+00 | loss scale: 1.0 |", '{"event":"step","loss":7.25,"lr":0.1}',
        "\033[32mloss:  7.25000  \033[0mgrad", "    train/CE loss=7.25", "completed step: 3, loss: 7.25",
    ],
)  # fmt: skip
def test_a_loss_of_any_voice_can_be_no_number(line: str) -> None:
    forms = {played("nan:1", seed=seed, lines=[line])["stdout"].decode().strip() for seed in range(40)}
    assert len(forms) == 5
    assert not any("7.25" in form for form in forms)


def test_long_lines_have_their_size_and_containers_cut_them_at_16_kib(tmp_path: Path) -> None:
    for kind in range(len(KINDS)):
        assert [len(long_line(kind, size)) for size in SIZES] == list(SIZES)
    assert [(len(part), end) for part, end in parts(b"x" * 40_000)] == [(16384, False), (16384, False), (7232, True)]
    out = played("long-lines:0.3", directory=tmp_path)["stdout"]
    logs, whole = "", ""
    for row in (tmp_path / "log.cri.log").read_text().splitlines():
        _, stream, tag, part = row.split(" ", 3)
        assert stream == "stdout"
        whole += part + ("\n" if tag == "F" else "")
    for row in (tmp_path / "log-json.log").read_text().splitlines():
        logs += json.loads(row)["log"]
    assert whole.encode() == logs.encode() == out


def test_a_rotated_log_lacks_the_lines_that_the_truth_says(tmp_path: Path) -> None:
    played("rotate:0", directory=tmp_path)
    found = "".join(path.read_text() for path in tmp_path.glob("train.log*")).splitlines()
    lost = [entry["line"] for entry in truth(tmp_path) if "is lost in train.log" in str(entry["done"])]
    assert lost
    assert sorted([*found, *map(str, lost)]) == sorted(LINES)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["torn-line"], "which is no hazard; did you mean 'torn-lines'"), (["nan:2"], "whose share is no number"),
        (["nan:x"], "whose share is no number"), ([3], "is no hazard"), (7, "is no list of hazards"),
    ],
)  # fmt: skip
def test_an_unknown_hazard_or_share_is_refused(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hazard_names(value)


def test_the_last_entry_of_a_name_counts() -> None:
    assert in_order(["rotate", "nan", "nan:0.5"]) == [hazard_choice("nan:0.5"), hazard_choice("rotate")]
