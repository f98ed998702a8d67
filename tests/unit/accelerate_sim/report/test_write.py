"""A report at the path of a pipe or a device is written to it; it does not take its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accelerate_sim.artifacts.output_error import OutputError
from accelerate_sim.report import write


def test_a_page_goes_into_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write._write(pipe, "<html>")
        assert os.read(reader, 100) == b"<html>" and pipe.is_fifo()
    finally:
        os.close(reader)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_device_is_said_and_stays(tmp_path: Path) -> None:
    link = tmp_path / "report.html"
    link.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"report\.html could not be written: No space left on device\. Nothing else"):
        write._write(link, "<html>")
    assert Path("/dev/full").is_char_device() and link.is_symlink()
