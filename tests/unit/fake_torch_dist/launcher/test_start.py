"""The start of a rank: its environment, its arguments, its interpreter, its node."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.launched import Jobs

PRINT_ENVIRONMENT = """
import json, os, sys
print(json.dumps({"env": dict(os.environ), "argv": sys.argv, "orig": sys.orig_argv, "file": __file__, "name": __name__,
                  "path": sys.path[0], "pid": os.getpid(), "sid": os.getsid(0), "pgid": os.getpgid(0)}))
"""

TORCHRUN_SETS = {
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK",
    "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_MAX_RESTARTS", "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_SIGNALS_TO_HANDLE",
    "TORCHELASTIC_ERROR_FILE", "TORCH_NCCL_ASYNC_ERROR_HANDLING",
}  # fmt: skip
OURS = {"FAKE_TORCH_DIST_STORE", "FAKE_TORCH_DIST_TOKEN"}
OF_EMULATED_NODES = {"FAKE_TORCHRUN_NODE", "HOSTNAME", "GLOO_SOCKET_IFNAME"}


def found(jobs: Jobs, *flags: str, arguments: tuple[str, ...] = (), **environment: str) -> list[dict[str, Any]]:
    """Values that the ranks found, in rank order."""
    ended = jobs.run(PRINT_ENVIRONMENT, "--no-prefix", *flags, arguments=arguments, **environment)
    assert ended.code == 0, ended.err
    return sorted((json.loads(line) for line in ended.lines), key=lambda rank: int(rank["env"]["RANK"]))


def test_a_rank_has_torchruns_variables_and_two_of_ours(jobs: Jobs) -> None:
    ranks = found(jobs, "--nproc-per-node", "4", HOSTNAME="here")
    for number, rank in enumerate(ranks):
        env = rank["env"]
        new = set(env) - set(os.environ) - {"FAKE_TORCHRUN_TEST", "PYTHONPATH", "OMP_NUM_THREADS", "HOSTNAME"}
        assert new == TORCHRUN_SETS | OURS
        wanted = {
            "RANK": number, "LOCAL_RANK": number, "ROLE_RANK": number, "WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 4,
            "ROLE_WORLD_SIZE": 4, "GROUP_RANK": 0, "GROUP_WORLD_SIZE": 1, "ROLE_NAME": "default",
            "MASTER_ADDR": "localhost", "TORCHELASTIC_RESTART_COUNT": 0, "TORCHELASTIC_MAX_RESTARTS": 0,
            "TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT", "TORCH_NCCL_ASYNC_ERROR_HANDLING": 1,
            "HOSTNAME": "here",
        }  # fmt: skip
        assert {name: env[name] for name in wanted} == {name: str(value) for name, value in wanted.items()}
        assert env["TORCHELASTIC_ERROR_FILE"].endswith(f"/attempt_0/{number}/error.json")
    assert len({rank["env"]["MASTER_PORT"] for rank in ranks}) == 1
    assert len({rank["env"]["TORCHELASTIC_RUN_ID"] for rank in ranks}) == 1


def test_emulated_nodes_are_numbered_and_named(jobs: Jobs) -> None:
    ranks = found(jobs, "--nnodes", "3", "--nproc-per-node", "2")
    keys = ("RANK", "LOCAL_RANK", "GROUP_RANK", "LOCAL_WORLD_SIZE", "WORLD_SIZE", "GROUP_WORLD_SIZE")
    assert [[int(rank["env"][key]) for key in keys] for rank in ranks] == [
        [rank, rank % 2, rank // 2, 2, 6, 3] for rank in range(6)
    ]
    assert [rank["env"]["FAKE_TORCHRUN_NODE"] for rank in ranks] == [f"node{rank // 2}" for rank in range(6)]
    assert all(set(rank["env"]) >= TORCHRUN_SETS | OURS | OF_EMULATED_NODES for rank in ranks)


def test_a_forked_rank_looks_like_a_fresh_interpreter(jobs: Jobs) -> None:
    flags = ("--nproc-per-node", "2", "--start-method", "fork")
    for rank in found(jobs, *flags, arguments=("--lr", "1", "--", "-x")):
        script = jobs.directory / "job.py"
        assert rank["argv"] == ["job.py", "--lr", "1", "--", "-x"]
        assert rank["orig"] == [sys.executable, "-u", *rank["argv"]]
        assert (rank["file"], rank["name"], rank["path"]) == (str(script), "__main__", str(jobs.directory.resolve()))
        assert rank["pid"] == rank["sid"] == rank["pgid"]


def test_spawned_ranks_find_the_same(jobs: Jobs) -> None:
    forked, spawned = (
        found(jobs, "--nproc-per-node", "2", "--rdzv-id", "x", *flags, "--master-port", "0")
        for flags in (("--start-method", "fork"), ("--start-method", "spawn"))
    )
    changing = {"FAKE_TORCH_DIST_STORE", "FAKE_TORCH_DIST_TOKEN", "TORCHELASTIC_ERROR_FILE", "FAKE_TORCHRUN_TEST",
                "MASTER_PORT", "_", "LC_CTYPE"}  # fmt: skip
    for one, other in zip(forked, spawned, strict=True):
        for rank in (one, other):
            rank["env"] = {name: value for name, value in rank["env"].items() if name not in changing}
        assert {key: one[key] for key in ("env", "argv", "orig", "file", "name", "path")} == {
            key: other[key] for key in ("env", "argv", "orig", "file", "name", "path")
        }


def test_virtual_local_ranks_have_one_device_each(jobs: Jobs) -> None:
    ranks = found(jobs, "--nproc-per-node", "2", "--virtual-local-rank", CUDA_VISIBLE_DEVICES="3,5")
    assert [(rank["env"]["LOCAL_RANK"], rank["env"]["CUDA_VISIBLE_DEVICES"]) for rank in ranks] == [
        ("0", "3"),
        ("0", "5"),
    ]


def test_modules_programs_and_paths_run_too(jobs: Jobs) -> None:
    package = jobs.directory / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tool.py").write_text("import sys\nfrom pack import __name__ as p\nprint(__name__, p, sys.argv[1:])")
    (jobs.directory / "job.py").write_text("print(__name__)")

    def lines(*arguments: str) -> list[str]:
        from tests.support.launched import RunningJob

        job = RunningJob(jobs.directory, ["--nproc-per-node", "2", *arguments], {}, None)
        ended = job.end()
        assert ended.code == 0, ended.err
        return ended.lines

    for start_method in ("fork", "spawn"):
        flags = ("--start-method", start_method)
        assert lines(*flags, "-m", "pack.tool", "a") == ["__main__ pack ['a']"] * 2
        assert lines(*flags, "--run-path", str(jobs.directory / "job.py")) == ["__main__"] * 2
    assert lines("--no-python", "/bin/echo", "hi", "there") == ["hi there"] * 2


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_what_a_fresh_interpreter_does_at_its_end_is_done(jobs: Jobs, start_method: str) -> None:
    script = """
