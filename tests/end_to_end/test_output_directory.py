"""An output directory: whether a run has begun there, who owns it, and why it is refused."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from accelerate_sim.checkpoints import output_lock
from tests.support.processes import Children
from tests.support.repository import ROOT
from tests.support.warm_train import WarmTrain, run_main, run_warm

RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--start-time", "2026-01-01", "--output-dir", "out",
    "--set", "checkpoint.shards=tiny", "--set", "train.steps_per_epoch=3", "--set", "checkpoint.every=2",
)  # fmt: skip
FAST = ("--speed", "max")
SLOW = ("--set", "run.speed=0.01", "--set", "run.startup_speed=100000")
AGAIN = ("--resume", "auto")


def go(cwd: Path, *arguments: str) -> tuple[int, str, str]:
    done = run_warm(arguments, os.environ, cwd)
    return done.returncode, done.stdout, done.stderr


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the run in one piece."""
    directory = tmp_path_factory.mktemp("whole")
    assert go(directory, *RUN, *FAST)[0] == 0
    return contents(directory / "out")


# --- Whether a run has begun ------------------------------------------------------------------------


def nothing_yet(out: Path) -> None: ...


def empty_metrics(out: Path) -> None:
    (out / "metrics.jsonl").touch()


def unfinished_run_file(out: Path) -> None:
    empty_metrics(out)
    (out / ".tmp-run.json").write_text('{"half": ')


@pytest.mark.parametrize("left", [nothing_yet, empty_metrics, unfinished_run_file])
@pytest.mark.parametrize("again", [(), AGAIN])
def test_a_process_that_died_before_the_run_began_has_left_nothing_in_the_way(
    left: Callable[[Path], None], again: tuple[str, ...], tmp_path: Path, whole: dict[str, bytes]
) -> None:
    (tmp_path / "out").mkdir()
    left(tmp_path / "out")
    code, _, errors = go(tmp_path, *RUN, *FAST, *again)
    assert (code, errors) == (0, "")
    assert contents(tmp_path / "out") == whole


