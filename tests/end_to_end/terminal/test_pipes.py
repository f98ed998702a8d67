"""Output that is no terminal: plain lines, the same bytes every time, and a quiet end when nobody reads."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.support.emulator import DEADLINE_S, Terminal, environment, is_training, train_command, warm_train
from tests.support.made_once import made_once
from tests.support.processes import Children, until
from tests.support.repository import ROOT
from tests.support.warm_train import run_train, run_warm

LLAMA = ("--config", "configs/llama70b.yaml", "--start-time", "2026-01-01")
SMALL = ("--config", "configs/debug.yaml", "--start-time", "2026-01-01", "--speed", "max")
PROMPT_S = 3.0


def run(*arguments: str, env: Mapping[str, str | None] | None = None) -> bytes:
    """Standard output of a whole run; nothing on standard error, exit code 0."""
    result = subprocess.run(
        train_command(*arguments), cwd=ROOT, env=environment(env), capture_output=True, timeout=DEADLINE_S, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout


def warm_run(*arguments: str, env: Mapping[str, str | None] | None = None) -> bytes:
    """The same where it does not matter how the interpreter was started."""
    result = run_warm(arguments, environment(env), ROOT)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.encode()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Bytes that the small run writes to a pipe."""
    return made_once(tmp_path_factory, "bytes_on_a_pipe", lambda _: run(*SMALL))


# --- Plain lines ----------------------------------------------------------------------------------


def test_a_pipe_gets_plain_lines(plain: bytes):
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", plain), "no escape, no carriage return, no tab"
    assert plain.endswith(b"\n")
    assert b"\n\n" not in plain


def test_on_a_pipe_a_bar_is_a_line_now_and_then(plain: bytes):
    lines = plain.decode().split("\n")
    assert sum(line.startswith("Epoch 1/2: ") for line in lines) == 10
    assert sum(line.startswith("Initializing weights: 100%|") for line in lines) == 1
    assert all(len(line) < 120 for line in lines if "%|" in line)


def test_without_progress_there_are_no_bars():
    text = warm_run(*SMALL, "--no-progress").decode()
    assert "%|" not in text and "█" not in text


