"""Complete or absent, on real file systems."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accelerate_sim.artifacts import atomic
from accelerate_sim.artifacts.file_image import FileImage
from accelerate_sim.artifacts.manifest import Damaged, manifest_image, read_json, verify
from accelerate_sim.artifacts.output_error import OutputError
from accelerate_sim.artifacts.plain_file import NotPlain

IMAGES = [FileImage("a.bin", b"head", 10**11), FileImage("b.json", b"{}")]


def written(parent: Path, name: str = "whole") -> Path:
    atomic.write_directory(parent / name, [*IMAGES, manifest_image(IMAGES, {})])
    return parent / name


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", tmp_path], capture_output=True)
    if done.returncode:
        pytest.skip("may not mount a tmpfs")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_files_have_their_size_and_occupy_nothing(tmp_path: Path) -> None:
    whole = written(tmp_path)
    assert (whole / "a.bin").stat().st_size == 10**11 + 4
    assert (whole / "a.bin").stat().st_blocks * 512 < 10**5
    with (whole / "a.bin").open("rb") as file:
        assert file.read(8) == b"head\0\0\0\0"
    verify(whole)
    assert os.listdir(tmp_path) == ["whole"]


def test_what_was_there_is_replaced(tmp_path: Path) -> None:
    whole = written(tmp_path)
    (whole / "b.json").write_text("cut off")
    with pytest.raises(Damaged):
        verify(whole)
    verify(written(tmp_path))
    assert os.listdir(tmp_path) == ["whole"]


def test_full_disk_is_seen_before_the_first_byte(small_disk: Path) -> None:
    whole = written(small_disk)
    big = [FileImage(f"{number}.bin", bytes(10_000)) for number in range(30)]
    with pytest.raises(OSError, match=r"No space left on device \([\d,]+ bytes needed, [\d,]+ free\)"):
        atomic.write_directory(small_disk / "more", big)
    assert os.listdir(small_disk) == ["whole"]
    verify(whole)


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files strikes in the middle, where no check before can see it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole = written(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with (
            pytest.raises(OutputError, match=r"more could not be written: File too large\. It is intact\."),
            atomic.explained(tmp_path / "more", "It is intact."),
        ):
            atomic.write_directory(tmp_path / "more", [FileImage("x", b"x" * 40_000), FileImage("y", b"", 60_000)])
        with pytest.raises(OSError, match="File too large"):
            atomic.write_file(tmp_path / "file", b"x" * 60_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["whole"]
    verify(whole)


def test_directory_that_has_gone_is_not_made_again(tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "checkpoint-1"
    with pytest.raises(OutputError, match="its directory has gone"), atomic.explained(gone, ""):
        atomic.write_directory(gone, IMAGES)
    assert os.listdir(tmp_path) == []


def test_leftovers_of_a_process_that_died_are_removed_and_nothing_else(tmp_path: Path) -> None:
    whole = written(tmp_path)
    (tmp_path / ".tmp-checkpoint-7").mkdir()
    (tmp_path / ".tmp-checkpoint-7" / "half").write_text("half")
    (tmp_path / ".tmp-link").symlink_to(whole)
    assert atomic.remove_unfinished(tmp_path) == ["checkpoint-7", "link"]
    assert os.listdir(tmp_path) == ["whole"]
    verify(whole)


def test_holes_are_kept_here(tmp_path: Path) -> None:
    assert atomic.keeps_holes(tmp_path)
    assert os.listdir(tmp_path) == []


def test_file_size_limit_counts_as_no_holes(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert not atomic.keeps_holes(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- What a manifest does not let pass ------------------------------------------------------------


def break_size(whole: Path) -> None:
    os.truncate(whole / "a.bin", 10**9)


def break_bytes(whole: Path) -> None:
    with (whole / "a.bin").open("r+b") as file:
        file.write(b"HEAD")


def break_link(whole: Path) -> None:
    outside = whole.parent / "outside.json"
    (whole / "b.json").rename(outside)
    (whole / "b.json").symlink_to(outside)


def break_name(whole: Path) -> None:
    manifest = whole / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"b.json"', '"../b.json"'))


def break_json(whole: Path) -> None:
    os.truncate(whole / "manifest.json", 100)


def break_format(whole: Path) -> None:
    (whole / "manifest.json").write_text('{"format": 1, "files": [{"name": "a.bin", "bytes": "many"}]}')


def remove_file(whole: Path) -> None:
    (whole / "a.bin").unlink()


def make_pipe(whole: Path) -> None:
    (whole / "b.json").unlink()
    os.mkfifo(whole / "b.json")


BREAKS = {
    break_size: r"has a a\.bin of 1,000,000,000 bytes where manifest\.json says 100,000,000,004",
    break_bytes: r"has a a\.bin with other bytes than manifest\.json says",
    break_link: r"has a b\.json that is a symbolic link",
    break_name: r"leads out of the directory",
    break_json: r"has a manifest\.json that is no JSON \(line \d+\)",
    break_format: r"has a manifest\.json with an entry that names no file",
    remove_file: r"has no a\.bin",
    make_pipe: r"has a b\.json that is no plain file",
}


@pytest.mark.parametrize("damage", BREAKS, ids=lambda damage: damage.__name__)
def test_damage_is_named(damage: Callable[[Path], None], tmp_path: Path) -> None:
    whole = written(tmp_path)
    verify(whole)
    damage(whole)
    with pytest.raises(Damaged, match=BREAKS[damage]):
        verify(whole)


# --- Names that somebody else has taken -----------------------------------------------------------


def as_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


def as_dangling_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim.parent / "nothing")


def as_pipe(place: Path, victim: Path) -> None:
    os.mkfifo(place)


def as_full_directory(place: Path, victim: Path) -> None:
    place.mkdir()
    (place / "file").write_text("")


@pytest.mark.parametrize("taken", [as_link, as_dangling_link, as_pipe, as_full_directory])
def test_scratch_names_that_are_taken_are_made_free_and_not_followed(
    taken: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.write_text("precious")
    out.mkdir()
    for name in (".tmp-run.json", ".tmp-probe", ".tmp-whole"):
        taken(out / name, victim)
    atomic.write_file(out / "run.json", b"{}")
    assert atomic.keeps_holes(out)
    verify(written(out))
    assert sorted(os.listdir(out)) == ["run.json", "whole"]
    assert (victim.read_text(), sorted(os.listdir(tmp_path))) == ("precious", ["out", "victim"])


def test_link_in_the_place_of_a_directory_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").write_text("precious")
    (tmp_path / "whole").symlink_to(target)
    (tmp_path / "other").symlink_to(tmp_path / "nothing")
    verify(written(tmp_path))
    verify(written(tmp_path, "other"))
    assert (target / "file").read_text() == "precious"


def test_directory_is_not_made_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    (out / "runs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError, match="runs is no directory of its own"):
        atomic.make_directory(out / "runs" / "run-1", out)
    assert os.listdir(tmp_path / "elsewhere") == []
    atomic.make_directory(out / "a" / "b", out)
    assert (out / "a" / "b").is_dir()


def test_a_directory_in_the_place_of_a_file_is_damage(tmp_path: Path) -> None:
    whole = written(tmp_path)
    for name in ("b.json", "manifest.json"):
        (whole / name).unlink()
        (whole / name).mkdir()
        with pytest.raises(Damaged, match=rf"has a {name} that is no plain file"):
            verify(whole)


@pytest.mark.parametrize("name", ["..", "", "a\0b", "\ud800", "a/b", "x" * 300, ".hidden"])
def test_names_of_a_manifest_that_are_none_of_a_file_are_refused(name: str, tmp_path: Path) -> None:
    whole = written(tmp_path)
    entry = {"name": name, "bytes": 1, "head_bytes": 1, "sha256": ""}
    (whole / "manifest.json").write_text(json.dumps({"format": 1, "files": [entry]}))
    with pytest.raises(Damaged, match="leads out of the directory"):
        verify(whole)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1e999}', '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "{", "[]"])
def test_json_that_is_none_of_ours_is_damage(text: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(Damaged, match=r"has a file\.json "):
        read_json(tmp_path / "file.json")


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_never_replaced_by_a_file(linked: bool, tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    with pytest.raises(NotPlain, match="is no plain file"):
        atomic.write_file(link if linked else pipe, b"text")
    assert pipe.is_fifo() and link.is_symlink() and len(list(tmp_path.iterdir())) == 2
