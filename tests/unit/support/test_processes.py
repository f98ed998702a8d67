"""The harness for child processes ends what it starts, and the mark of a session finds what others left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import SESSION_MARK, Children, SessionMark, exit_codes, pids_with_variable, state_of, until


def ends_by(number: int) -> None:
    os.kill(os.getpid(), number)


def test_exit_codes_are_zero_one_after_an_error_and_negative_after_a_signal(capfd: pytest.CaptureFixture[str]) -> None:
    assert exit_codes(lambda: None, lambda: 1 / 0, lambda: ends_by(signal.SIGKILL)) == [0, 1, -signal.SIGKILL]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_output_of_each_pipe_is_read_however_much_it_is() -> None:
    def body(first: int, second: int) -> None:
        for _ in range(100):
            os.write(first, b"x" * 10_000)
        os.write(second, b"done")

    with Children() as children:
        child = children.fork(body, pipes=2)
        assert children.wait() == [0]
    assert child.outputs == [b"x" * 1_000_000, b"done"]


def test_a_character_that_has_been_read_in_part_is_not_yet_in_the_text() -> None:
    def body(writer: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        os.write(writer, "65 °".encode()[:-1])
        signal.sigwait([signal.SIGUSR1])
        os.write(writer, "°C".encode()[1:])

    with Children() as children:
        child = children.fork(body, pipes=1)
        children.read_until(lambda: len(child.outputs[0]) == 4, "the first half")
        assert child.text(0) == "65 "
        child.send_signal(signal.SIGUSR1)
        assert children.wait() == [0]
        assert child.text(0) == "65 °C"


def test_all_that_has_been_written_is_read_without_waiting_for_more() -> None:
    def body(writer: int, up: int) -> None:
        os.write(writer, b"x" * 50_000)
        os.write(up, b"up")
        signal.pause()

    with Children() as children:
        child = children.fork(body, pipes=2)
        children.read_until(lambda: child.outputs[1] == b"up", "it has written")
        children.read_what_is_there()
        assert child.outputs[0] == b"x" * 50_000


def test_the_end_of_the_block_kills_and_reaps_what_waits_or_is_stopped() -> None:
    with Children() as children:
        found = [children.fork(signal.pause) for _ in range(2)]
        found[0].send_signal(signal.SIGSTOP)
    assert [child.exit_code for child in found] == [-signal.SIGKILL] * 2
    assert all(child.done and not state_of(child.pid) for child in found)


def test_a_deadline_names_what_was_waited_for_and_the_output() -> None:
    def body(writer: int) -> None:
        os.write(writer, b"half of it")
        signal.pause()

    with Children() as children:
        child = children.fork(body, pipes=1)
        children.read_until(lambda: child.outputs == [b"half of it"], "half")
        with pytest.raises(AssertionError, match=r"^not within 0\.01 s: the rest; output by process: .*half of it"):
            children.read_until(lambda: False, "the rest", 0.01)


def test_a_child_has_no_read_end_so_a_reader_that_leaves_is_noticed() -> None:
    def waits(writer: int) -> None:
        os.write(writer, b"up")
        signal.pause()

    def body(writer: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        os.write(writer, b"up")
        signal.sigwait([signal.SIGUSR1])
        try:
            os.write(writer, b"more")
        except BrokenPipeError:
            os._exit(7)

    with Children() as children:
        child = children.fork(body, pipes=1)
        other = children.fork(waits, pipes=1)  # has inherited, and closed, the read end of the first
        children.read_until(lambda: child.outputs == other.outputs == [b"up"], "both are up")
        (reader,) = child.written
        children.leave(reader)
        child.send_signal(signal.SIGUSR1)
        children.read_until(lambda: child.exit_code == 7, "it notices")


def test_the_mark_of_a_session_finds_programs_and_forked_orphans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SESSION_MARK, "")  # restores the real session's afterwards
    mark = SessionMark(tmp_path / "mark")
    assert mark.pids() == []

    def body(writer: int) -> None:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        os.write(writer, str(pid).encode())

    with (
        Children() as children,
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as program,
    ):
        parent = children.fork(body, pipes=1)
        children.read_until(lambda: parent.exit_code == 0, "the parent has ended")
        orphan = int(parent.outputs[0])
        try:
            until(lambda: mark.pids() == sorted([orphan, program.pid]), "both are found")
        finally:
            os.kill(orphan, signal.SIGKILL)
            program.kill()
    until(lambda: mark.pids() == [], "none is left")
    assert pids_with_variable("NO_SUCH_VARIABLE", "") == []
