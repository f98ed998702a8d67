"""The end of a job: orderly, by failures, by signals, by a reader that goes away; and its restart."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import termios

import pytest

from tests.support.launched import Jobs
from tests.support.processes import until

WAIT = "import os, time\nprint('up', os.environ['RANK'])\ntime.sleep(600)\n"
STUBBORN = "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)\n" + WAIT


def fails_on(rank: int, how: str) -> str:
    return f"import os, sys, time, signal\nif os.environ['RANK'] == '{rank}':\n    {how}\ntime.sleep(600)\n"


@pytest.mark.parametrize(
    ("how", "exitcode", "words"),
    [
        ("raise ValueError('boom')", "1", "To enable traceback see"),
        ("sys.exit(3)", "3", "To enable traceback see"),
        ("os.kill(os.getpid(), 9)", "-9", "Signal 9 (SIGKILL) received by PID"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "-11", "Signal 11 (SIGSEGV) received by PID"),
        ("os.kill(os.getpid(), 2)", "-2", "Signal 2 (SIGINT) received by PID"),
    ],
)
def test_the_first_failure_ends_all_and_is_the_root_cause(jobs: Jobs, how: str, exitcode: str, words: str) -> None:
    ended = jobs.run(fails_on(2, how), "--nproc-per-node", "4")
    assert ended.code == 1
    report = ended.err[ended.err.index("ChildFailedError") :]
    root = report[report.index("Root Cause (first observed failure):") :]
    assert "rank      : 2 (local_rank: 2)" in root
    assert f"exitcode  : {exitcode} (pid:" in root and words in root
    assert len(re.findall(r"exitcode  : -15 \(pid: \d+\)  \(SIGTERM\)", report)) == 3
    assert ended.err.count("closing signal SIGTERM") == 3
    if "raise" in how:
        assert 'File "' + str(jobs.directory / "job.py") + '", line 3, in <module>' in ended.err
        assert "launcher/script.py" not in ended.err


def test_ranks_that_end_well_end_nobody(jobs: Jobs) -> None:
    script = "import os, sys, time\nif os.environ['RANK'] == '0': sys.exit(0)\ntime.sleep(0.3)\nprint('done')"
    ended = jobs.run(script, "--nproc-per-node", "3")
    assert (ended.code, ended.lines, ended.err) == (0, ["done"] * 2, "")


def test_a_failure_on_one_node_ends_the_others(jobs: Jobs) -> None:
    ended = jobs.run(fails_on(5, "sys.exit(7)"), "--nnodes", "3", "--nproc-per-node", "2")
    assert ended.code == 1
    root = ended.err[ended.err.index("Root Cause") :]
    assert "host      : node2" in root and "rank      : 5 (local_rank: 1)" in root and "exitcode  : 7" in root


def test_a_recorded_error_is_in_the_report_and_goes_to_the_parents_file(jobs: Jobs) -> None:
    script = """
from fake_torch_dist.elastic_errors import record
import os, time
@record
def main():
    if os.environ["RANK"] == "1":
        raise ValueError("boom")
    time.sleep(600)
main()
"""
    reply = jobs.directory / "reply.json"
    ended = jobs.run(script, "--nproc-per-node", "2", TORCHELASTIC_ERROR_FILE=str(reply))
    root = ended.err[ended.err.index("Root Cause") :]
    assert "ValueError: boom" in root and "in main" in root
    assert '"errorCode": 1' in reply.read_text()


def test_restarts_begin_the_whole_world_again(jobs: Jobs) -> None:
    script = """
import os, sys, time
attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
os.write(1, f"attempt {attempt} rank {os.environ['RANK']}\\n".encode())  # at once: a rank may be ended at any moment
if attempt < "2":
    if os.environ["RANK"] == "3": sys.exit(1)
    time.sleep(600)