def test_the_same_run_is_the_same_bytes_wherever_it_runs(plain: bytes):
    elsewhere = {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7", "COLUMNS": "33", "LINES": "7", "TERM": None}
    assert run(*SMALL, env=elsewhere) == plain


def test_speed_does_not_change_what_is_said(plain: bytes):
    assert warm_run(*SMALL[:-2], "--set", "run.speed=20", "--set", "run.startup_speed=3000") == plain


# --- What the environment asks for ----------------------------------------------------------------


def test_force_color_colours_a_pipe_and_nothing_else(plain: bytes):
    colored = warm_run(*SMALL, env={"FORCE_COLOR": "1"})
    assert set(re.findall(rb"\x1b\[?[^a-zA-Z]*.", colored)) >= {b"\x1b[0m", b"\x1b[32m"}
    assert re.sub(rb"\x1b\[[0-9;]*m", b"", colored) == plain


def test_no_color_wins_over_force_color(plain: bytes):
    assert warm_run(*SMALL, env={"FORCE_COLOR": "1", "NO_COLOR": "1"}) == plain


def test_no_color_leaves_a_terminal_its_bars():
    with Terminal(warm_train(*LLAMA, "--speed", "1500"), 80, 24, env={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for("step 10 |")
        terminal.wait_until(lambda: is_training(terminal), "bars")
        assert not re.search(rb"\x1b\[[0-9;]*m", terminal.raw)


def test_a_terminal_is_coloured():
    with Terminal(warm_train(*LLAMA), 80, 24) as terminal:
        terminal.wait_for("Loading model")
        assert b"\x1b[32mINFO\x1b[0m" in terminal.raw


def test_a_dumb_terminal_is_a_pipe(plain: bytes):
    with Terminal(warm_train(*SMALL, "--runs", "1"), 80, 24, env={"TERM": "dumb"}) as terminal:
        assert terminal.exit_code() == 0
        assert terminal.raw.replace(b"\r\n", b"\n") == plain


@pytest.mark.parametrize(
    "arguments, env",
    [
        (("--ascii",), {}),
        ((), {"LC_ALL": "C"}),
        ((), {"PYTHONIOENCODING": "ascii"}),
    ],
)
def test_ascii_where_there_is_no_more(plain: bytes, arguments: tuple[str, ...], env: dict[str, str]):
    text = run(*SMALL, *arguments, env=env) if env else warm_run(*SMALL, *arguments)
    assert text.isascii()
    assert b"?" not in text, "every character has a plain form"
    assert text.count(b"\n") == plain.count(b"\n")


def test_ascii_on_a_terminal_is_ascii_too():
    with Terminal(warm_train(*LLAMA, "--speed", "1500", "--ascii"), 120, 40) as terminal:
        terminal.wait_for("step 10 |")
        terminal.wait_until(lambda: is_training(terminal), "bars")
        assert terminal.raw.isascii()


def test_without_a_locale_the_output_is_utf8(plain: bytes):
    """As in most containers."""
    assert run(*SMALL, env={"LANG": None}) == plain


# --- Nobody reads ---------------------------------------------------------------------------------


def shell(script: str) -> subprocess.CompletedProcess[str]:
    """``script`` in a shell in which ``train`` is the command."""
    function = f'train() {{ "{sys.executable}" "{ROOT / "train.py"}" "$@"; }}\n'
    return subprocess.run(
        ["/bin/sh", "-c", function + script], cwd=ROOT, env=environment(), capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip


def test_head_takes_what_it_wants_and_the_run_ends_quietly():
    """Within the deadline of ``shell``, though the run would go on for minutes."""
    result = shell(f"{{ train {' '.join(LLAMA)}; echo status $? >&2; }} | head -3")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "status 141\n"


@pytest.mark.parametrize("speed", [pytest.param("1000", marks=pytest.mark.slow), "max"])
def test_a_reader_that_leaves_in_the_middle_ends_the_run(speed: str):
    command = train_command(*LLAMA, "--speed", speed)
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        while b" step 10 |" not in process.stdout.readline():
            pass
        process.stdout.close()
        try:
            assert process.wait(PROMPT_S) == 141
            assert process.stderr.read() == b""
        finally:
            process.kill()


class OnAPipe:
    """``with OnAPipe(arguments) as run``: train.py in a fork, with its output on a pipe that the test reads or not."""

    def __init__(self, *arguments: str) -> None:
        reader, self.writer = os.pipe()
        self.output = open(reader, "rb")  # noqa: SIM115 - as long as this object

        def body(errors: int) -> None:
            os.close(reader)
            run_train(arguments, environment(), ROOT, self.writer, errors)

        self._children = Children()
        self._child = self._children.fork(body, pipes=1)
        self.send_signal = self._child.send_signal

    def __enter__(self) -> OnAPipe:
        return self

    def __exit__(self, *error: object) -> None:
        self._children.close()
        self.output.close()
        self.close_writer()

    def close_writer(self) -> None:
        """Leave the run as the only one that can write."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def read_until(self, text: bytes) -> None:
        """Read lines until one has the text."""
        while text not in (line := self.output.readline()):
            assert line, "the output has ended"

    def end(self) -> tuple[int | None, bytes]:
        """Exit code and standard error of a run that is about to end."""
        self._children.read_until(lambda: self._child.done, "the run has ended", PROMPT_S)
        return self._child.exit_code, self._child.outputs[0]


def test_a_run_that_waits_notices_at_once_that_nobody_reads():
    """Its next line would be written only minutes later."""
    with OnAPipe(
        "--config", "configs/llama70b.yaml", "--set", "run.startup_speed=3000", "--set", "run.speed=0.1"
    ) as run:
        run.close_writer()
        run.read_until(b"Training llama-3-70b")
        run.output.close()
        assert run.end() == (141, b"")


def wait_until_full(pipe: int) -> None:
    """Until nothing more can be written to this end."""
    until(lambda: not select.select([], [pipe], [], 0)[1], "the pipe is full")


def test_a_signal_is_heard_while_the_reader_takes_nothing():
    with OnAPipe(*LLAMA, "--speed", "max") as run:
        wait_until_full(run.writer)
        run.send_signal(signal.SIGTERM)
        assert run.end() == (143, b"")


def test_a_signal_on_a_pipe_ends_it_with_a_whole_line():
    with OnAPipe(*LLAMA, "--speed", "1000") as run:
        run.close_writer()
        run.read_until(b" step 10 |")
        run.send_signal(signal.SIGTERM)
        rest = run.output.read()
        assert run.end() == (143, b"")
        *_, last, after = rest.decode().split("\n")
        assert last.startswith("Terminated: epoch 1/3, step ") and after == ""


@pytest.mark.parametrize("closed", [pytest.param(">&-", marks=pytest.mark.slow), ">&- 2>&- <&-"])
def test_a_closed_stream_is_no_error(closed: str):
    result = shell(f"train {' '.join(SMALL)} {closed}; echo status $? >&2")
    assert result.stderr == "status 0\n"


def test_a_closed_output_does_not_end_up_in_the_metrics(tmp_path: os.PathLike[str]):
    directory = os.path.join(tmp_path, "run")
    result = shell(f"train {' '.join(SMALL)} --output-dir '{directory}' >&-; echo status $? >&2")
    assert result.stderr == "status 0\n"
    with open(os.path.join(directory, "metrics.jsonl")) as file:
        assert all(line.startswith('{"event":') for line in file)


# --- How often ------------------------------------------------------------------------------------


def test_on_a_pipe_a_run_is_played_once(plain: bytes):
    assert plain.count(b"Loading model") == plain.count(b"Training finished successfully") == 1


def test_on_a_terminal_runs_follow_each_other():
    with Terminal(warm_train(*SMALL), 120, 40) as terminal:
        terminal.wait_until(lambda: terminal.everything.count("Loading model") >= 3, "a third run")


def test_runs_end_after_the_number_asked_for():
    with Terminal(warm_train(*SMALL, "--runs", "2", "--max-steps", "2"), 120, 40) as terminal:
        assert terminal.exit_code() == 0
        assert terminal.everything.count("Training finished successfully") == 2
        assert terminal.cursor == (0, len(terminal.used_lines))
