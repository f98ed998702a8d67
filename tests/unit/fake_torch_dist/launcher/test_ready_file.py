"""The file for readiness probes: there while all ranks run, and never in the place of something else."""

from __future__ import annotations

import os
from pathlib import Path

from fake_torch_dist.launcher.reports.ready_file import ReadyFile


def test_the_file_is_there_while_all_ranks_run(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.write_text("of a launcher that was killed")
    ready = ReadyFile(str(path))
    assert not path.exists()
    ready.begin(2)
    ready.note_started()
    assert not path.exists()
    ready.note_started()
    assert path.read_text() == f"{os.getpid()}\n"
    ready.end()
    assert not path.exists()


def test_a_pipe_of_that_name_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ReadyFile(str(pipe)).end()
    assert pipe.is_fifo()