import atexit, os, threading, time
rank = os.environ["RANK"]
unclosed = open(f"kept{rank}", "w"); unclosed.write("to the last byte")
atexit.register(lambda: print("exit function", rank))
threading.Thread(target=lambda: (time.sleep(0.05), print("thread", rank))).start()
print("main", rank)
"""
    ended = jobs.run(script, "--nproc-per-node", "2", "--start-method", start_method)
    assert sorted(ended.lines) == [f"{what} {rank}" for what in ("exit function", "main", "thread") for rank in (0, 1)]
    assert [(jobs.directory / f"kept{rank}").read_text() for rank in (0, 1)] == ["to the last byte"] * 2


def test_ranks_draw_different_random_numbers(jobs: Jobs) -> None:
    script = "import random\nimport numpy as np\nimport numpy.random\nprint(random.random(), np.random.random())"
    ended = jobs.run(script, "--nproc-per-node", "4", "--start-method", "fork")
    numbers = [line.split() for line in ended.lines]
    assert len({number for pair in numbers for number in pair}) == 8


def test_what_is_imported_beforehand_is_what_the_script_would_import(jobs: Jobs) -> None:
    (jobs.directory / "colorlog.py").write_text("whose = 'the script directory'")
    ended = jobs.run("import colorlog\nprint(colorlog.whose)", "--nproc-per-node", "2", "--start-method", "fork")
    assert ended.lines == ["the script directory"] * 2


def test_standard_input_is_the_launchers(jobs: Jobs, tmp_path: Path) -> None:
    assert jobs.run("import sys; print(repr(sys.stdin.read()))").lines == ["''"]


@pytest.mark.parametrize("flags", [("--start-method", "fork"), ("--start-method", "spawn")], ids=["forked", "spawned"])
def test_the_threads_variable_is_set_and_said_once(jobs: Jobs, flags: tuple[str, ...]) -> None:
    ended = jobs.run(
        "import os; print(os.environ['OMP_NUM_THREADS'])", "--nproc-per-node", "2", *flags, OMP_NUM_THREADS=""
    )
    assert ended.lines == ["1"] * 2
    assert ended.err.count("Setting OMP_NUM_THREADS environment variable for each process to be 1 in default") == 1
    alone = jobs.run("import os; print(os.environ.get('OMP_NUM_THREADS'))", *flags, OMP_NUM_THREADS="")
    assert (alone.lines, alone.err) == (["None"], "")
