"""The report of failed ranks has torchrun's layout, and its root cause is what failed first."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.launcher.commandline.config import EntryKind
from fake_torch_dist.launcher.reports import messages
from fake_torch_dist.launcher.reports.failures import (
    NOT_AVAILABLE,
    ProcessFailure,
    child_failed_text,
    entry_name,
    pass_signal_to_parent,
    pass_to_parent,
    report,
    root_cause,
    signalled_text,
    without_files,
)
from fake_torch_dist.launcher.reports.messages import LauncherLog

MOMENT_S = time.mktime((2026, 11, 21, 20, 48, 22, 0, 0, -1))
HINT = "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"


def failed(rank: int, exitcode: int = 1, after_s: float = 0.0, **given: Any) -> ProcessFailure:
    known: dict[str, Any] = {"node": "localhost", "error_file": None, "local_rank": rank} | given
    return ProcessFailure.observed(
        rank=rank, pid=12608 + rank, exitcode=exitcode, observed_s=MOMENT_S + after_s, **known
    )


def recorded(path: Path, message: str = "ValueError: boom", *, at_s: float = MOMENT_S) -> str:
    """An error file as torch and we write it, at that moment."""
    extra = {"py_callstack": f"Traceback (most recent call last):\n  File\n{message}\n", "timestamp": str(int(at_s))}
    path.write_text(json.dumps({"message": {"message": message, "extraInfo": extra}}))
    os.utime(path, (at_s, at_s))
    return str(path)


def lines_of(log: list[str]) -> list[str]:
    return [line.split("] ", 1)[1] for text in log for line in text.splitlines()]


def log_to(written: list[str]) -> LauncherLog:
    return LauncherLog(written.append)


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
    header, error, rest = text.split("\n", 2)
    assert header == "Traceback (most recent call last):"
    assert error == "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "
    assert rest == report("x.py", [failed(0)]) + "\n"
    assert signalled_text(14762, 15).split("\n") == [
        header,
        "torch.distributed.elastic.multiprocessing.api.SignalException: Process 14762 got signal: 15",
        "",
    ]


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


# Error files


@pytest.mark.parametrize(
    "text",
    [
        "", '{"message": {"mess', "[]", "5", "{}", '{"message": 5}', '{"message": {"message": "x"}}',
        '{"message": {"message": "x", "extraInfo": {"timestamp": "soon"}}}',
        '{"message": {"message": "x", "extraInfo": {"timestamp": 1e999}}}',
        '{"message": {"message": "x", "extraInfo": {"timestamp": "99999999999999999"}}}',
        '{"message": {"message": "x", "extraInfo": {"timestamp": "1", "py_callstack": 5}}}',
        "[" * 100_000, "\0\xff",
    ],
)  # fmt: skip
def test_a_malformed_error_file_costs_only_what_was_in_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "error.json"
    file.write_bytes(text.encode("latin-1"))
    failure = failed(0, -9, error_file=file)
    assert failure.malformed
    assert failure.error_file == str(file)
    assert dataclasses.replace(failure, malformed="", error_file=NOT_AVAILABLE) == failed(0, -9)
    log: list[str] = []
    pass_to_parent(failure, str(tmp_path / "parent.json"), log_to(log))
    assert not log and os.listdir(tmp_path) == ["error.json"]


def test_other_structures_that_torch_knows(tmp_path: Path) -> None:
    file = tmp_path / "error.json"
    file.write_text(json.dumps({"message": "out of memory\nsecond", "timestamp": str(int(MOMENT_S) + 9)}))
    failure = failed(0, error_file=file)
    assert (failure.message, failure.timestamp_s) == ("out of memory\nsecond", MOMENT_S + 9)
    file.write_text(json.dumps({"message": ""}))
    assert (failed(0, error_file=file).message, failed(0, error_file=file).timestamp_s) == (HINT, MOMENT_S)
    file.write_text(json.dumps({"message": {"extraInfo": {"timestamp": 5}}}))
    assert failed(0, error_file=file).message == NOT_AVAILABLE


# The launcher's own parent


def test_the_parents_file_gets_the_root_cause_and_its_exit_code(tmp_path: Path) -> None:
    file, parent, log = recorded(tmp_path / "error.json"), tmp_path / "parent.json", list[str]()
    pass_to_parent(failed(0, -6, error_file=file), str(parent), log_to(log))
    data = json.loads(parent.read_text())
    assert data["message"].pop("errorCode") == -6
    assert data == json.loads(Path(file).read_text())
    assert not log
    pass_to_parent(failed(0, error_file=file), str(parent), log_to(log))
    assert json.loads(parent.read_text())["message"]["errorCode"] == 1
    assert lines_of(log)[0] == f"{parent} already exists and will be overwritten. Original contents:"
    assert '    "errorCode": -6' in lines_of(log)


def test_without_a_parents_file_a_line_says_so_and_without_an_error_file_none_does(tmp_path: Path) -> None:
    log: list[str] = []
    pass_to_parent(failed(0), None, log_to(log))
    assert not log
    file = recorded(tmp_path / "error.json")
    pass_to_parent(failed(0, error_file=file), None, log_to(log))
    assert lines_of(log) == [f"no error file defined for parent, to copy child error file ({file})"]


def test_a_message_without_structure_is_passed_on_without_exit_code(tmp_path: Path) -> None:
    file, parent, log = tmp_path / "error.json", tmp_path / "parent.json", list[str]()
    file.write_text('{"message": "text", "timestamp": "5"}')
    pass_to_parent(failed(0, error_file=file), str(parent), log_to(log))
    assert json.loads(parent.read_text()) == {"message": "text", "timestamp": "5"}
    assert lines_of(log)[-1] == "skipping error code override"


def test_files_that_cannot_be_had_cost_a_line(tmp_path: Path) -> None:
    file, log = recorded(tmp_path / "error.json"), list[str]()
    root = failed(0, error_file=file)
    pass_to_parent(root, str(tmp_path / "absent" / "parent.json"), log_to(log))
    os.unlink(file)
    pass_to_parent(root, str(tmp_path / "parent.json"), log_to(log))
    unwritable, unreadable, _ = lines_of(log)
    assert unwritable.endswith("can't be written: No such file or directory. The root cause is in the report only")
    assert unreadable == f"Failed to parse reply file: {file}"


def test_the_parent_hears_of_a_signal_as_from_torchrun(tmp_path: Path) -> None:
    parent, log = tmp_path / "parent.json", list[str]()
    pass_signal_to_parent(14762, 15, str(parent), log_to(log))
    pass_signal_to_parent(14762, 15, None, log_to(log))
    message = json.loads(parent.read_text())["message"]
    assert message["message"] == "SignalException: Process 14762 got signal: 15"
    assert message["extraInfo"]["py_callstack"] == signalled_text(14762, 15)
    assert not log


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


# Against the real tool

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=90)
FAILURES = st.lists(
    st.tuples(st.sampled_from([1, 2, 77, -6, -9, -11, -15, -40]), st.none() | TEXTS | st.tuples(TEXTS, TEXTS)),
    min_size=1, max_size=5,
)  # fmt: skip


@pytest.mark.real
@given(ends=FAILURES, name=TEXTS)
def test_report_agrees_with_torchs(
    ends: list[tuple[int, str | tuple[str, str] | None]], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Excluded: control characters, and times that differ by less than a second, in which ours is finer."""
    torch_errors = pytest.importorskip("torch.distributed.elastic.multiprocessing.errors")
    import socket

    directory = tmp_path_factory.mktemp("errors")
    theirs, ours = {}, []
    for rank, (exitcode, message) in enumerate(ends):
        file = directory / f"{rank}.json"
        stamp = str(int(MOMENT_S) + rank)
        if isinstance(message, str):
            file.write_text(json.dumps({"message": message, "timestamp": stamp}))
        elif message is not None:
            extra = {"py_callstack": message[1], "timestamp": stamp}
            file.write_text(json.dumps({"message": {"message": message[0], "extraInfo": extra}}))
        theirs[rank] = torch_errors.ProcessFailure(local_rank=rank, pid=rank, exitcode=exitcode, error_file=str(file))
        if message is None:
            theirs[rank].timestamp = int(stamp)
        ours.append(
            ProcessFailure.observed(
                local_rank=rank, rank=rank, node=socket.getfqdn(), pid=rank, exitcode=exitcode,
                observed_s=float(stamp), error_file=file,
            )
        )  # fmt: skip
    ours = [dataclasses.replace(failure, blames_peer=False) for failure in ours]
    assert "\n" + report(name, ours) == torch_errors.ChildFailedError(name, theirs).format_msg()


