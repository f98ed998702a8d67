"""Failed calls raise what Python raises, and damaged files what torch and safetensors raise."""

from __future__ import annotations

import errno
import re

import pytest

from accelerate_sim.faults.words import storage
from accelerate_sim.faults.words.draw import Draw


@pytest.mark.parametrize(
    "kind, path, text",
    [
        ("full", None, "OSError: [Errno 28] No space left on device"),
        ("full", "/d/x", "OSError: [Errno 28] No space left on device: '/d/x'"),
        ("stale", "/d/x", "OSError: [Errno 116] Stale file handle: '/d/x'"),
        ("permission", "/d/x", "PermissionError: [Errno 13] Permission denied: '/d/x'"),
        ("missing", "/d/x", "FileNotFoundError: [Errno 2] No such file or directory: '/d/x'"),
        ("readonly", None, "OSError: [Errno 30] Read-only file system"),
        ("quota", None, "OSError: [Errno 122] Disk quota exceeded"),
        ("io", None, "OSError: [Errno 5] Input/output error"),
        ("gone", None, "OSError: [Errno 107] Transport endpoint is not connected"),
    ],
)
def test_each_failure_has_the_class_and_words_of_the_system(kind: str, path: str | None, text: str) -> None:
    assert storage.last_line(storage.system_error(kind, path)) == text


def test_an_error_can_be_caught_by_its_number() -> None:
    with pytest.raises(OSError) as caught:
        raise storage.system_error("full")
    assert caught.value.errno == errno.ENOSPC


def test_a_save_on_a_full_disk_is_106_bytes_off() -> None:
    found = re.fullmatch(
        r"RuntimeError: \[enforce fail at .+\] \. unexpected pos (\d+) vs (\d+)", storage.save_on_full_disk(Draw(1))
    )
    assert found and int(found[1]) - int(found[2]) == 106


def test_damaged_files_are_worded_by_damage_and_version() -> None:
    assert storage.damaged_torch_file("empty") == "EOFError"
    assert "failed finding central directory" in storage.damaged_torch_file("cut")
    assert storage.damaged_torch_file("cut", 5000) == "OSError: [Errno 22] Invalid argument"
    assert storage.damaged_torch_file("garbage").startswith("_pickle.UnpicklingError: Weights only load failed. ")
    assert storage.damaged_safetensors("data cut") == (
        "safetensors._safetensors_rust.SafetensorError: Error while deserializing header: incomplete "
        "metadata, file not "
        "fully covered"
    )
    assert storage.damaged_safetensors("data cut", version="0.5.3").endswith("MetadataIncompleteBuffer")
