"""Fixtures of all tests: train.py as a function, runs that many tests read, and the check of what is left running."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.made_once import made_once
from tests.support.processes import AT_SESSION_END, SessionMark, described, until
from tests.support.reading import Completed, Play, Played, Train
from tests.support.repository import ROOT
from tests.support.surroundings import forget_surroundings

START = "2026-01-01T00:00:00"
LIMIT_S = 60
LEFT_S = 10.0
"""Longest time that a process may take to end after the last test."""
MOST_WORKERS = 4
"""Most pytest processes; long tests start processes of their own."""
WAITING_WORKERS = 2
"""Pytest processes more than there are cores: tests of programs wait a third of their time, for timeouts and clocks.

Each one reads all files, for 4 to 6 seconds of processor time. With one less, two cores idle for a fifth of the run.
"""
WORKER = "PYTEST_XDIST_WORKER"
"""Variable that pytest-xdist sets in each of its processes."""
MARKED = {ROOT / "tests" / "against_real", ROOT / "tests" / "benchmarks"}
"""Folders in which every test has the marker ``real`` or ``slow``: a plain run does not even read their files."""
BYTECODE = ROOT / ".pytest_cache" / "bytecode"
"""Place for byte code where the surroundings forbid it beside the sources."""

if sys.dont_write_bytecode:
    # Without byte code every test process would rewrite the assertions of all files, and every child compile ours.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(BYTECODE)

# On a busy machine an example takes long, and so does drawing it; neither says anything of the code.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the whole suite in several processes if pytest-xdist is installed, unless ``-n`` says otherwise.

    Tests that are named on the command line, that measure (``-m slow``) or that are debugged stay in one process.
    """
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and "not slow" in option.markexpr
    looked_at = option.usepdb or option.collectonly or option.capture == "no"
    if config.pluginmanager.has_plugin("xdist") and WORKER not in os.environ and whole and not looked_at:
        if option.numprocesses is None:
            option.numprocesses = min((os.cpu_count() or 1) + WAITING_WORKERS, MOST_WORKERS)
        if option.dist == "no":
            option.dist = "worksteal"  # neighbours share their fixtures


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over the folders of marked tests when both markers are excluded, unless one is named."""
    excluded = all(f"not {marker}" in config.option.markexpr for marker in ("slow", "real"))
    named = any(collection_path.name in argument for argument in config.args)
    return True if collection_path in MARKED and excluded and not named else None


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[pytest.CollectReport]:
    """Let each of several processes begin with other files, so that it finds byte code that the others have made."""
    report = yield
    if WORKER in os.environ and isinstance(collector, pytest.Directory):
        number, count = int(os.environ[WORKER].removeprefix("gw")), int(os.environ[f"{WORKER}_COUNT"])
        first = len(report.result) * number // count
        report.result = [*report.result[first:], *report.result[:first]]
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests by file, as they are before ``pytest_make_collect_report``: all processes need the same order."""
    if WORKER in os.environ:
        items.sort(key=lambda item: item.path.parts)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Keep the collector away from the thousands of tests, which all live until the end.

    Later it would walk through them again and again, in this process and in each of its forked children.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000)  # the short life of most objects of a test is no reason to look for cycles so often
        gc.enable()


def pytest_configure() -> None:
    """Undo what every child would inherit: variables of the surroundings, and signals that nohup or a shell ignores."""
    forget_surroundings()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGQUIT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left(home: Path) -> Iterator[None]:
    """Fail the session if a process that a test started is still there when the last test has ended."""
    mark = SessionMark(home / "mark")
    yield
    AT_SESSION_END.close()
    gc.collect()  # a caught exception's frame may hold what ends a process when it is deleted
    try:
        until(lambda: not mark.pids(), "all processes of the tests are gone", LEFT_S)
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), *described(mark.pids())])) from None


