"""Processes that the launcher inherits, as process 1 of a container does, leave no zombies while the job runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.support.processes import Children, children_of, state_of, until
from tests.support.repository import ROOT

SCRIPT = "import sys\nprint('up', flush=True)\nopen(sys.argv[1]).read()\n"


def test_inherited_processes_are_reaped_whenever_they_end(tmp_path: Path):
    """A shell leaves two to the launcher: one has ended before that starts, the other ends while a rank runs."""
    (tmp_path / "job.py").write_text(SCRIPT)
    for name in ("orphan", "rank"):
        os.mkfifo(tmp_path / name)
    launch = f"exec {sys.executable} -m fake_torch_dist.run --nproc-per-node 1 job.py rank"
    words = ["/bin/sh", "-c", f"true & read line < orphan & {launch}"]

    def body(out: int) -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.dup2(out, 1)
        os.chdir(tmp_path)
        os.execve(words[0], words, dict(os.environ) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})

    with Children() as children:
        launcher = children.fork(body, pipes=1)
        children.read_until(lambda: b"up" in launcher.outputs[0], "the rank runs")
        until(lambda: len(children_of(launcher.pid)) == 2, "the agent and the shell's second child are left")
        (tmp_path / "orphan").write_text("end\n")
        until(lambda: len(children_of(launcher.pid)) == 1, "the agent is left")
        assert state_of(children_of(launcher.pid)[0]) != "Z"
        (tmp_path / "rank").write_text("")
        assert children.wait() == [0]
