"""``record`` writes what torch's writes, when torch's does, and whole."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fake_torch_dist import elastic_errors
from fake_torch_dist.elastic_errors import ErrorHandler, record, write_atomically

Record = Callable[[Callable[..., Any]], Callable[..., Any]]


@pytest.fixture
def error_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(path))
    return path


def raises_value_error() -> None:
    raise ValueError("boom on rank 1")


def raises_from_another() -> None:
    try:
        raises_value_error()
    except ValueError as error:
        raise RuntimeError("zweite Zeile:\nü {brace} $dollar") from error


def raises_without_text() -> None:
    raise AssertionError


def interrupted() -> None:
    raise KeyboardInterrupt


def exits_with(code: object) -> Callable[[], None]:
    def exits() -> None:
        raise SystemExit(code)

    return exits


BODIES: dict[str, Callable[[], object]] = {
    "returns": lambda: 7,
    "raises": raises_value_error,
    "raises_from_another": raises_from_another,
    "raises_without_text": raises_without_text,
    "interrupted": interrupted,
    "exit_0": exits_with(0),
    "exit_false": exits_with(False),
    "exit_3": exits_with(3),
    "exit_none": exits_with(None),
    "exit_text": exits_with("no data"),
}


def outcome(decorate: Record, body: Callable[[], object], file: Path) -> tuple[object, object]:
    """The caller's exception, and the error file without its time and without the decorator's own frame."""
    file.unlink(missing_ok=True)
    try:
        seen: object = decorate(body)()
    except BaseException as error:
        seen = (type(error), str(error))
    if not file.exists():
        return seen, None
    data = json.loads(file.read_text())
    assert abs(int(data["message"]["extraInfo"].pop("timestamp")) - time.time()) < 60
    stack = data["message"]["extraInfo"]["py_callstack"].split("\n")
    start = next(i for i, line in enumerate(stack) if "in wrapper" in line)
    end = next(i for i, line in enumerate(stack) if i > start and line.startswith("  File"))
    data["message"]["extraInfo"]["py_callstack"] = stack[:start] + stack[end:]
    return seen, data


def test_an_exception_is_recorded_in_torchs_structure_and_goes_on(error_file: Path) -> None:
    before_s = int(time.time())
    with pytest.raises(ValueError, match="boom on rank 1"):
        record(raises_value_error)()
    data = json.loads(error_file.read_text())
    stamp = data["message"]["extraInfo"].pop("timestamp")
    callstack = data["message"]["extraInfo"].pop("py_callstack")
    assert data == {"message": {"message": "ValueError: boom on rank 1", "extraInfo": {}}}
    assert isinstance(stamp, str) and before_s <= int(stamp) <= time.time()
    assert callstack.startswith("Traceback (most recent call last):\n  File ")
    assert callstack.endswith("\nValueError: boom on rank 1\n")


@pytest.mark.parametrize("name", ["returns", "exit_0", "exit_false", "exit_3", "exit_none", "exit_text", "interrupted"])
def test_what_is_no_error_leaves_no_file(name: str, error_file: Path) -> None:
    outcome(record, BODIES[name], error_file)
    assert list(error_file.parent.iterdir()) == []


def test_exit_0_becomes_a_return_and_other_exits_go_on() -> None:
    assert record(exits_with(0))() is None
    for code in (3, None, "no data"):
        with pytest.raises(SystemExit) as end:
            record(exits_with(code))()
        assert end.value.code == code


def test_arguments_result_and_name_are_the_functions_own() -> None:
    @record
    def main(first: int, *, second: int) -> int:
        """Doc."""
        return first + second

    assert main(1, second=2) == 3
    assert (main.__name__, main.__doc__) == ("main", "Doc.")


def test_without_the_variable_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="boom"):
        record(raises_value_error)()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_does_not_hide_the_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "absent" / "error.json"))
    with (
        pytest.warns(UserWarning, match=r"Unable to write error to file\. FileNotFoundError"),
        pytest.raises(ValueError),
    ):
        record(raises_value_error)()


def test_a_handler_of_ones_own_is_asked() -> None:
    calls: list[object] = []

    class Mine(ErrorHandler):
        def initialize(self) -> None:
            calls.append("initialize")

        def record_exception(self, e: BaseException) -> None:
            calls.append(repr(e))

    with pytest.raises(ValueError, match="boom"):
        record(raises_value_error, Mine())()
    assert calls == ["initialize", "ValueError('boom on rank 1')"]


def test_a_file_is_replaced_and_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    path.write_text("old")
    with path.open() as reader:
        write_atomically(str(path), "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EACCES, errno.EROFS, errno.EXDEV])
def test_a_file_that_cannot_be_replaced_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As a pod's termination log, which is mounted."""
    path = tmp_path / "termination-log"
    path.write_text("old and longer")

    def replace(source: str, goal: str) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", replace)
    write_atomically(str(path), "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match=os.strerror(number)):
        write_atomically(str(tmp_path / "absent"), "new")
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_regular_file_is_written_to_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(str(path), "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert path.is_fifo()


def test_a_script_ends_as_it_would_without(tmp_path: Path, root: Path) -> None:
    """Exit code and traceback on stderr; the fault handler is on."""
    script = tmp_path / "main.py"
    script.write_text(
        "import faulthandler\nfrom fake_torch_dist.elastic_errors import record\n\n@record\ndef main():\n"
        "    print(faulthandler.is_enabled())\n    raise ValueError('boom')\n\nmain()\n"
    )
    file = tmp_path / "error.json"
    environment = os.environ | {"TORCHELASTIC_ERROR_FILE": str(file), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "True\n")
    assert done.stderr.endswith("ValueError: boom\n")
    assert json.loads(file.read_text())["message"]["message"] == "ValueError: boom"


def test_the_module_imports_nothing_that_only_an_exception_needs() -> None:
    program = (
        "import sys, importlib.util as u\n"
        "s = u.spec_from_file_location('m', sys.argv[1]); m = u.module_from_spec(s)\n"
        "s.loader.exec_module(m)\n"
        "print({'json', 'traceback', 'faulthandler', 'numpy'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, elastic_errors.__file__],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "set()\n"


@pytest.mark.real
@pytest.mark.parametrize("name", list(BODIES))
def test_agrees_with_torchs(name: str, error_file: Path) -> None:
    theirs = pytest.importorskip("torch.distributed.elastic.multiprocessing.errors")
    want = outcome(theirs.record, BODIES[name], error_file)
    assert outcome(record, BODIES[name], error_file) == want