def test_killed_as_soon_as_there_is_a_file_it_begins_once_more(tmp_path: Path, whole: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    with WarmTrain((*RUN, *FAST, *AGAIN), os.environ, tmp_path) as process:
        process.wait_until((out / "metrics.jsonl").exists, "the first file")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert go(tmp_path, *RUN, *FAST, *AGAIN)[::2] == (0, "")
    assert contents(out) == whole


@pytest.mark.parametrize("again", [(), AGAIN])
@pytest.mark.parametrize("name", ["metrics.jsonl", "latest", "final"])
def test_files_without_their_run_are_kept_and_no_resume_is_recommended(
    name: str, again: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("precious\n")
    code, said, errors = go(tmp_path, *RUN, *FAST, *again)
    assert (code, said) == (2, "")
    assert f"holds the {name} of another run that has no run.json any more" in errors
    assert "--resume auto" not in errors
    assert contents(tmp_path / "out") == {name: b"precious\n"}


def test_a_run_that_goes_on_elsewhere_has_begun_there(tmp_path: Path, whole: dict[str, bytes]) -> None:
    """Killed at once after a checkpoint was taken over into another directory, it goes on there."""
    assert go(tmp_path, *RUN, *FAST)[0] == 0
    other = (*RUN[:4], "--output-dir", "other", *RUN[6:])
    with WarmTrain((*other, *SLOW, "--resume", "out/checkpoint-6"), os.environ, tmp_path, merged=True) as process:
        process.read_until("Going on from")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert go(tmp_path, *other, *FAST, *AGAIN)[::2] == (0, "")
    assert (tmp_path / "other/metrics.jsonl").read_bytes().count(b"\n") == whole["metrics.jsonl"].count(b"\n")


def test_what_a_dead_process_left_behind_is_put_right(tmp_path: Path, whole: dict[str, bytes]) -> None:
    """``latest`` of an older checkpoint, half-written names, a cut line: nothing of it is there at the end."""
    assert go(tmp_path, *RUN, *FAST)[0] == 0
    out = tmp_path / "out"
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(run | {"end": None}))
    (out / "latest").write_text("checkpoint-2\n")
    (out / ".tmp-checkpoint-4").mkdir()
    (out / ".tmp-metrics.jsonl").write_text("half")
    with (out / "metrics.jsonl").open("a") as file:
        file.write('{"event":"st')
    assert go(tmp_path, *RUN, *FAST, *AGAIN)[::2] == (0, "")
    assert contents(out) == whole


def patched(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Play the run to its end in a process in which ``script`` has put something in the place of a function."""
    play = "del sys.argv[0]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    (cwd / "patch.py").write_text(f"import runpy, sys\n{script}{play}")
    return run_main("tests.support.script_main", ["patch.py", str(ROOT / "train.py"), *RUN, *FAST], os.environ, cwd)


def test_a_delete_that_fails_is_warned_of_once_and_done_later(tmp_path: Path, whole: dict[str, bytes]) -> None:
    """Each first attempt at a file of a deleted checkpoint fails; so there is something to do at the end."""
    script = (
        "import os, shutil\n"
        "rmtree, failed = shutil.rmtree, []\n"
        "def fail(path, onerror):\n"
        "    if 'checkpoint' not in str(path) or len(failed) == 3: return rmtree(path, onerror=onerror)\n"
        "    failed.append(path); onerror(None, path, (OSError, OSError(5, os.strerror(5)), None))\n"
        "shutil.rmtree = fail\n"
    )
    done = patched(script, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    warnings = [line for line in done.stdout.splitlines() if "WARNING Files of a deleted checkpoint" in line]
    assert len(warnings) == 1
    assert "Input/output error" in warnings[0]
    assert go(tmp_path, *RUN, *FAST, *AGAIN)[0] == 0
    assert contents(tmp_path / "out") == whole


# --- One owner --------------------------------------------------------------------------------------


def test_a_second_process_is_told_who_owns_the_directory(tmp_path: Path) -> None:
    with WarmTrain((*RUN, *SLOW), os.environ, tmp_path, merged=True) as first:
        first.read_until("Training")
        (tmp_path / "same").symlink_to("out")
        for name, again in (("out", AGAIN), ("out", ()), ("same", AGAIN)):
            code, said, errors = go(tmp_path, *RUN[:4], "--output-dir", name, *RUN[6:], *FAST, *again)
            assert (code, said) == (2, "")
            assert f"--output-dir: {name} is being written by process {first.pid}. Wait until" in errors
        code, said, _ = go(tmp_path, *RUN, *AGAIN, "--print-config")  # looks, and writes nothing
        assert code == 0 and "gpt2" in said
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert go(tmp_path, *RUN, *AGAIN, "--set", "run.speed=max", "--set", "run.startup_speed=null")[::2] == (0, "")


def test_a_child_does_not_keep_the_directory(tmp_path: Path) -> None:
    """Forked after its parent became the owner, it lives on when the parent is dead."""

    def body(writer: int) -> None:
        output_lock.own(tmp_path, 0.0)
        if os.fork() == 0:
            os.write(writer, f"{os.getpid()}\n".encode())
            signal.pause()

    with Children() as children:
        owner = children.fork(body, pipes=1)
        children.read_until(lambda: owner.outputs[0].endswith(b"\n"), "the child lives")
        try:
            children.read_until(lambda: owner.exit_code == 0, "its parent has ended")
            fd = os.open(tmp_path, os.O_RDONLY)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(fd)
        finally:
            os.kill(int(owner.outputs[0]), signal.SIGKILL)


def test_an_owner_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    def own_and_end(writer: int) -> None:
        output_lock.own(tmp_path, 0.0)
        os.write(writer, b"owned")
        signal.sigtimedwait([], 0.2)

    with Children() as children:
        owner = children.fork(own_and_end, pipes=1)
        children.read_until(lambda: owner.outputs == [b"owned"], "the directory has an owner")
        children.fork(lambda: output_lock.own(tmp_path, 30.0))
        assert children.wait() == [0, 0]


# --- The true reason --------------------------------------------------------------------------------


def make_file(place: Path) -> None:
    place.write_text("")


def make_pipe(place: Path) -> None:
    os.mkfifo(place)


def make_dangling_link(place: Path) -> None:
    place.symlink_to("nowhere")


def make_loop(place: Path) -> None:
    place.symlink_to(place.name)


REASONS: dict[str, tuple[Callable[[Path], None] | None, str, str]] = {
    "file": (make_file, "place", "place is a file, not a directory. Name another directory."),
    "pipe": (make_pipe, "place", "place is a pipe, not a directory"),
    "device": (None, "/dev/null", "/dev/null is a device, not a directory"),
    "dangling link": (make_dangling_link, "place", "place is a symbolic link to nowhere, which does not exist"),
    "loop": (make_loop, "place", "place is a symbolic link to place, which can't be followed: Too many"),
    "below a file": (make_file, "place/below/it", "place/below/it is below place, which is a file, not a directory"),
    "long": (None, "x" * 300, "can't be written: File name too long. Name another directory."),
}


@pytest.mark.parametrize("again", [(), AGAIN])
@pytest.mark.parametrize("kind", REASONS)
def test_what_is_no_directory_is_called_what_it_is(kind: str, again: tuple[str, ...], tmp_path: Path) -> None:
    make, name, reason = REASONS[kind]
    if make:
        make(tmp_path / "place")
    before = sorted(os.listdir(tmp_path))
    code, said, errors = go(tmp_path, *RUN[:4], "--output-dir", name, *RUN[6:], *FAST, *again)
    assert (code, said) == (2, "")
    assert reason in errors and "Traceback" not in errors
    assert len(errors.splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_a_disk_that_is_full_at_the_first_checkpoint_can_be_gone_on_with(tmp_path: Path) -> None:
    """The command that the message recommends works."""
    script = (
        "import os; import accelerate_sim.artifacts.atomic as atomic\n"
        "def full(*_): raise OSError(28, os.strerror(28))\n"
        "atomic._require_space = full\n"
    )
    done = patched(script, tmp_path)
    assert done.returncode == 1
    assert "No space left on device. There is no checkpoint yet: put things right and play the run" in done.stderr
    assert "--resume auto" in done.stderr
    assert go(tmp_path, *RUN, *FAST, *AGAIN)[::2] == (0, "")
