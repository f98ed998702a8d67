"""The report of failed ranks has torchrun's layout, and its root cause is what failed first."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fake_torch_dist.launcher.commandline.config import EntryKind
from fake_torch_dist.launcher.failures import ProcessFailure, root_cause
from fake_torch_dist.launcher.reports.report import child_failed_text, entry_name, report, signalled_text, without_files
from tests.support.observed_failures import HINT, MOMENT_S, failed, recorded


def test_report_of_four_ranks_of_which_one_raised() -> None:
    ranks = [failed(1), failed(0, -15, told_to_stop=True), failed(2, -15, told_to_stop=True)]
    assert report("raise1.py", ranks) == (
        "============================================================\n"
        "raise1.py FAILED\n"
        "------------------------------------------------------------\n"
        "Failures:\n"
        "[1]:\n"
        "  time      : 2026-11-21_20:48:22\n"
        "  host      : localhost\n"
        "  rank      : 0 (local_rank: 0)\n"
        "  exitcode  : -15 (pid: 12608)  (SIGTERM)\n"
        "  error_file: <N/A>\n"
        "  traceback : Signal 15 (SIGTERM) received by PID 12608\n"
        "[2]:\n"
        "  time      : 2026-11-21_20:48:22\n"
        "  host      : localhost\n"
        "  rank      : 2 (local_rank: 2)\n"
        "  exitcode  : -15 (pid: 12610)  (SIGTERM)\n"
        "  error_file: <N/A>\n"
        "  traceback : Signal 15 (SIGTERM) received by PID 12610\n"
        "------------------------------------------------------------\n"
        "Root Cause (first observed failure):\n"
        "[0]:\n"
        "  time      : 2026-11-21_20:48:22\n"
        "  host      : localhost\n"
        "  rank      : 1 (local_rank: 1)\n"
        "  exitcode  : 1 (pid: 12609) \n"
        "  error_file: <N/A>\n"
        f"  traceback : {HINT}\n"
        "============================================================"
    )


def test_rules_are_as_wide_as_the_longest_line_and_one_failure_has_no_others() -> None:
    text = report("x.py", [failed(3, -9, node="node1", local_rank=1)]).split("\n")
    assert text[0] == text[-1] == "=" * len("  traceback : Signal 9 (SIGKILL) received by PID 12611")
    assert text[2] == "-" * len(text[0])
    assert text[3:5] == ["Failures:", "  <NO_OTHER_FAILURES>"]
    assert "  host      : node1" in text and "  rank      : 3 (local_rank: 1)" in text


def test_a_recorded_traceback_is_indented_and_its_file_named(tmp_path: Path) -> None:
    file = recorded(tmp_path / "error.json")
    text = report("x.py", [failed(0, error_file=file)])
    assert f"  error_file: {file}\n" in text
    assert "  traceback : Traceback (most recent call last):\n    File\n  ValueError: boom\n  \n====" in text
    assert "  error_file: <N/A>\n" in report("x.py", without_files([failed(0, error_file=file)]))


def test_the_last_words_are_found_by_those_who_look_for_torchs() -> None:
    text = child_failed_text("x.py", [failed(0)])
    header, *frames = text[: text.index("torch.distributed.elastic.multiprocessing.errors.Child")].splitlines()
    assert header == "Traceback (most recent call last):"
    assert text.endswith("errors.ChildFailedError: \n" + report("x.py", [failed(0)]) + "\n")
    assert sum(line.startswith('  File "') for line in frames) in (6, 8)
    assert frames[-1] == "    raise ChildFailedError("
    signalled = signalled_text(14762, 15).splitlines()
    assert signalled[0] == header and signalled[-1] == (
        "torch.distributed.elastic.multiprocessing.api.SignalException: Process 14762 got signal: 15"
    )


@pytest.mark.parametrize("text", [child_failed_text("x.py", [failed(0)]), signalled_text(14762, 15)])
def test_a_collector_joins_the_last_words_to_one_record(text: str) -> None:
    """Rules of collectors: a frame, source lines and underlines are indented, what follows is the exception."""
    lines = text.splitlines()
    end = next(number for number, line in enumerate(lines[1:], 1) if not line.startswith("  "))
    for number, line in enumerate(lines[1:end], 1):
        named = re.fullmatch(r'  File "(/[^"]+|<frozen runpy>)", line \d+, in \S+', line)
        assert named or line.startswith("    ")
        if "^" in line:
            source = lines[number - 1]
            assert source[line.index("^") : line.rindex("^") + 1].strip(" ") and len(line) <= len(source)
    assert re.match(r"torch\.distributed\.elastic\.\S+: ", lines[end])


@pytest.mark.parametrize(
    ("exitcode", "name", "message"),
    [
        (3, "", HINT),
        (-11, " (SIGSEGV)", "Signal 11 (SIGSEGV) received by PID 12608"),
        (-40, "", "Signal 40 (<N/A>) received by PID 12608"),
    ],
)
def test_ends_without_an_error_file(exitcode: int, name: str, message: str) -> None:
    failure = failed(0, exitcode)
    assert (failure.message, failure.timestamp_s) == (message, MOMENT_S)
    assert f"  exitcode  : {exitcode} (pid: 12608) {name}\n" in report("x.py", [failure])


def test_a_failure_survives_the_way_to_the_launcher(tmp_path: Path) -> None:
    failure = failed(0, error_file=recorded(tmp_path / "error.json"))
    assert ProcessFailure(**json.loads(json.dumps(dataclasses.asdict(failure)))) == failure


@pytest.mark.parametrize(
    ("kind", "entrypoint", "python", "want"),
    [
        (EntryKind.SCRIPT, "dir/raise1.py", None, "dir/raise1.py"),
        (EntryKind.MODULE, "pkg.train", None, "pkg.train"),
        (EntryKind.PROGRAM, "./run.sh", None, "./run.sh"),
        (EntryKind.PROGRAM, "./run.sh", "/opt/python", "./run.sh"),
        (EntryKind.SCRIPT, "raise1.py", "/opt/python", "/opt/python"),
        (EntryKind.RUN_PATH, "/abs/raise1.py", None, "run_script_path"),
    ],
)
def test_title(kind: EntryKind, entrypoint: str, python: str | None, want: str) -> None:
    assert entry_name(kind, entrypoint, python) == want


# Which one is the root cause


def test_of_failures_in_the_same_second_the_first_counts(tmp_path: Path) -> None:
    """Error files count whole seconds; when they were written says the rest."""
    late = failed(0, error_file=recorded(tmp_path / "late", at_s=MOMENT_S + 0.7), after_s=0.8)
    early = failed(1, error_file=recorded(tmp_path / "early", at_s=MOMENT_S + 0.2), after_s=0.9)
    assert root_cause([late, early]) is early
    assert root_cause([late, failed(2, after_s=0.5)]).rank == 2


def test_a_fraction_does_not_change_the_second_that_is_shown(tmp_path: Path) -> None:
    file = Path(recorded(tmp_path / "error.json", at_s=MOMENT_S))
    for written_s, want in [(0.4, 0.4), (1.3, 0.999999), (-0.004, 0.0), (3600, 0.0), (-3600, 0.0)]:
        os.utime(file, (MOMENT_S + written_s,) * 2)
        assert failed(0, error_file=file).timestamp_s - MOMENT_S == pytest.approx(want, abs=1e-6)
        assert "  time      : 2026-11-21_20:48:22\n" in report("x.py", [failed(0, error_file=file)])


@pytest.mark.parametrize(
    "words",
    [
        "PeerGoneError: Connection closed by peer: rank 1 is gone (crashed, killed, or ended without waiting).",
        "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:17",
        "DistNetworkError: connection reset by peer",
    ],
)
def test_who_says_that_its_peer_is_gone_is_not_the_cause_though_seen_first(words: str, tmp_path: Path) -> None:
    victim = failed(0, error_file=recorded(tmp_path / "0", words, at_s=MOMENT_S + 0.001), after_s=0.05)
    killed = failed(1, -9, after_s=0.06)
    stopped = failed(2, -15, after_s=0.07, told_to_stop=True)
    assert root_cause([victim, killed, stopped]) is killed
    assert root_cause([victim, stopped]) is victim, "what the launcher stopped is an answer, too"
    much_later = failed(1, -9, after_s=60)
    assert root_cause([victim, much_later]) is victim


def test_of_ends_seen_at_once_the_killed_one_is_the_cause_and_then_the_first() -> None:
    assert root_cause([failed(0), failed(1, -11), failed(2)]).rank == 1
    assert root_cause([failed(2), failed(0)]).rank == 2


def test_a_rank_that_was_stopped_but_had_recorded_its_error_before_can_be_the_cause(tmp_path: Path) -> None:
    """Its end was slow: others ended of it before."""
    slow = failed(0, 1, after_s=5, told_to_stop=True, error_file=recorded(tmp_path / "0", at_s=MOMENT_S))
    assert root_cause([failed(1, after_s=0.5), slow]) is slow


def test_no_failure_has_no_cause() -> None:
    with pytest.raises(ValueError):
        root_cause([])


def test_ranks_that_were_told_to_stop_are_no_root_cause() -> None:
    told = replace(failed(1, -15), told_to_stop=True)
    lines = report("x.py", [told], "node 2 on h2 is gone").split("\n")
    assert lines[lines.index("Root Cause (first observed failure):") + 1 :][0] == "  <NOT_HERE>: node 2 on h2 is gone"
    assert "  exitcode  : -15 (pid: " in "\n".join(lines[: lines.index("Root Cause (first observed failure):")])
    own = report("x.py", [told, failed(0, 1)], "rank 0 failed")
    assert "<NOT_HERE>" not in own and "exitcode  : 1 " in own[own.index("Root Cause") :]