"""
    ended = jobs.run(script, "--no-prefix", "--nnodes", "2", "--nproc-per-node", "2", "--max-restarts", "3")
    assert ended.code == 0
    assert set(ended.lines) >= {f"attempt 2 rank {rank}" for rank in range(4)}
    assert {line.split()[1] for line in ended.lines} == {"0", "1", "2"}
    assert ended.err.count("failed (exitcode: 1) local_rank: 1") == 2
    assert "ChildFailedError" not in ended.err


def test_when_no_restart_is_left_the_last_attempt_is_reported(jobs: Jobs) -> None:
    ended = jobs.run("import sys; sys.exit(5)", "--nproc-per-node", "1", "--max-restarts", "2")
    assert ended.code == 1
    assert ended.err.count("failed (exitcode: 5)") == 3
    assert "<NO_OTHER_FAILURES>" in ended.err


def test_ranks_meet_again_after_a_restart(jobs: Jobs) -> None:
    script = """
import os, sys
import numpy as np
import fake_torch_dist as dist
dist.init_process_group("gloo")
total = np.ones(1)
dist.all_reduce(total)
print("sum", int(total[0]))
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and dist.get_rank() == 1: os.kill(os.getpid(), 9)
dist.barrier()
dist.destroy_process_group()
"""
    ended = jobs.run(script, "--nproc-per-node", "3", "--max-restarts", "1")
    assert ended.code == 0, ended.err
    assert ended.lines.count("sum 3") >= 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_reaches_every_rank_and_the_exit_code_is_1(jobs: Jobs, number: signal.Signals) -> None:
    script = f"""
import os, signal, sys, time
def told(number, frame):
    print("told", number)
    sys.exit(0)
signal.signal({int(number)}, told)
print("up")
while True: time.sleep(600)
"""
    job = jobs.start(script, "--nnodes", "2", "--nproc-per-node", "2")
    job.wait_for("up", 4)
    os.kill(job.pid, number)
    ended = job.end()
    assert ended.code == 1
    assert ended.out.count(f"told {int(number)}") == 4
    assert f"Received {int(number)} death signal, shutting down workers" in ended.err
    assert ended.err.rstrip().endswith(f"SignalException: Process {job.pid} got signal: {int(number)}")
    assert "ChildFailedError" not in ended.err


def test_ranks_that_ignore_the_signal_are_killed_after_the_grace(jobs: Jobs) -> None:
    job = jobs.start(STUBBORN, "--nproc-per-node", "2", "--shutdown-timeout", "1")
    job.wait_for("up", 2)
    os.kill(job.pid, signal.SIGTERM)
    ended = job.end()
    assert ended.code == 1
    assert ended.err.count("via 15, forcefully exiting via 9") == 2


def test_a_second_signal_waits_for_nobody(jobs: Jobs) -> None:
    job = jobs.start(STUBBORN, "--nproc-per-node", "2")
    job.wait_for("up", 2)
    os.kill(job.pid, signal.SIGINT)
    until(lambda: job.err.count("closing signal SIGINT") == 2, "the first signal passed on")
    os.kill(job.pid, signal.SIGINT)
    assert job.process.wait(10) == 1
    job.end()


def test_ranks_that_ignore_sigterm_are_killed_when_a_peer_fails(jobs: Jobs) -> None:
    ready = "import os, signal\nsignal.signal(15, signal.SIG_IGN)\nopen('ready' + os.environ['RANK'], 'w').close()\n"
    script = ready + fails_on(1, "while not os.path.exists('ready0'): time.sleep(0.005)\n    sys.exit(1)")
    ended = jobs.run(script, "--nproc-per-node", "2", "--shutdown-timeout", "1")
    assert ended.code == 1
    assert "exitcode  : -9" in ended.err and "rank      : 1" in ended.err[ended.err.index("Root Cause") :]


def test_a_signal_that_is_handled_by_request_is_passed_on(jobs: Jobs) -> None:
    script = "import signal, sys, time\nsignal.signal(10, lambda *_: sys.exit(0))\nprint('up')\ntime.sleep(600)"
    job = jobs.start(script, "--nproc-per-node", "2", "--signals-to-handle", "SIGTERM,SIGUSR1")
    job.wait_for("up", 2)
    os.kill(job.pid, signal.SIGUSR1)
    assert job.end().code == 1


def test_a_reader_that_goes_away_ends_the_job(jobs: Jobs) -> None:
    read_end, write_end = os.pipe()
    job = jobs.start("while True: print('a line')", "--nproc-per-node", "2", stdout=write_end)
    os.close(write_end)
    assert os.read(read_end, 7) == b"a line\n"
    os.close(read_end)
    assert job.end().code == 1
    assert "Nobody reads the output any more" in job.err


def test_a_reader_that_goes_away_ends_even_a_silent_job(jobs: Jobs) -> None:
    read_end, write_end = os.pipe()
    job = jobs.start(WAIT, "--nproc-per-node", "2", stdout=write_end)
    os.close(write_end)
    while os.read(read_end, 100).count(b"up") < 1:
        pass
    os.close(read_end)
    assert job.end().code == 1


def waiting_bytes(read_end: int) -> int:
    """Bytes that the reader of the pipe has not read yet."""
    return int.from_bytes(fcntl.ioctl(read_end, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def test_nobody_is_slowed_down_by_a_reader_that_rests(jobs: Jobs) -> None:
    """Signals are answered while the output is blocked, and what was written before is not lost."""
    read_end, write_end = os.pipe()
    script = "import os\nwhile True: os.write(1, b'x' * 99 + b'\\n')"
    job = jobs.start(script, "--nproc-per-node", "2", stdout=write_end)
    os.close(write_end)
    assert os.read(read_end, 1) == b"x"
    until(lambda: waiting_bytes(read_end) >= 16_384, "a pipe that fills up")
    os.kill(job.pid, signal.SIGTERM)
    until(lambda: "closing signal SIGTERM" in job.err, "the signal passed on")
    with os.fdopen(read_end, "rb") as reader:
        rest = reader.read()
    assert job.end().code == 1
    assert set(rest.split(b"\n")[1:-1]) == {b"x" * 99}


def test_a_reader_that_comes_late_gets_everything(jobs: Jobs) -> None:
    read_end, write_end = os.pipe()
    script = "import os\nfor i in range(20): os.write(1, b'%d' % (i % 10) * 99_999 + b'\\n')"
    job = jobs.start(script, "--nproc-per-node", "2", stdout=write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as reader:
        data = reader.read()
    assert job.end().code == 0
    assert sorted(data.split()) == sorted(b"%d" % (i % 10) * 99_999 for i in range(20) for _ in range(2))


def test_a_signal_ends_the_wait_for_a_reader(jobs: Jobs) -> None:
    read_end, write_end = os.pipe()
    job = jobs.start("import os; os.write(1, b'x' * 100_000 + b'\\n'); open('done', 'w')", "--prefix", stdout=write_end)
    os.close(write_end)
    until((jobs.directory / "done").exists, "everything written")
    os.kill(job.pid, signal.SIGTERM)
    assert job.end().code == 1
    os.close(read_end)


def test_children_of_ranks_end_with_the_job(jobs: Jobs) -> None:
    script = """
