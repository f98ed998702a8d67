"""The page's stand-in for pydantic: configs, plans, runs and error messages are the same with it as with pydantic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

import pytest

from tests.support.repository import ROOT

STAND_INS = ROOT / "accelerate_sim" / "web" / "stand_ins"
LIMIT_S = 120

PROGRAM = """
import json
import sys
from datetime import datetime
from accelerate_sim.cli.listings import show_config, show_plan
from accelerate_sim.config.load import Override
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.config.shipped import find_config
from accelerate_sim.session.options import SessionOptions
from accelerate_sim.session.run_source import RunSource
from accelerate_sim.session.runner import run_session
from accelerate_sim.train import main

for what, name, *changes in json.loads(sys.argv[1]):
    try:
        source = RunSource(find_config(name) if name else None, [Override(change) for change in changes], 8)
        if what == "config":
            show_config(source.plan(1).config)
        elif what == "plan":
            show_plan(source.plan(1), ascii_only=True, named=str)
        else:
            run_session(main, source, SessionOptions(datetime(2026, 1, 31)))
    except ConfigError as error:
        print(error)
    for stream in (sys.stdout, sys.stderr):
        print("END OF CASE", file=stream, flush=True)
"""
"""Shows or plays configs without the command line, as typer takes pydantic, too; the page has an older typer."""
SHOWN = [
    ("plan", "mixtral8x7b"),
    ("config", "classic"),
    ("config", "", "train.lrr=1"),
    ("config", "", "cluster.nodes=eight", "train.lr=-1", "run.seed=true"),
    ("config", "llama70b", "train.parallel.tensor=3", "train.batch_ramp={start: 0}"),
    ("config", "", "model={family: llama, layers: 2}"),
    ("config", "", "cluster.gpu=H1000", "log.trackers=[sheets]", "run.speed=fast"),
    ("config", "", "train=5", "data={dataset: [1, 2]}"),
    ("run", "llama70b", "train.max_steps=30", "run.speed=max", "run.startup_speed=null"),
    ("run", "", "train.max_steps=2", "run.speed=max", "run.startup_speed=null"),
    ("run", "debug", "run.speed=max", "run.startup_speed=null", "faults.play=[kill rank=3 at=step:13]"),
]
"""Cases that one process shows or plays one after the other."""


def python(*words: str, stand_in: bool, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
    """Run this Python, with the stand-in in the place of pydantic or with pydantic itself."""
    path = [str(STAND_INS)] if stand_in else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*path, str(ROOT)])}
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=limit_s,
    )  # fmt: skip


def said(cases: Sequence[tuple[str, ...]], stand_in: bool) -> list[tuple[str, str]]:
    """Standard output and error of each case; no case says nothing."""
    done = python("-c", PROGRAM, json.dumps(cases), stand_in=stand_in)
    assert done.returncode == 0, done.stderr
    outputs, errors = (text.split("END OF CASE\n") for text in (done.stdout, done.stderr))
    assert len(outputs) == len(errors) == len(cases) + 1 and all(outputs[:-1])
    assert (outputs.pop(), errors.pop()) == ("", "")
    return list(zip(outputs, errors, strict=True))


def test_the_stand_in_is_what_is_imported():
    assert str(STAND_INS) in python("-c", "import pydantic; print(pydantic.__file__)", stand_in=True).stdout


@cache
def shown(stand_in: bool) -> list[tuple[str, str]]:
    """Return the outputs of each case of SHOWN."""
    return said(SHOWN, stand_in)


@pytest.mark.parametrize("case", range(len(SHOWN)), ids=lambda case: " ".join(SHOWN[case]))
def test_all_that_is_said_is_the_same(case: int):
    assert shown(stand_in=True)[case] == shown(stand_in=False)[case]


def test_a_run_goes_on_after_a_fault():
    *others, (output, errors) = shown(stand_in=True)
    assert "Attempt 2" in output and "failed (exitcode: -9)" in errors
    assert not any(errors for _, errors in others)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_configs_and_the_catalog_pass_their_own_tests():
    unit = "tests/unit/accelerate_sim"
    folders = [f"{unit}/config", f"{unit}/catalog", f"{unit}/session/test_random_run.py"]
    done = python("-m", "pytest", *folders, "-n", "0", stand_in=True, limit_s=550)
    assert done.returncode == 0, done.stdout[-5000:]
