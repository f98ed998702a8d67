"""What ``python -m accelerate_sim.calibration`` prints, and what it says to bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim.calibration.__main__ import main

OWN = Path(__file__).parents[2] / "reference" / "measured_runs.csv"
RUN = {
    "row_id": "mine", "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "vocab": 128256, "ffn_hidden": 14336,
    "seq_len": 8192, "global_batch": 128, "micro_batch": 1, "gpu": "H100", "n_gpus": 8, "tp": 1, "sharding": "fsdp",
    "tokens_per_s_per_gpu": 9000,
}  # fmt: skip


def written(folder: Path, *runs: dict[str, Any]) -> str:
    path = folder / "runs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(runs[0]))
        writer.writeheader()
        writer.writerows(runs)
    return str(path)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    return printed.err.strip()


def test_families_and_totals_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(OWN)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["family", "runs", "median", "p90", "bias"]
    assert "speed, dense" in printed and "speed, experts" in printed and "memory" in printed
    assert "ranked right" in printed


def test_every_run_is_printed_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(OWN), "--rows"]) == 0
    printed = capsys.readouterr().out
    with OWN.open(encoding="utf-8") as file:
        assert all(f"{row['row_id']} " in printed for row in csv.DictReader(file))


def test_few_columns_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written(tmp_path, RUN), "--rows"]) == 0
    error = float(capsys.readouterr().out.splitlines()[1].split()[-1].strip("%"))
    assert abs(error) < 30


def test_rows_that_cannot_be_expressed_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = {**RUN, "row_id": "odd", "n_gpus": ""}
    assert main([written(tmp_path, RUN, odd)]) == 0
    assert "odd: nothing is said of n_gpus" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes, texts",
    [
        ({"gpu": "H1000"}, ["line 2 (mine)", "gpu = 'H1000' is an unknown GPU", "use one of A100-80"]),
        ({"n_gpus": "eight"}, ["n_gpus = 'eight' is not a number"]),
        ({"n_gpus": "nan"}, ["n_gpus = 'nan' is not between"]),
        ({"layers": "32.5"}, ["layers = '32.5' is not a whole number"]),
        ({"tokens_per_s_per_gpu": "0"}, ["tokens_per_s_per_gpu = '0' is not above 0"]),
        ({"sharding": "zero9"}, ["sharding = 'zero9' is none of ddp"]),
    ],
)
def test_bad_cells_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], texts: list[str]
) -> None:
    said = complaint(capsys, written(tmp_path, RUN | changes))
    assert all(text in said for text in texts), said


def test_missing_columns_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = {name: value for name, value in RUN.items() if name not in ("gpu", "heads")}
    assert "no column heads, gpu, which predictions need" in complaint(capsys, written(tmp_path, run))


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in complaint(capsys, str(tmp_path / "none.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    assert "is not a CSV file" in complaint(capsys, str(tmp_path / "binary.csv"))
    empty = {**RUN, "n_gpus": ""}
    assert "no run that predictions can be compared with" in complaint(capsys, written(tmp_path, empty))
    (tmp_path / "bad.json").write_text("[]", encoding="utf-8")
    assert "is not a file of constants" in complaint(capsys, str(OWN), "--constants", str(tmp_path / "bad.json"))
    assert "--fit" in complaint(capsys, str(OWN), "--write", str(tmp_path / "out.json"))


def test_fitted_constants_can_be_written_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = written(tmp_path, *({**RUN, "tokens_per_s_per_gpu": speed} for speed in (7000, 7100)))
    target = tmp_path / "mine.json"
    assert main([runs, "--fit", "--write", str(target)]) == 0
    assert "unseen: median" in capsys.readouterr().out
    assert main([runs, "--constants", str(target)]) == 0
    fitted = capsys.readouterr().out
    assert main([runs]) == 0
    shipped = capsys.readouterr().out

    def median(text: str) -> float:
        return float(text.split("speed, dense")[1].split()[1].strip("%"))

    assert median(fitted) < median(shipped)
    assert json.loads(target.read_text(encoding="utf-8"))["gemm_share_bf16.hopper"]["low"] == 0.6
