"""Mistakes with trackers are found before anything is shown or written."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from accelerate_sim.config.problems import ConfigError
from accelerate_sim.tracking.registry import require_packages
from tests.support.reading import Train

DEBUG = ("--config", "configs/debug.yaml", "--speed", "max")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--log-with", "nosuch"), "holds 'nosuch', which is no tracker. Use some of jsonl, tensorboard, wandb, prom"),
        (("--set", "log.trackers=7"), "holds 7, which is no tracker"),
        (
            ("--log-with", "prometheus", "--set", "log.prometheus_address=9400"),
            "log.prometheus_address = 9400 is not HOST:PORT",
        ),
        (("--log-with", "tensorboard"), "has tensorboard, which writes files. Say where to with --output-dir."),
    ],
)
def test_what_is_no_tracker_is_refused(train: Train, arguments: tuple[str, ...], reason: str) -> None:
    done = train(*DEBUG, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_port_in_use_is_refused(train: Train, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        words = ("--set", f"log.prometheus_address={address}", "--output-dir", str(tmp_path / "out"))
        done = train(*DEBUG, "--log-with", "prometheus", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"can't listen on {address}: Address already in use" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_missing_is_named_as_the_index_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as error:
        require_packages(["wandb", "tensorboard", "prometheus"], tmp_path)
    hints = [problem.way_out for problem in error.value.problems]
    assert hints == ["Install it with: pip install wandb.", "Install it with: pip install tensorboard."]
