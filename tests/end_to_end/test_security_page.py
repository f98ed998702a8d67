"""The page on security: every test that it cites exists, and what it says of the whole program holds."""

from __future__ import annotations

import ast
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fake_torch_dist.launcher.logs import LogTree
from tests.support.repository import ROOT

PAGE = (ROOT / "fake_torch_dist" / "SECURITY.md").read_text(encoding="utf-8")
CITED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
LOADERS = {"loads", "load", "Unpickler"}
OPENING = {"bind", "listen", "create_server"}
DEADLINE_S = 60.0


def modules(words: Iterable[str]) -> Iterator[tuple[str, ast.Module]]:
    """Path and syntax of the modules that have one of these words in them: without it they have no such name."""
    for package in ("fake_torch_dist", "accelerate_sim"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            if any(word in text for word in words):
                yield path.relative_to(ROOT).as_posix(), ast.parse(text)


def calls(tree: ast.Module) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_the_page_cites_tests() -> None:
    assert len(CITED) > 20 and PAGE.count("::") == len(CITED)


@pytest.mark.parametrize(("path", "name"), CITED)
def test_a_cited_test_exists(path: str, name: str) -> None:
    assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_only_object_collectives_unpickle() -> None:
    """Objects come from a group's members, copies from this process, checkpoints from files that a script names."""
    reading, others = set(), {"marshal", "shelve", "dill", "cloudpickle", "joblib", "_pickle"}
    for path, tree in modules({"pickle", *others}):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & others, path
            if isinstance(node, ast.ImportFrom) and node.module == "pickle":
                reading.add(path)
            if (
                isinstance(node, ast.Attribute)
                and node.attr in LOADERS
                and isinstance(node.value, ast.Name)
                and node.value.id == "pickle"
            ):
                reading.add(path)
            assert not (isinstance(node, ast.keyword) and node.arg == "allow_pickle"), path
    assert {Path(path).stem for path in reading} == {"object_collectives", "object_copy", "one_rank", "checkpoints"}


def test_sockets_are_opened_in_these_modules_only() -> None:
    opening = {
        Path(path).stem
        for path, tree in modules(OPENING)
        for call in calls(tree)
        if isinstance(call.func, ast.Attribute) and call.func.attr in OPENING
    }
    # ``listen`` in worker_group, job and launch is another method of that name; master keeps a port for the script;
    # own_addresses binds a datagram socket for a moment, which receives nothing; server is that of live control.
    others = {"worker_group", "job", "launch", "master_port", "own_addresses"}
    assert opening == {"sockets", "listening", "scrape_server", "server", "typed_keys"} | others


JOB = """
import os, sys, time
import fake_torch_dist as dist
dist.init_process_group("gloo")
dist.barrier()
sys.stdout.write(os.environ["FAKE_TORCH_DIST_TOKEN"] + "\\n")
sys.stdout.flush()
time.sleep(600)
"""


def descendants(pid: int) -> list[int]:
    found = [pid]
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += descendants(int(child))
    return found


def listening(pids: list[int]) -> set[str]:
    """Addresses, as the kernel writes them, of TCP sockets of these processes that listen."""
    inodes = set()
    for pid in pids:
        with suppress(OSError):
            for entry in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    inodes.add(os.readlink(f"/proc/{pid}/fd/{entry}"))
    found = set()
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                row = line.split()
                if row[3] == "0A" and f"socket:[{row[9]}]" in inodes:
                    found.add(row[1].partition(":")[0])
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's table of sockets")
def test_an_emulated_job_listens_on_loopback_only(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(JOB)
    command = [sys.executable, "-m", "fake_torch_dist.run", "--nnodes", "2", "--nproc-per-node", "2", str(script)]
    env = {name: value for name, value in os.environ.items() if name != "FAKE_TORCH_DIST_TOKEN"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=env | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as job:
        try:
            assert job.stdout
            tokens = {job.stdout.readline().strip() for _ in range(4)}
            pids = descendants(job.pid)
            assert len(pids) == 1 + 2 + 4 and len(tokens) == 1 and len(*tokens) == 64
            assert listening(pids) == {"0100007F"}
            (token,) = tokens
            assert not any(token.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
        finally:
            job.terminate()
            job.wait(DEADLINE_S)


def test_logs_are_the_users_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        tree = LogTree.create(tmp_path / "logs", "run", nodes=(), files_wanted=True)
    finally:
        os.umask(before)
    made = list((tmp_path / "logs").iterdir())
    assert [stat.S_IMODE(path.stat().st_mode) for path in made] == [0o700]
    tree.remove()
