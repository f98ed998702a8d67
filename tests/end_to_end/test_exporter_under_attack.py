"""Whoever can open the exporter's port can neither end nor stop a run."""

from __future__ import annotations

import re
import resource
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.repository import ROOT

DESCRIPTORS = 96
"""Open files allowed to the run: little more than it needs for itself and 64 connections."""
LIMIT_S = 120.0
RUN = (
    "--config", "configs/debug.yaml", "--speed", "20", "--set", "train.epochs=500",
    "--log-with", "prometheus", "--set", "run.startup_speed=1000",
    "--set", "log.prometheus_address=127.0.0.1:0",
)  # fmt: skip


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits descriptors as Linux does")
def test_silent_connections_by_the_hundred_do_not_end_a_run(tmp_path: Path) -> None:
    command = [sys.executable, "train.py", *RUN, "--output-dir", str(tmp_path / "out")]
    with ExitStack() as opened:
        run = opened.enter_context(
            subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                preexec_fn=few_descriptors,
            )
        )  # fmt: skip
        opened.callback(run.kill)
        assert run.stdout
        lines = []
        for line in run.stdout:
            lines.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/metrics", line):
                break
        else:
            raise AssertionError("".join(lines))
        for _ in range(3 * DESCRIPTORS):
            opened.enter_context(socket.create_connection(("127.0.0.1", int(found[1])), timeout=LIMIT_S))
        steps = 0
        for line in run.stdout:  # it goes on
            lines.append(line)
            steps += "| loss" in line
            if steps == 5:
                break
        run.send_signal(signal.SIGTERM)  # and saves, for which it needs descriptors
        rest = run.stdout.read()
        assert run.wait(LIMIT_S) == 143, "".join(lines) + rest
    assert "Traceback" not in rest and list((tmp_path / "out").glob("checkpoint-*/manifest.json"))