import os, subprocess
subprocess.Popen(["sleep", "600"])
subprocess.Popen(["sleep", "600"], start_new_session=True)
print("up")
"""
    ended = jobs.run(script, "--nproc-per-node", "2")  # end() sees that nothing is left
    assert (ended.code, ended.lines) == (0, ["up"] * 2)


def test_the_temporary_log_directory_is_removed(jobs: Jobs) -> None:
    ended = jobs.run("import os; print(os.environ['TORCHELASTIC_ERROR_FILE'])", TMPDIR=str(jobs.directory))
    error_file = ended.lines[0]
    assert error_file.startswith(str(jobs.directory / "torchelastic_"))
    assert not list(jobs.directory.glob("torchelastic_*"))


def test_an_interrupt_from_the_keyboard_reaches_the_launcher_alone(jobs: Jobs) -> None:
    """Ranks are in sessions of their own: each of them gets one SIGINT, not two."""
    script = """
import os, time
print("up")
try:
    time.sleep(600)
except KeyboardInterrupt:
    print("one")
    time.sleep(0.2)
"""
    job = jobs.start(script, "--nproc-per-node", "2")
    job.wait_for("up", 2)
    os.kill(job.pid, signal.SIGINT)
    assert job.end().lines.count("one") == 2


def test_nothing_is_left_of_a_command_that_is_wrong(jobs: Jobs) -> None:
    ended = jobs.run("def broken(:\n", "--nproc-per-node", "8")
    assert ended.code == 1
    assert ended.err.count("SyntaxError") == 1
