"""The choices that a command line leads to, and what is refused before anything starts."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist import run
from fake_torch_dist.launcher.commandline.choices import config_of, host_and_port
from fake_torch_dist.launcher.commandline.config import EntryKind, LaunchConfig, Std, StreamSelection
from fake_torch_dist.launcher.commandline.parsed_arguments import parse
from fake_torch_dist.launcher.commandline.parser import UsageError
from fake_torch_dist.launcher.entrypoint.preflight import check_entrypoint


def config(*words: str, **variables: str) -> LaunchConfig:
    """Launch config of ``fake-torchrun WORDS x.py`` in an environment of nothing but ``variables``."""
    return config_of(parse([*words, "x.py"], variables), variables)


def refused(*words: str, **variables: str) -> str:
    with pytest.raises(UsageError) as caught:
        config(*words, **variables)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def is_fresh(run_id: str) -> bool:
    return bool(re.fullmatch("[0-9a-f-]{36}", run_id)) and UUID(run_id).version == 4


# --- Nodes and rendezvous -------------------------------------------------------------------------


def test_defaults_are_one_rank_on_a_free_port_under_a_fresh_id() -> None:
    plain = config()
    assert (plain.min_nodes, plain.max_nodes, plain.nproc_per_node, plain.emulated) == (1, 1, 1, False)
    assert (plain.rdzv_backend, plain.rdzv_endpoint) == ("c10d", "localhost:0")
    assert is_fresh(plain.run_id)
    assert plain.run_id != config().run_id
    assert (plain.node_rank, plain.master_port, plain.prefix, plain.start_method) == (None, None, None, None)
    assert plain.signals == (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@pytest.mark.parametrize(("text", "nodes"), [("4", (4, 4)), ("2:8", (2, 8)), ("1:1", (1, 1))])
def test_nodes(text: str, nodes: tuple[int, int]) -> None:
    job = config("--nnodes", text)
    assert (job.min_nodes, job.max_nodes) == nodes


def test_a_master_port_makes_it_static() -> None:
    job = config("--master-port", "1234")
    assert (job.rdzv_backend, job.rdzv_endpoint, job.run_id) == ("static", "127.0.0.1:1234", "none")


def test_one_of_several_nodes_is_static_on_the_usual_port() -> None:
    job = config("--nnodes", "2", "--node-rank", "1", "--master-addr", "host0")
    assert (job.rdzv_backend, job.rdzv_endpoint, job.run_id) == ("static", "host0:29500", "none")
    assert (job.emulated, job.node_rank) == (False, 1)


def test_standalone_takes_precedence() -> None:
    job = config("--standalone", "--rdzv-backend", "static", "--rdzv-endpoint", "a:1", "--rdzv-id", "job7")
    assert (job.rdzv_backend, job.rdzv_endpoint) == ("c10d", "localhost:0")
    assert is_fresh(job.run_id)


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (["--node-rank", "0"], {}),
        (["--rdzv-endpoint", "host0:29400"], {}),
        (["--master-addr", "127.0.0.1"], {}),
        (["--master-port", "29500"], {}),
        ([], {"PET_NODE_RANK": "1"}),
        ([], {"PET_MASTER_ADDR": "host0"}),
    ],
)
def test_who_says_where_other_nodes_are_is_one_node(words: list[str], variables: dict[str, str]) -> None:
    assert not config("--nnodes", "2", *words, **variables).emulated
    assert config("--nnodes", "2", *words, "--standalone", **variables).emulated  # nobody else could come


def test_several_nodes_and_nothing_else_are_all_here() -> None:
    assert config("--nnodes", "2").emulated
    assert config("--nnodes", "1:2", "--rdzv-backend", "c10d").emulated
    assert is_fresh(config("--nnodes", "2").run_id)
    assert config("--nnodes", "2", "--rdzv-id", "job7").run_id == "job7"
    assert is_fresh(config("--rdzv-id", "job7").run_id)  # of a single node torchrun makes one up, too
    assert not config("--nnodes", "1").emulated


@pytest.mark.parametrize(
    ("endpoint", "means"),
    [
        ("host0", ("host0", 29400)),
        ("host0:0", ("host0", 0)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", 29400)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
    ],
)
def test_endpoints(endpoint: str, means: tuple[str, int]) -> None:
    assert host_and_port(endpoint) == means


@pytest.mark.parametrize("endpoint", ["host0:65536", "host0:x", "host0:", "ho st:1", "[::1:1]:x", "a/b:1"])
def test_endpoints_that_are_none(endpoint: str) -> None:
    assert "of the rendezvous endpoint" in refused("--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint)


# --- Ranks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["auto", "cpu"])
def test_as_many_ranks_as_usable_cpus(word: str) -> None:
    assert config("--nproc-per-node", word).nproc_per_node == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([], EntryKind.SCRIPT),
        (["-m"], EntryKind.MODULE),
        (["--no-python"], EntryKind.PROGRAM),
        (["--run-path"], EntryKind.RUN_PATH),
        (["--run-path", "--no-python"], EntryKind.RUN_PATH),
    ],
)
def test_what_is_run(words: list[str], kind: EntryKind) -> None:
    assert config(*words).kind is kind


def test_what_only_the_environment_says() -> None:
    job = config(PYTHON_EXEC="/opt/python", TORCH_ELASTIC_SHUTDOWN_TIMEOUT="7")
    assert (job.python, job.shutdown_timeout_s) == ("/opt/python", 7)
    assert config("--shutdown-timeout", "0", TORCH_ELASTIC_SHUTDOWN_TIMEOUT="7").shutdown_timeout_s == 0
    assert (config().python, config().shutdown_timeout_s) == (None, 30)


def test_a_start_method_is_known_to_be_given() -> None:
    assert config("--start-method", "spawn").start_method == "spawn"
    assert config(PET_START_METHOD="fork").start_method == "fork"


def test_unknown_signals_are_left_out_and_doubles_are_one() -> None:
    job = config("--signals-to-handle", "SIGUSR1, SIGFOO,SIGTERM,SIGUSR1")
    assert job.signals == (signal.SIGUSR1, signal.SIGTERM)


# --- Output ---------------------------------------------------------------------------------------


def test_streams_of_all_ranks_or_of_some() -> None:
    job = config("-r", "3", "-t", "0:1,12:2")
    assert job.redirects == StreamSelection(everyone=Std.ALL)
    assert [job.tee.of(rank) for rank in (0, 1, 12)] == [Std.OUT, Std.NONE, Std.ERR]


@given(st.dictionaries(st.integers(0, 999), st.sampled_from(Std), min_size=1))
def test_any_map_of_streams_is_read_as_written(streams: dict[int, Std]) -> None:
    text = ",".join(f"{rank}:{std.value}" for rank, std in streams.items())
    job = config("--redirects", text)
    assert job.redirects == StreamSelection(by_local_rank=streams)


def test_ranks_that_reach_the_console() -> None:
    assert config("--nproc-per-node", "4", "--local-ranks-filter", "0, 3,0").local_ranks_filter == {0, 3}
    assert config().local_ranks_filter is None


def test_settings_of_the_rendezvous() -> None:
    assert config("--rdzv-conf", " timeout=5 , is_host = a=b").rdzv_conf == {"timeout": "5", "is_host": "a=b"}


# --- Bad values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "beginning"),
    [
        (["--nnodes", "0"], "min_nodes must be > 0 and <= max_nodes, got min_nodes=0, max_nodes=0: --nnodes 0 "),
        (["--nproc-per-node", "0"], "nproc_per_node must be > 0, got 0: a node without ranks does nothing; "),
        (["--nproc-per-node", "-1"], "nproc_per_node must be > 0, got -1: "),
        (["--local-ranks-filter", "0,4", "--nproc-per-node", "4"], "--local-ranks-filter names local rank 4: "),
        (["--local-ranks-filter=-1"], "--local-ranks-filter names local rank -1: local ranks go from 0 to 0 "),
        (["--node-rank", "2", "--nnodes", "2"], "node_rank must be >= 0 and < max_nodes, got node_rank=2, "),
        (["--rdzv-backend", "etcd"], "The rendezvous backend 'etcd' needs etcd, which is not used here: give c10d"),
        (["--rdzv-conf", "timeout=soon"], "invalid literal for int() with base 10: 'soon': --rdzv-conf timeout "),
        (["--monitor-interval", "0"], "monitor_interval must be > 0, got 0: "),
        (["--signals-to-handle", "SIGKILL"], "[Errno 22] Invalid argument: --signals-to-handle: no process can handle"),
    ],
)
def test_a_bad_value_is_said_with_the_way_out(words: list[str], beginning: str) -> None:
    assert refused(*words).startswith(beginning)


def test_bad_values_in_the_environment() -> None:
    assert refused(PET_START_METHOD="vfork").startswith("cannot find context for 'vfork': give --start-method spawn, ")
    assert "TORCH_ELASTIC_SHUTDOWN_TIMEOUT" in refused(TORCH_ELASTIC_SHUTDOWN_TIMEOUT="-3")
    assert "TORCH_ELASTIC_SHUTDOWN_TIMEOUT" in refused(TORCH_ELASTIC_SHUTDOWN_TIMEOUT="long")


# --- Before anything starts -----------------------------------------------------------------------


def said(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Error of a command that is refused; nothing is started then."""
    assert run.main(words) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to start in."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PET_") or name == "PYTHON_EXEC"]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nosuch.py"], "can't open file 'nosuch.py': [Errno 2] No such file or directory: ranks start in "),
        (["folder"], "can't find '__main__' module in 'folder': "),
        (["-m", "no_such_module"], "No module named no_such_module: looked in "),
        (["-m", "json.no_such"], "No module named json.no_such: "),
        (["-m", "json"], "No module named json.__main__; 'json' is a package and cannot be directly executed: "),
        (["-m", "script.py"], "No module named script.py: try script"),
        (["--no-python", "./nosuch"], "[Errno 2] No such file or directory: './nosuch': "),
        (["--no-python", "./script.py"], "[Errno 13] Permission denied: './script.py': "),
        (["--no-python", "no-such-program"], "[Errno 2] No such file or directory: 'no-such-program': "),
        (["--log-dir", "script.py", "script.py"], "log_dir: script.py is a file: "),
        (["--log-dir", "script.py/logs", "script.py"], "[Errno 20] Not a directory: 'script.py/logs': "),
    ],
)
def test_what_no_rank_could_run(here: Path, capfd: pytest.CaptureFixture[str], words: list[str], text: str) -> None:
    (here / "script.py").write_text("print()\n")
    (here / "folder").mkdir()
    stderr = said(words, capfd)
    assert stderr.startswith(f"fake-torchrun: error: {text}")
    assert stderr.count("\n") == 1


