"""``made_once``: of several processes that need a thing, one makes it, and all get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.made_once import made_once
from tests.support.processes import exit_codes


def test_one_process_makes_what_all_get(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    def make(directory: Path) -> Path:
        with (tmp_path / "made").open("a") as file:
            file.write("once\n")
        (directory / "file").write_text("its text")
        return directory

    def get() -> None:
        assert (made_once(tmp_path_factory, "a thing of this test", make) / "file").read_text() == "its text"

    assert exit_codes(get, get, get) == [0, 0, 0]
    assert (tmp_path / "made").read_text() == "once\n"


def test_what_fails_is_tried_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    def fail(directory: Path) -> str:
        raise OSError(directory.name)

    with pytest.raises(OSError, match="something that fails"):
        made_once(tmp_path_factory, "something that fails", fail)
    assert made_once(tmp_path_factory, "something that fails", lambda _: "made") == "made"
