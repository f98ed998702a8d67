"""``python -m accelerate_sim.calibration``: its output, and its errors for bad input."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from accelerate_sim.calibration.__main__ import main
from accelerate_sim.calibration.fitting import FEWEST_RUNS
from accelerate_sim.calibration.page import code_state
from tests.support.repository import REFERENCE

OWN = REFERENCE / "measured_runs.csv"
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


def test_rows_that_are_no_measure_are_compared_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ({"family": "sound", "fit_ok": 1}, {"row_id": "other", "family": "doubtful", "fit_ok": 0})
    path = written(tmp_path, *(RUN | row for row in rows))
    assert main([path, "--marked"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:2]] == [["doubtful", "1"]]
    alone = written(tmp_path, RUN | rows[1])
    assert "--marked compares it" in complaint(capsys, alone)
    assert main([alone, "--marked"]) == 0 and "doubtful" in capsys.readouterr().out
    assert "leave out --marked" in complaint(capsys, written(tmp_path, RUN), "--marked")
    assert "leave out one of the two" in complaint(capsys, path, "--marked", "--fit")


def test_several_files_are_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir(), second.mkdir()
    files = written(first, RUN), written(second, {**RUN, "row_id": "other", "family": "theirs"}, {**RUN, "gpu": "H0"})
    assert main([*files, "--rows"]) == 0
    printed = capsys.readouterr().out
    assert "speed, dense     2" in printed and "Left out (1):" in printed
    assert printed.index("mine") < printed.index("other")


def test_few_columns_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([written(tmp_path, RUN), "--rows"]) == 0
    error = float(capsys.readouterr().out.splitlines()[1].split()[-1].strip("%"))
    assert abs(error) < 30


def test_rows_that_cannot_be_expressed_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = {**RUN, "row_id": "odd", "n_gpus": ""}
    assert main([written(tmp_path, RUN, odd)]) == 0
    assert "odd (line 3): nothing is said of n_gpus" in capsys.readouterr().out


def test_a_bad_cell_leaves_out_its_row_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nameless = {**RUN, "row_id": ""}
    assert main([written(tmp_path, nameless, {**nameless, "gpu": "H1000"}, {**RUN, "n_gpus": "eight"}), "--rows"]) == 0
    printed = capsys.readouterr().out
    assert "\nline 2 " in printed
    assert "Left out (2):\n  line 3: gpu = 'H1000' is an unknown GPU" in printed
    assert "  mine (line 4): n_gpus = 'eight' is not a number" in printed


def test_a_row_with_more_cells_than_columns_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(written(tmp_path, RUN, RUN))
    path.write_text(path.read_text(encoding="utf-8").rstrip() + ",5\n", encoding="utf-8")
    assert main([str(path)]) == 0
    assert f"mine (line 3): {len(RUN) + 1} cells under {len(RUN)} columns" in capsys.readouterr().out


@pytest.mark.parametrize("separator", [";", "\t", ", "])
def test_other_separators_are_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str], separator: str) -> None:
    path = Path(written(tmp_path, RUN))
    assert main([str(path)]) == 0
    with_commas = capsys.readouterr()
    path.write_text(path.read_text(encoding="utf-8").replace(",", separator), encoding="utf-8")
    assert main([str(path)]) == 0
    assert capsys.readouterr() == with_commas


def test_unknown_columns_are_named_with_what_was_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = {"params_b": 8, "source": "a table", "basis": "reported"}
    runs = written(tmp_path, RUN | known | {"TP": 8, "pipeline": 2, "precison": "fp8", "weather": "fine"})
    assert main([runs]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for told in (
        "TP (did you mean tp?)",
        "pipeline (did you mean pp?)",
        "precison (did you mean precision?)",
        "weather;",
    ):
        assert told in said
    assert not any(name in said for name in known)


def test_shipped_columns_are_all_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(OWN)]) == 0
    assert capsys.readouterr().err == ""


def test_a_handful_of_runs_is_not_fitted_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, written(tmp_path, RUN), "--fit")
    assert "1 run is too few to fit" in said and f"--fit needs {FEWEST_RUNS} or more" in said
    assert f"{FEWEST_RUNS - 1} runs are too few" in complaint(
        capsys, written(tmp_path, *[RUN] * (FEWEST_RUNS - 1)), "--fit"
    )


@pytest.mark.parametrize(
    "changes, texts",
    [
        ({"gpu": "H1000"}, ["mine (line 2): gpu = 'H1000' is an unknown GPU", "use one of A100-80"]),
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
    assert "no column heads, gpu, which predictions need; " in complaint(capsys, written(tmp_path, run))
    assert "('GPU' is there (did you mean gpu?))" in complaint(
        capsys, written(tmp_path, run | {"GPU": "H100", "heads": 1})
    )


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in complaint(capsys, str(tmp_path / "none.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    assert "is not a CSV file" in complaint(capsys, str(tmp_path / "binary.csv"))
    empty = {**RUN, "n_gpus": ""}
    said = complaint(capsys, written(tmp_path, *[empty] * 7))
    assert "no run that predictions can be compared with:\n  mine (line 2): nothing is said of n_gpus" in said
    assert "\n  and 2 more\n" in said
    assert "mine: fit_ok = 0" in complaint(capsys, written(tmp_path, RUN | {"fit_ok": 0}))
    (tmp_path / "header.csv").write_text(",".join(RUN) + "\n", encoding="utf-8")
    assert "there are no rows below the header" in complaint(capsys, str(tmp_path / "header.csv"))
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    assert "is empty" in complaint(capsys, str(tmp_path / "empty.csv"))
    (tmp_path / "twice.csv").write_text(",".join([*RUN, "tp"]) + "\n", encoding="utf-8")
    assert "two columns are called tp" in complaint(capsys, str(tmp_path / "twice.csv"))
    (tmp_path / "bad.json").write_text("[]", encoding="utf-8")
    assert "is not a file of constants" in complaint(capsys, str(OWN), "--constants", str(tmp_path / "bad.json"))
    assert "--fit" in complaint(capsys, str(OWN), "--write", str(tmp_path / "out.json"))


def test_fitted_constants_can_be_written_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = written(tmp_path, *({**RUN, "tokens_per_s_per_gpu": 7000 + 5 * number} for number in range(FEWEST_RUNS)))
    target = tmp_path / "mine.json"
    assert main([runs, "--fit", "--write", str(target)]) == 0
    assert "left out: median" in capsys.readouterr().out
    assert main([runs, "--constants", str(target)]) == 0
    fitted = capsys.readouterr().out
    assert main([runs]) == 0
    shipped = capsys.readouterr().out

    def median(text: str) -> float:
        return float(text.split("speed, dense")[1].split()[1].strip("%"))

    assert median(fitted) < median(shipped)
    assert json.loads(target.read_text(encoding="utf-8"))["gemm_share_bf16.hopper"]["low"] == 0.6


# --- Tables put into a page -------------------------------------------------------------------

PAGE = "# Mine\n\n<!-- printed of runs.csv -->\nold\n<!-- end -->\n\nAfter.\n"


def test_a_page_gets_the_tables_and_their_commit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, runs = tmp_path / "page.md", written(tmp_path, RUN)
    page.write_text(PAGE, encoding="utf-8")
    assert main([runs, "--update", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Mine\n\n<!-- printed of runs.csv -->\nPrinted at ") and text.endswith("\nAfter.\n")
    assert code_state() in text and "old" not in text
    assert main([runs, "--markdown"]) == 0
    table = capsys.readouterr().out.split("\n| family", 1)[1].split("\n\n")[0]
    assert table in text
    assert main([runs, "--update", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == text


def test_a_page_without_a_place_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, runs = tmp_path / "page.md", written(tmp_path, RUN)
    page.write_text("# Mine\n", encoding="utf-8")
    assert "write '<!-- printed of runs.csv -->'" in complaint(capsys, runs, "--update", str(page))
    assert page.read_text(encoding="utf-8") == "# Mine\n"
    assert "cannot be read" in complaint(capsys, runs, "--update", str(tmp_path / "none.md"))


def test_the_state_of_the_code_is_a_commit_or_a_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert re.fullmatch(r"(commit [0-9a-f]{7,} of|version \S+ on) \d{4}-\d\d-\d\d(, with changes)?", code_state())
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert re.fullmatch(r"version \S+ on \d{4}-\d\d-\d\d", code_state())
