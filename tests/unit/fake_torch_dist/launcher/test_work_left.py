"""A forked rank skips the interpreter's finalization, which copies shared memory, if it has no visible effect."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fake_torch_dist.launcher.workers.ending import _does_something
from tests.support.repository import ROOT

AFTER_A_WORLD = """
import gc, sys
import fake_torch_dist.before_fork
import fake_torch_dist as dist
from fake_torch_dist.launcher.workers import ending
gc.freeze()
imported = set(sys.modules)
dist.init_process_group("gloo", init_method="file://" + sys.argv[1], rank=0, world_size=1)
dist.barrier()
dist.destroy_process_group()
print(ending._work_left(imported).name)
"""


def test_a_closed_socket_has_nothing_left_to_do() -> None:
    with socket.socket() as kept:
        assert _does_something(kept)
    assert not _does_something(kept)


def test_a_socket_with_a_finalizer_of_its_own_has() -> None:
    class Announced(socket.socket):
        def __del__(self) -> None:
            """Do something that is seen."""

    with Announced() as kept:
        pass
    assert _does_something(kept)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ranks in processes of their own need Linux")
def test_a_world_that_has_ended_leaves_nothing_for_python_to_finalize(tmp_path: Path) -> None:
    command = [sys.executable, "-c", AFTER_A_WORLD, str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout in ("NOTHING\n", "C_LIBRARIES\n"), done.stderr
