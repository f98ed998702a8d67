"""The report of failed ranks, the launcher's lines about them and its parent's error file are the real torchrun's."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.launcher.failures import NOT_AVAILABLE, ProcessFailure, root_cause
from fake_torch_dist.launcher.reports import log_messages
from fake_torch_dist.launcher.reports.log_messages import LauncherLog
from fake_torch_dist.launcher.reports.parent_error_file import pass_to_parent
from fake_torch_dist.launcher.reports.report import child_failed_text, report
from tests.support.observed_failures import MOMENT_S, failed, log_to

pytestmark = pytest.mark.real

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.just("\n"), max_size=90)
FAILURES = st.lists(
    st.tuples(st.sampled_from([1, 2, 77, -6, -9, -11, -15, -40]), st.none() | TEXTS | st.tuples(TEXTS, TEXTS)),
    min_size=1, max_size=5,
)  # fmt: skip


@given(ends=FAILURES, name=TEXTS.map(lambda text: "".join(filter(str.isprintable, text))))
def test_report_agrees_with_torchs(
    ends: list[tuple[int, str | tuple[str, str] | None]], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Excluded: control characters, in a name all that Python does not print, which ours writes as escapes there, and
    times that differ by less than a second, in which ours is finer."""
    torch_errors = pytest.importorskip("torch.distributed.elastic.multiprocessing.errors")
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
    return subprocess.run(
        [found, "--log-dir", str(tmp_path / "logs"), *options, "main.py"], cwd=tmp_path, timeout=120, check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)} | environment, capture_output=True, text=True,
    )  # fmt: skip


ENTRY = re.compile(
    r"\[(\d+)]:\n  time      : (\S+)\n  host      : (.+)\n  rank      : (\d+) \(local_rank: (\d+)\)\n"
    r"  exitcode  : (-?\d+) \(pid: (\d+)\) .*\n  error_file: (.*)\n"
)


def failures_in(text: str) -> list[ProcessFailure]:
    """Failures that torchrun reported, observed again by us: only its numbers and its error files are taken over."""
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


@pytest.mark.parametrize("name", list(SCRIPTS))
def test_last_words_agree_with_torchruns(name: str, tmp_path: Path) -> None:
    done = torchrun(tmp_path, SCRIPTS[name], "--nproc-per-node", "3")
    assert done.returncode == 1
    told = failures_in(done.stderr)
    assert len(told) == 3
    error = done.stderr.index("torch.distributed.elastic.multiprocessing.errors.ChildFailedError")
    start = done.stderr.rindex("Traceback (most recent call last):\n", 0, error)
    ours = child_failed_text("main.py", told)
    exception = ours.index("torch.distributed.elastic.multiprocessing.errors.ChildFailedError")
    assert ours[exception:] == done.stderr[error:]
    assert torchs_frames(ours[:exception]) == torchs_frames(done.stderr[start:error])
    for line in own_lines(done.stderr, told):
        assert line in done.stderr


def torchs_frames(text: str) -> list[tuple[str, str, str]]:
    """The files of torch's frames below its folder, with functions and source lines."""
    return re.findall(r'  File "[^"]*?/(torch/\S+)", line \d+, in (\S+)\n +(.*)\n', text)


def own_lines(stderr: str, told: Sequence[ProcessFailure]) -> list[str]:
    """The launcher's lines about these failures as we write them, each at the time and by the process of torchrun."""
    root, *others = sorted(told, key=lambda failure: failure.told_to_stop)
    written: list[str] = []
    stamps = re.findall(r"^[EW](\d{4} \d\d:\d\d:\d\d\.\d{3})000 (\d+) \S+?(\w+\.py:\d+)] (.*)", stderr, flags=re.M)
    year = time.strftime("%Y ")

    def say(message: log_messages.LogMessage, part: str, **fields: object) -> None:
        stamp, pid = next((stamp, pid) for stamp, pid, _, text in stamps if part in text)
        seconds = datetime.strptime(year + stamp, "%Y %m%d %H:%M:%S.%f").timestamp() + 5e-4
        LauncherLog(written.append, now=lambda: seconds, pid=int(pid)).emit(message, **fields)

    say(log_messages.OMP_NUM_THREADS, "Setting OMP", threads=1)
    for failure in others:
        say(log_messages.SENDING_SIGNAL, f"Sending process {failure.pid} ", pid=failure.pid, signal="SIGTERM")
    binary = re.findall(r"of binary: (.*)", stderr)[0]
    fields = {"exitcode": root.exitcode, "local_rank": root.local_rank, "pid": root.pid, "binary": binary}
    say(log_messages.FAILED, "failed (exitcode", **fields)
    if root.error_file != NOT_AVAILABLE:
        say(log_messages.NO_PARENT_ERROR_FILE, "no error file defined", path=root.error_file)
    return written


def test_the_parents_file_agrees_with_torchruns(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.json", tmp_path / "ours.json"
    done = torchrun(tmp_path, SCRIPTS["recorded"], "--nproc-per-node", "2", TORCHELASTIC_ERROR_FILE=str(theirs))
    log: list[str] = []
    pass_to_parent(root_cause(failures_in(done.stderr)), str(ours), log_to(log))
    assert not log
    assert json.loads(ours.read_text()) == json.loads(theirs.read_text())


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
    log_to(written).emit(log_messages.REPLY_FILE_MALFORMED, path=file, reason=failure.malformed)
    first, second = (re.sub(r"\d{4} [\d:.]+ \d+", "", line) for line in written[0].splitlines())
    theirs = [re.sub(r"\d{4} [\d:.]+ \d+", "", line) for line in done.stderr.splitlines()]
    assert first in theirs
    assert any(line.endswith(second.split("] ", 1)[1]) for line in theirs)