def test_an_interpreter_that_is_not_there(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "script.py").touch()
    monkeypatch.setenv("PYTHON_EXEC", "./python9")
    assert "No such file or directory: './python9'" in said(["script.py"], capfd)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_log_files_that_cannot_be_written(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "script.py").touch()
    (here / "logs").mkdir(mode=0o500)
    assert "[Errno 13] Permission denied: 'logs'" in said(["--log-dir", "logs", "script.py"], capfd)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc, where even root makes no directory")
def test_log_files_where_there_can_be_none(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "script.py").touch()
    stderr = said(["--log-dir", "/proc/self/logs", "script.py"], capfd)
    assert re.match(r"fake-torchrun: error: \[Errno \d+\] .*: '/proc/self/logs': log files can't be written", stderr)


@pytest.mark.parametrize(
    "source", [b"x = 1\ndef (\n", b"  x = 1\n", b"print 'hello'\n", b"x = '''\n", b"return\n", b"x = 1\ny\0 = 2\n"]
)
def test_a_syntax_error_is_reported_once_and_as_python_does(
    here: Path, capfd: pytest.CaptureFixture[str], source: bytes
) -> None:
    (here / "script.py").write_bytes(source)
    python = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=60, check=False)
    assert said(["--nproc-per-node", "8", "script.py"], capfd) == python.stderr
    assert "SyntaxError" in python.stderr or "IndentationError" in python.stderr


