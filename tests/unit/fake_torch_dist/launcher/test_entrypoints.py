"""Targets of a job: modules in any folders, scripts that are streams, odd names, a directory that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from fake_torch_dist.launcher.commandline.parser import UsageError
from fake_torch_dist.launcher.entrypoint.module_search import check_module
from tests.support.processes import DEADLINE_S
from tests.support.repository import ROOT
from tests.support.warm_launcher import run_launcher

RANK = "import os, sys\nprint('rank', os.environ['RANK'], sys.argv[1:], flush=True)\n"


def launched(directory: Path, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a launcher that reads ``text`` from a pipe."""
    reader, writer = os.pipe()
    writing = threading.Thread(target=write, args=(writer, text))
    writing.start()
    try:
        return run_launcher(words, cwd=directory, env=environment(), stdin=reader, training=False)
    finally:
        os.close(reader)
        writing.join()


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def write(fd: int, text: str) -> None:
    with suppress(BrokenPipeError), open(fd, "w") as pipe:
        pipe.write(text)


def newly_launched(directory: Path, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a launcher that inherits descriptors of this process."""
    return subprocess.run(
        [sys.executable, "-m", "fake_torch_dist.run", *words], cwd=directory, env=environment(), capture_output=True,
        timeout=DEADLINE_S, check=False, text=True, **options,
    )  # fmt: skip


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start_method", ["auto", "fork"])
@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_every_rank_runs_a_script_from_standard_input(tmp_path: Path, name: str, start_method: str) -> None:
    for ranks in (1, 2):
        flags = ["--nproc-per-node", str(ranks), "--start-method", start_method]
        done = launched(tmp_path, *flags, name, "a", text=RANK)
        assert sorted(done.stdout.splitlines()) == [f"rank {rank} ['a']" for rank in range(ranks)], done.stderr


def test_every_rank_runs_a_script_from_a_named_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for ranks in (1, 3):
        writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(RANK,), daemon=True)
        writer.start()
        done = launched(tmp_path, "--nproc-per-node", str(ranks), "pipe", "a")
        writer.join()
        assert sorted(done.stdout.splitlines()) == [f"rank {rank} ['a']" for rank in range(ranks)], done.stderr


def test_every_rank_runs_a_script_from_a_descriptor(tmp_path: Path) -> None:
    """As a shell's ``<(command)`` gives it."""
    for ranks in (1, 2):
        read_end, write_end = os.pipe()
        os.write(write_end, RANK.encode())
        os.close(write_end)
        fd = f"/dev/fd/{read_end}"
        done = newly_launched(tmp_path, "--nproc-per-node", str(ranks), fd, input="", pass_fds=[read_end])
        os.close(read_end)
        assert sorted(done.stdout.splitlines()) == [f"rank {rank} []" for rank in range(ranks)], done.stderr


def test_a_script_that_is_a_stream_can_be_started_again(tmp_path: Path) -> None:
    text = "import os, sys\nprint(os.environ['TORCHELASTIC_RESTART_COUNT'], flush=True)\nsys.exit(1)"
    done = launched(tmp_path, "--max-restarts", "2", "-", text=text)
    assert (done.stdout.split(), done.returncode) == (["0", "1", "2"], 1)


def test_a_large_script_comes_through(tmp_path: Path) -> None:
    done = launched(tmp_path, "--nproc-per-node", "2", "-", text=f"text = '{'x' * 300_000}'\nprint(len(text))")
    assert done.stdout.split() == ["300000"] * 2


def test_an_error_in_a_script_from_a_stream_is_said_once(tmp_path: Path) -> None:
    done = launched(tmp_path, "--nproc-per-node", "2", "-", text="x = = 1")
    assert done.returncode == 1 and done.stderr.count("SyntaxError") == 1 and done.stdout == ""


def test_a_terminal_is_no_script_for_several_ranks(tmp_path: Path) -> None:
    controller, terminal = os.openpty()
    done = newly_launched(tmp_path, "--nproc-per-node", "2", "-", stdin=terminal)
    os.close(controller), os.close(terminal)
    assert done.returncode == 1
    assert done.stderr.startswith("fake-torchrun: error: '-' is a terminal: ") and done.stderr.count("\n") == 1


# -- names and places -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start_method", ["auto", "fork"])
def test_a_name_that_looks_like_an_option_is_a_script(tmp_path: Path, start_method: str) -> None:
    (tmp_path / "-c").write_text(RANK)
    done = launched(tmp_path, "--start-method", start_method, "--", "-c", "-x")
    assert done.stdout == "rank 0 ['-x']\n", done.stderr


def test_a_script_runs_where_the_working_directory_is_gone(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(RANK)
    script = f"cd {tmp_path}; mkdir gone; cd gone; rmdir ../gone; exec {sys.executable} -m fake_torch_dist.run "
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for words, code, out in (
        (f"{tmp_path}/job.py", 0, "rank 0 []\n"),
        (f"--tee 3 --no-prefix {tmp_path}/job.py", 0, "rank 0 []\n"),
        (f"--start-method fork {tmp_path}/job.py", 0, "rank 0 []\n"),
        ("job.py", 2, ""),
        ("--start-method fork -m no_such_module", 2, ""),
    ):
        done = subprocess.run(
            ["sh", "-c", script + words], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (code, out), done.stderr
        assert 'launch.py", line' not in done.stderr and 'run.py", line' not in done.stderr


# -- modules ----------------------------------------------------------------------------------------------------------


def modules_in(directory: Path, *files: str) -> None:
    for file in files:
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        (directory / file).write_text(RANK if file.endswith(("job.py", "__main__.py")) else "")


def test_modules_run_from_folders_with_and_without_init(tmp_path: Path) -> None:
    modules_in(tmp_path, "a/job.py", "a/b/c/d/job.py", "p/__init__.py", "p/q/job.py", "p/q/r/__init__.py",
               "p/q/r/job.py", "a/main/__main__.py")  # fmt: skip
    for name in ("a.job", "a.b.c.d.job", "p.q.job", "p.q.r.job", "a.main"):
        done = launched(tmp_path, "-m", name)
        assert (done.stdout, done.returncode) == ("rank 0 []\n", 0), (name, done.stderr)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_package_is_imported_by_the_check(here: Path) -> None:
    modules_in(here, "pack/sub/job.py")
    (here / "pack" / "__init__.py").write_text("raise SystemExit('imported')")
    before = set(sys.modules)
    check_module("pack.sub.job")
    assert set(sys.modules) == before


@pytest.mark.parametrize("name", ["nosuch", "space.nosuch", "space.deep.nosuch", "plain.nosuch", "job.py", "space"])
def test_modules_that_are_surely_missing_are_refused(here: Path, name: str) -> None:
    modules_in(here, "space/deep/x.py", "plain/__init__.py", "job.py")
    with pytest.raises(UsageError, match="No module named"):
        check_module(name)


@pytest.mark.parametrize(
    "init",
    [
        "__path__.append('elsewhere')",
        "import sys\nsys.modules[__name__ + '.job'] = 1",
        "import sys\nsys.meta_path.insert(0, 1)",
        "exec(open('more').read())",
    ],
)
def test_what_only_a_packages_code_can_tell_is_left_to_the_ranks(here: Path, init: str) -> None:
    modules_in(here, "pack/__init__.py", "pack/sub/__init__.py")
    (here / "pack" / "__init__.py").write_text(init)
    check_module("pack.job")
    check_module("pack.sub.job")


def test_an_import_hook_that_fails_is_left_to_the_ranks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, *_: object) -> None:
            raise RuntimeError("in a hook")

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Broken()])
    check_module("nosuch")


def test_folders_of_one_namespace_in_several_places_are_all_looked_into(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules_in(here, "space/job.py", "other/space/more/job.py", "other/__init__.py")
    monkeypatch.syspath_prepend(str(here / "other"))
    check_module("space.job")
    check_module("space.more.job")