@pytest.fixture(scope="session", autouse=True)
def temporary_files(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put temporary files of this process and its children below pytest's directory, which it deletes later.

    The hundreds of programs use the same byte code as this process.
    """
    os.environ["TMPDIR"] = str(home)
    tempfile.tempdir = None
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if sys.pycache_prefix is not None:
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    yield
    if sys.pycache_prefix is not None:  # byte code of scripts that tests have written
        shutil.rmtree(f"{sys.pycache_prefix}{tmp_path_factory.getbasetemp()}", ignore_errors=True)


def setting(*changes: str) -> list[str]:
    """Arguments that set keys, each given as ``section.key=value``."""
    return [word for change in changes for word in ("--set", change)]


def environment(home: Path) -> dict[str, str]:
    """Environment for a child: home and temporary directory are ``home``."""
    return os.environ | {"HOME": str(home), "TMPDIR": str(home), "PYTHONUTF8": "1"}


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home and temporary directory of every process that the tests start."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def train(home: Path) -> Train:
    """``train(*arguments, cwd=...)`` runs train.py with its output on pipes, by default in the repository."""
    from tests.support.warm_train import run_warm  # loads it all, which most tests can do without

    def run(*arguments: str, cwd: Path = ROOT) -> Completed:
        return run_warm(arguments, environment(home), cwd)

    return run


@pytest.fixture(scope="session")
def new_python(home: Path) -> Train:
    """Like ``train``, in a new interpreter: for tests of how a program starts and ends."""

    def run(*arguments: str, cwd: Path = ROOT) -> Completed:
        return subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *arguments],
            cwd=cwd, env=environment(home), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            encoding="utf-8", timeout=LIMIT_S, check=False,
        )  # fmt: skip

    return run


def played_in(directory: Path, train: Train, arguments: Sequence[str]) -> Played:
    """Run train.py at full speed with its files in this directory; it must succeed."""
    done = train(*arguments, "--speed", "max", "--start-time", START, "--output-dir", str(directory))
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return Played(done.stdout, directory)


@pytest.fixture(scope="session")
def play(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """``play(*arguments)`` runs train.py to its end at full speed, with a metrics file, and must succeed."""

    numbers = itertools.count(100)

    def run(*arguments: str) -> Played:
        # The output shows the path, so all paths have the same length.
        directory = tmp_path_factory.mktemp(f"run{next(numbers)}", numbered=False) / "out"
        return played_in(directory, train, arguments)

    return run


@pytest.fixture(scope="session")
def play_once(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Played]:
    """``play_once(number, *arguments)``: like ``play``, but one run for all pytest processes, which no test changes."""
    ours = tmp_path_factory.getbasetemp()
    shared = ours.parent / "played-gw" if WORKER in os.environ else ours  # as long as the name of a process

    def run(number: int, *arguments: str) -> Played:
        directory = shared / f"run{number}" / "out"
        return made_once(tmp_path_factory, f"run{number}", lambda _: played_in(directory, train, arguments))

    return run


@pytest.fixture(scope="session")
def llama(play_once: Callable[..., Played]) -> Played:
    """Llama 3 70B on 64 GPUs, shortened to 402 steps; of a seed with a hot and a slow GPU so early."""
    changes = setting("train.steps_per_epoch=134", "checkpoint.every=60")
    return play_once(901, "--config", "configs/llama70b.yaml", "--seed", "178", *changes)


@pytest.fixture(scope="session")
def small(play_once: Callable[..., Played]) -> Played:
    """The debug config, 20 steps of GPT-2 on 4 GPUs, each with its detail line."""
    return play_once(902, "--config", "configs/debug.yaml", "--set", "log.every=1")


@pytest.fixture(scope="session")
def experts(play_once: Callable[..., Played]) -> Played:
    """A mixture of experts in a pipeline, 240 steps, each with its detail line; a validation every 80."""
    changes = setting("train.max_steps=240", "log.every=1", "checkpoint.every=80", "eval.every=80")
    return play_once(903, "--config", "configs/mixtral8x7b.yaml", *changes)


@pytest.fixture(scope="session")
def drawn(play_once: Callable[..., Played]) -> Played:
    """A run drawn without a config, but on 8 nodes, of two short epochs, each step with its detail line."""
    short = setting("train.epochs=2", "train.steps_per_epoch=120", "train.warmup_steps=20")
    return play_once(904, "--seed", "7", *short, *setting("cluster.nodes=8", "log.every=1"))
