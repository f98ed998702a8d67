"""A warm launcher has what its request gives it, and nothing of the test process or of its server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.launch_server import MARK
from tests.support.launched import Jobs
from tests.support.processes import pids_with_variable, until
from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher

INHERITED = """
import json, os, signal, sys
{first}
blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
handled = [number for number in (1, 2, 3, 13, 15, 17) if signal.getsignal(number) != signal.SIG_DFL]
opened = sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1]
names = set(os.environ) - {{"TORCHELASTIC_RUN_ID", "MASTER_PORT"}}
roots = sorted({{name.partition(".")[0] for name in sys.modules}} & {{"tests", "pytest", "_pytest", "hypothesis"}})
print(json.dumps([blocked, handled, opened, sorted(names), os.getcwd(), sys.path[:2], sys.argv, roots]))
"""


@pytest.mark.parametrize("first", ["", "import fake_torch_dist"], ids=["new interpreter", "forked"])
def test_a_rank_inherits_what_it_inherits_of_a_new_launcher(tmp_path: Path, first: str) -> None:
    (tmp_path / "job.py").write_text(INHERITED.format(first=first))
    environ = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", MARK: "f" * 32}
    words = ["--nproc-per-node", "1", "job.py", "word"]
    warm = run_launcher(words, cwd=tmp_path, env=environ, training=False)
    new = subprocess.run(
        [sys.executable, "-m", "fake_torch_dist.run", *words], cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (warm.returncode, warm.stderr) == (new.returncode, new.stderr) == (0, "")
    assert json.loads(warm.stdout) == json.loads(new.stdout)


@pytest.mark.parametrize("training", [False, True])
def test_a_command_line_that_is_refused_ends_as_it_ends_for_users(tmp_path: Path, training: bool) -> None:
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    for words, code in ((["--nnodes"], 2), (["--help"], 0), (["missing.py"], 1)):
        warm = run_launcher(words, cwd=tmp_path, env=environ, training=training)
        new = subprocess.run(
            [sys.executable, "-m", "fake_torch_dist.run", *words], cwd=tmp_path, env=environ, capture_output=True,
            text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (warm.returncode, warm.stdout, warm.stderr) == (code, new.stdout, new.stderr)


def test_all_processes_of_a_job_have_its_mark_and_a_killed_launcher_its_signal(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    try:
        job = jobs.start("import time\nprint('up')\ntime.sleep(600)", "--nnodes", "2", "--nproc-per-node", "1")
        job.wait_for("up", 2)
        assert {job.pid, *job.agents, *job.ranks} <= set(pids_with_variable(MARK, job.mark))
        job.process.kill()
        assert job.end().code == -signal.SIGKILL
        until(lambda: not pids_with_variable(MARK, job.mark), "nothing is left of it")
    finally:
        jobs.clean_up()