def test_a_script_is_source_whatever_its_name_but_archives_are_none(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "script").write_text("def (\n")
    assert said(["script"], capfd).endswith("SyntaxError: invalid syntax\n")
    with ZipFile(here / "archive", "w") as archive:
        archive.writestr("__main__.py", "print()")
    check_entrypoint(config_of(parse(["archive"], {}), {}))


def test_warnings_are_left_to_the_ranks(here: Path, recwarn: pytest.WarningsRecorder) -> None:
    (here / "script.py").write_text("print(1 is 1)\n")
    check_entrypoint(config_of(parse(["script.py"], {}), {}))
    assert not recwarn.list


def test_a_null_byte_is_a_syntax_error_with_its_line(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "script.py").write_bytes(b"x = 1\ny\0 = 2\n")
    stderr = said(["script.py"], capfd)
    assert stderr == f'  File "{here}/script.py", line 2\n    y\nSyntaxError: source code cannot contain null bytes\n'


@pytest.mark.parametrize("words", [["module"], ["package.module"], ["package"], ["spread.elsewhere"], ["json.tool"]])
def test_modules_are_found_and_not_imported(here: Path, words: list[str]) -> None:
    """Also one that only its package's code could find: better no word than a wrong one."""
    (here / "package").mkdir()
    (here / "spread").mkdir()
    (here / "spread" / "__init__.py").write_text("__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n")
    for name in ("module.py", "package/__init__.py", "package/module.py", "package/__main__.py"):
        (here / name).write_text("raise SystemExit('it was imported')\n")
    check_entrypoint(config_of(parse(["-m", *words], {}), {}))
    assert not {"module", "package", "spread"} & set(sys.modules)