def torchrun(tmp_path: Path, script: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real one, for a script under ``tmp_path``, with nothing left behind elsewhere."""
    found = shutil.which("torchrun", path=os.path.dirname(sys.executable)) or pytest.skip("torchrun is not installed")
    (tmp_path / "main.py").write_text(script)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "TORCHELASTIC_", "PET_"))}
    return subprocess.run(
        [found, "--log-dir", str(tmp_path / "logs"), *options, "main.py"], cwd=tmp_path, timeout=120, check=False,
        env=kept | {"TMPDIR": str(tmp_path)} | environment, capture_output=True, text=True,
    )  # fmt: skip


ENTRY = re.compile(
    r"\[(\d+)]:\n  time      : (\S+)\n  host      : (.+)\n  rank      : (\d+) \(local_rank: (\d+)\)\n"
    r"  exitcode  : (-?\d+) \(pid: (\d+)\) .*\n  error_file: (.*)\n"
)


def failures_in(text: str) -> list[ProcessFailure]:
    """What torchrun reported, observed again by us: only its numbers and its error files are taken over."""
    found = sorted(ENTRY.findall(text), key=lambda entry: int(entry[0]))
    return [
        ProcessFailure.observed(
            local_rank=int(local), rank=int(rank), node=host, pid=int(pid), exitcode=int(exitcode),
            observed_s=datetime.fromisoformat(when.replace("_", "T")).timestamp(), error_file=file,
            told_to_stop=int(exitcode) in (-9, -15),
        )
        for _, when, host, rank, local, exitcode, pid, file in found
    ]  # fmt: skip


RAISING = "import os, time\nfrom torch.distributed.elastic.multiprocessing.errors import record\n@record\ndef main():\n"
SCRIPTS = {
    "raises": "import os, time\nif os.environ['RANK'] == '1': raise ValueError('boom')\ntime.sleep(60)\n",
    "killed": "import os, time\nif os.environ['RANK'] == '1': os.abort()\ntime.sleep(60)\n",
    "recorded": RAISING + "    if os.environ['RANK'] == '1': raise ValueError('boom')\n    time.sleep(60)\nmain()\n",
}


@pytest.mark.real
@pytest.mark.parametrize("name", list(SCRIPTS))
def test_last_words_agree_with_torchruns(name: str, tmp_path: Path) -> None:
    done = torchrun(tmp_path, SCRIPTS[name], "--nproc-per-node", "3")
    assert done.returncode == 1
    told = failures_in(done.stderr)
    assert len(told) == 3
    error = done.stderr.index("torch.distributed.elastic.multiprocessing.errors.ChildFailedError")
    start = done.stderr.rindex("Traceback (most recent call last):\n", 0, error)
    header, *frames = done.stderr[start:error].splitlines(keepends=True)
    assert all(frame.startswith("  ") for frame in frames)
    assert child_failed_text("main.py", told) == header + done.stderr[error:]
    for line in own_lines(done.stderr, told):
        assert line in done.stderr


def own_lines(stderr: str, told: Sequence[ProcessFailure]) -> list[str]:
    """The launcher's lines about these failures as we write them, each at the time and by the process of torchrun."""
    root, *others = sorted(told, key=lambda failure: failure.told_to_stop)
    written: list[str] = []
    stamps = re.findall(r"^[EW](\d{4} \d\d:\d\d:\d\d\.\d{3})000 (\d+) \S+?(\w+\.py:\d+)] (.*)", stderr, flags=re.M)
    year = time.strftime("%Y ")

    def say(message: messages.Message, part: str, **fields: object) -> None:
        stamp, pid = next((stamp, pid) for stamp, pid, _, text in stamps if part in text)
        seconds = datetime.strptime(year + stamp, "%Y %m%d %H:%M:%S.%f").timestamp() + 5e-4
        LauncherLog(written.append, now=lambda: seconds, pid=int(pid)).say(message, **fields)

    say(messages.OMP_NUM_THREADS, "Setting OMP", threads=1)
    for failure in others:
        say(messages.SENDING_SIGNAL, f"Sending process {failure.pid} ", pid=failure.pid, signal="SIGTERM")
    binary = re.findall(r"of binary: (.*)", stderr)[0]
    fields = {"exitcode": root.exitcode, "local_rank": root.local_rank, "pid": root.pid, "binary": binary}
    say(messages.FAILED, "failed (exitcode", **fields)
    if root.error_file != NOT_AVAILABLE:
        say(messages.NO_PARENT_ERROR_FILE, "no error file defined", path=root.error_file)
    return written


@pytest.mark.real
def test_the_parents_file_agrees_with_torchruns(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.json", tmp_path / "ours.json"
    done = torchrun(tmp_path, SCRIPTS["recorded"], "--nproc-per-node", "2", TORCHELASTIC_ERROR_FILE=str(theirs))
    log: list[str] = []
    pass_to_parent(root_cause(failures_in(done.stderr)), str(ours), log_to(log))
    assert not log
    assert json.loads(ours.read_text()) == json.loads(theirs.read_text())


@pytest.mark.real
def test_a_malformed_file_is_named_as_torchrun_names_it(tmp_path: Path) -> None:
    """There the report is lost; its line is the same, and the exception's own words."""
    script = (
        "import os, sys\nopen(os.environ['TORCHELASTIC_ERROR_FILE'], 'w').write('{\"message\": {\"mess')\nsys.exit(3)\n"
    )
    done = torchrun(tmp_path, script)
    assert done.returncode == 1 and "ChildFailedError" not in done.stderr
    (file,) = tmp_path.glob("logs/*/attempt_0/0/error.json")
    failure = failed(0, 3, error_file=file)
    written: list[str] = []
    log_to(written).say(messages.REPLY_FILE_MALFORMED, path=file, reason=failure.malformed)
    first, second = (re.sub(r"\d{4} [\d:.]+ \d+", "", line) for line in written[0].splitlines())
    theirs = [re.sub(r"\d{4} [\d:.]+ \d+", "", line) for line in done.stderr.splitlines()]
    assert first in theirs
    assert any(line.endswith(second.split("] ", 1)[1]) for line in theirs)
