"""Error files of failed ranks, and the one that the launcher's own parent gets."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from fake_torch_dist.elastic_errors import write_atomically
from fake_torch_dist.launcher.failures import NOT_AVAILABLE
from fake_torch_dist.launcher.reports.parent_error_file import pass_signal_to_parent, pass_to_parent
from fake_torch_dist.launcher.reports.report import signalled_text
from tests.support.observed_failures import HINT, MOMENT_S, failed, lines_of, log_to, recorded


@pytest.mark.parametrize(
    "text",
    [
        "", '{"message": {"mess', "[]", "5", "{}", '{"message": 5}', '{"message": {"message": "x"}}',
        '{"message": {"message": "x", "extraInfo": {"timestamp": "soon"}}}',
        '{"message": {"message": "x", "extraInfo": {"timestamp": 1e999}}}',
        '{"message": {"message": "x", "extraInfo": {"timestamp": "99999999999999999"}}}',
        '{"message": {"message": "x", "extraInfo": {"timestamp": "1", "py_callstack": 5}}}',
        "[" * 100_000, "\0\xff",
    ],
)  # fmt: skip
def test_a_malformed_error_file_costs_only_what_was_in_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "error.json"
    file.write_bytes(text.encode("latin-1"))
    failure = failed(0, -9, error_file=file)
    assert failure.malformed
    assert failure.error_file == str(file)
    assert dataclasses.replace(failure, malformed="", error_file=NOT_AVAILABLE) == failed(0, -9)
    log: list[str] = []
    pass_to_parent(failure, str(tmp_path / "parent.json"), log_to(log))
    assert not log and os.listdir(tmp_path) == ["error.json"]


def test_other_structures_that_torch_knows(tmp_path: Path) -> None:
    file = tmp_path / "error.json"
    file.write_text(json.dumps({"message": "out of memory\nsecond", "timestamp": str(int(MOMENT_S) + 9)}))
    failure = failed(0, error_file=file)
    assert (failure.message, failure.timestamp_s) == ("out of memory\nsecond", MOMENT_S + 9)
    file.write_text(json.dumps({"message": ""}))
    assert (failed(0, error_file=file).message, failed(0, error_file=file).timestamp_s) == (HINT, MOMENT_S)
    file.write_text(json.dumps({"message": {"extraInfo": {"timestamp": 5}}}))
    assert failed(0, error_file=file).message == NOT_AVAILABLE


# The launcher's own parent


def test_the_parents_file_gets_the_root_cause_and_its_exit_code(tmp_path: Path) -> None:
    file, parent, log = recorded(tmp_path / "error.json"), tmp_path / "parent.json", list[str]()
    pass_to_parent(failed(0, -6, error_file=file), str(parent), log_to(log))
    data = json.loads(parent.read_text())
    assert data["message"].pop("errorCode") == -6
    assert data == json.loads(Path(file).read_text())
    assert not log
    pass_to_parent(failed(0, error_file=file), str(parent), log_to(log))
    assert json.loads(parent.read_text())["message"]["errorCode"] == 1
    assert lines_of(log)[0] == f"{parent} already exists and will be overwritten. Original contents:"
    assert '    "errorCode": -6' in lines_of(log)


def test_without_a_parents_file_a_line_says_so_and_without_an_error_file_none_does(tmp_path: Path) -> None:
    log: list[str] = []
    pass_to_parent(failed(0), None, log_to(log))
    assert not log
    file = recorded(tmp_path / "error.json")
    pass_to_parent(failed(0, error_file=file), None, log_to(log))
    assert lines_of(log) == [f"no error file defined for parent, to copy child error file ({file})"]


def test_a_message_without_structure_is_passed_on_without_exit_code(tmp_path: Path) -> None:
    file, parent, log = tmp_path / "error.json", tmp_path / "parent.json", list[str]()
    file.write_text('{"message": "text", "timestamp": "5"}')
    pass_to_parent(failed(0, error_file=file), str(parent), log_to(log))
    assert json.loads(parent.read_text()) == {"message": "text", "timestamp": "5"}
    assert lines_of(log)[-1] == "skipping error code override"


def test_files_that_cannot_be_had_cost_a_line(tmp_path: Path) -> None:
    file, log = recorded(tmp_path / "error.json"), list[str]()
    root = failed(0, error_file=file)
    pass_to_parent(root, str(tmp_path / "absent" / "parent.json"), log_to(log))
    os.unlink(file)
    pass_to_parent(root, str(tmp_path / "parent.json"), log_to(log))
    unwritable, unreadable, _ = lines_of(log)
    assert unwritable.endswith("can't be written: No such file or directory. The root cause is in the report only")
    assert unreadable == f"Failed to parse reply file: {file}"


def test_the_parent_hears_of_a_signal_as_from_torchrun(tmp_path: Path) -> None:
    parent, log = tmp_path / "parent.json", list[str]()
    pass_signal_to_parent(14762, 15, str(parent), log_to(log))
    pass_signal_to_parent(14762, 15, None, log_to(log))
    message = json.loads(parent.read_text())["message"]
    assert message["message"] == "SignalException: Process 14762 got signal: 15"
    assert message["extraInfo"]["py_callstack"] == signalled_text(14762, 15)
    assert not log


def test_an_error_file_is_not_written_through_a_link_that_somebody_has_planted(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f"error.json.{os.getpid()}").symlink_to("victim")
    write_atomically(str(tmp_path / "error.json"), "{}")
    assert (tmp_path / "error.json").read_text() == "{}"
    assert (tmp_path / "victim").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["error.json", "victim"]