def room(job: LaunchConfig, tmp_path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        run.check_room(job, proc=str(tmp_path / "proc"), cgroups=str(tmp_path / "cgroup"))
    return str(caught.value)


@pytest.mark.parametrize(
    ("membership", "directory"),
    [("0::/job/step\n", "cgroup/job"), ("9:name=systemd:/\n8:pids:/\n0::/\n", "cgroup/pids")],
)
def test_a_control_group_with_too_little_room_is_named(tmp_path: Path, membership: str, directory: str) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(membership)
    (tmp_path / directory).mkdir(parents=True)
    (tmp_path / directory / "pids.max").write_text("20\n")
    (tmp_path / directory / "pids.current").write_text("5\n")
    text = room(config("--nnodes", "2", "--nproc-per-node", "7"), tmp_path)
    assert text == (
        "[Errno 11] Resource temporarily unavailable: 14 ranks and 2 agents are too many processes: "
        f"{tmp_path / directory}/pids.max is 20 and 5 are there; start fewer, or raise it"
    )
    run.check_room(config("--nproc-per-node", "15"), proc=str(tmp_path / "proc"), cgroups=str(tmp_path / "cgroup"))


def test_more_processes_than_the_kernel_counts(tmp_path: Path) -> None:
    (tmp_path / "proc" / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / "proc" / "sys" / "kernel" / "pid_max").write_text("32768\n")
    (tmp_path / "proc" / "17").mkdir()
    text = room(config("--nproc-per-node", "32768"), tmp_path)
    assert "32768 ranks are too many processes: kernel.pid_max is 32768 and 1 are there" in text


def test_more_open_files_than_are_allowed(tmp_path: Path) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY:
        pytest.skip("there is no limit on open files")
    text = room(config("--nproc-per-node", str(most)), tmp_path)
    assert text.startswith("[Errno 24] Too many open files: ") or "RLIMIT_NPROC" in text
    assert f"is {most}" in text or "RLIMIT_NPROC" in text
