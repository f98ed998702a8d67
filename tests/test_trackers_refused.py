"""Mistakes with trackers are found before anything is shown or written."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from reading import Train

DEBUG = ("--config", "configs/debug.yaml", "--speed", "max")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--log-with", "nosuch"), "holds 'nosuch', which is no tracker. Use some of jsonl, tensorboard, wandb, prom"),
        (("--set", "log.trackers=7"), "holds 7, which is no tracker"),
        (("--log-with", "tensorboard"), "has tensorboard, which writes files. Say where to with --output-dir."),
    ],
)
def test_what_is_no_tracker_is_refused(train: Train, arguments: tuple[str, ...], reason: str) -> None:
    done = train(*DEBUG, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_port_in_use_is_refused(train: Train, tmp_path: Path) -> None:
    try:
        listener = socket.create_server(("127.0.0.1", 9400))
    except OSError:
        listener = socket.socket()  # somebody else has it, which is as good
    with listener:
        done = train(*DEBUG, "--log-with", "prometheus", "--output-dir", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "can't listen on 127.0.0.1:9400: " in done.stderr
    assert not (tmp_path / "out").exists()
