"""The launcher's own lines have torchrun's form, and LOGLEVEL decides which are written."""

from __future__ import annotations

import logging
import os
import re
import sys
import time

import pytest

from fake_torch_dist.launcher.reports import log_messages
from fake_torch_dist.launcher.reports.log_messages import LauncherLog, LogMessage, level_named

NOON_S = time.mktime((2026, 11, 21, 12, 5, 9, 0, 0, -1)) + 0.1239


def log_to(lines: list[str], level: int = logging.WARNING) -> LauncherLog:
    return LauncherLog(lines.append, level=level, now=lambda: NOON_S, pid=12604)


def test_a_line_has_letter_date_milliseconds_process_and_torchruns_place() -> None:
    written: list[str] = []
    log_to(written).emit(log_messages.SENDING_SIGNAL, pid=12608, signal="SIGTERM")
    assert written == [
        "W1121 12:05:09.123000 12604 torch/distributed/elastic/multiprocessing/api.py:1028] "
        "Sending process 12608 closing signal SIGTERM\n"
    ]


def test_every_line_of_a_message_has_the_prefix_and_all_come_in_one_write() -> None:
    written: list[str] = []
    log_to(written).emit(log_messages.OMP_NUM_THREADS, threads=1)
    (block,) = written
    prefix = "W1121 12:05:09.123000 12604 torch/distributed/run.py:874] "
    stars = "*" * 41
    assert [line.removeprefix(prefix) for line in block.splitlines()] == [
        "",
        stars,
        "Setting OMP_NUM_THREADS environment variable for each process to be 1 in default, to avoid your system being "
        "overloaded, please further tune the variable for optimal performance in your application as needed. ",
        stars,
    ]
    assert block.count(prefix) == 4


def test_braces_in_a_field_are_left_alone() -> None:
    written: list[str] = []
    log_to(written).emit(log_messages.REPLY_FILE_MALFORMED, path="/x/{pid}", reason="KeyError: '{}'")
    assert [line.split("] ", 1)[1] for line in written[0].splitlines()] == [
        "Failed to parse reply file: /x/{pid}",
        "KeyError: '{}'",
    ]


@pytest.mark.parametrize(
    ("level", "letters"), [("DEBUG", "IWE"), ("INFO", "IWE"), ("WARNING", "WE"), ("error", "E"), ("CRITICAL", "")]
)
def test_levels(level: str, letters: str) -> None:
    written: list[str] = []
    log = log_to(written, level_named(level))
    for message in (log_messages.STARTING_GROUP, log_messages.DEATH_SIGNAL, log_messages.NO_PARENT_ERROR_FILE):
        log.emit(message, role="default", signal=15, path="/x")
        assert log.enabled(message) == (message.letter in letters)
    assert "".join(line[0] for line in written) == letters


def test_level_unset_is_warning_and_an_unknown_one_is_named() -> None:
    assert level_named(None) == logging.WARNING
    with pytest.raises(ValueError, match=r"^Unknown level: 'loud' \(LOGLEVEL\); use DEBUG, INFO,"):
        level_named("loud")


def test_our_own_lines_name_the_place_where_they_are_said() -> None:
    written: list[str] = []
    log_to(written).emit(log_messages.SECOND_SIGNAL, signal=2)
    assert f"] {log_messages.SECOND_SIGNAL.text.format(signal=2)}\n" in written[0]
    found = re.search(r" 12604 (\S+)\.py:(\d+)]", written[0])
    assert found and found[1].replace("/", ".") == __name__
    line = sys._getframe().f_lineno
    assert line - 10 < int(found[2]) < line


def test_a_log_made_before_a_fork_names_the_process_that_speaks() -> None:
    written: list[str] = []
    LauncherLog(written.append, now=lambda: NOON_S).emit(LogMessage("E", "here.py:1", "gone"))
    assert written == [f"E1121 12:05:09.123000 {os.getpid()} here.py:1] gone\n"]
