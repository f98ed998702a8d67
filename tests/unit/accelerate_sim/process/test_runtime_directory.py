"""The directory in which jobs are published is the user's alone, or it is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from accelerate_sim.process.runtime_directory import UnsafeDirectory, make_runtime_directory, runtime_directory


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The runtime directory, not made yet."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "fake-torchrun"


def test_it_is_made_for_the_user_alone(place: Path):
    old = os.umask(0)
    try:
        assert make_runtime_directory() == place
    finally:
        os.umask(old)
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert make_runtime_directory() == place, "and used again"


@pytest.mark.parametrize("base", ["", "relative", "/nonexistent/run/user"])
def test_without_a_usable_xdg_directory_it_is_a_temporary_one_with_the_users_number(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_RUNTIME_DIR", base)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert runtime_directory() == tmp_path / f"fake-torchrun-{os.getuid()}"


def test_a_symbolic_link_is_refused(place: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    place.symlink_to("elsewhere")
    with pytest.raises(UnsafeDirectory, match="symbolic link"):
        make_runtime_directory()


def test_a_file_is_refused(place: Path):
    place.write_text("")
    with pytest.raises(UnsafeDirectory, match="not a directory"):
        make_runtime_directory()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_that_others_may_enter_is_refused_not_repaired(place: Path, mode: int):
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(UnsafeDirectory, match="open to other users"):
        make_runtime_directory()
    assert stat.S_IMODE(place.stat().st_mode) == mode


@pytest.mark.parametrize("made", [
    lambda place: place.mkdir(mode=0o700), lambda place: place.mkdir(mode=0o777), lambda place: place.write_text(""),
    lambda place: place.symlink_to("."), lambda place: place.symlink_to("nowhere"), os.mkfifo,
])  # fmt: skip
def test_what_another_user_has_made_is_refused_as_foreign(place: Path, monkeypatch: pytest.MonkeyPatch, made):
    made(place)
    owner = place.lstat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    with pytest.raises(UnsafeDirectory, match=f"belongs to user {owner}") as refused:
        make_runtime_directory()
    assert refused.value.foreign


def test_what_is_the_users_own_to_mend_is_not_foreign(place: Path):
    place.write_text("")
    with pytest.raises(UnsafeDirectory) as refused:
        make_runtime_directory()
    assert not refused.value.foreign
