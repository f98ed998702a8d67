"""The command line against torchrun's own: flags, defaults, variables, and what is said of wrong ones.

``python -m pytest -m real tests/against_real/test_torchrun_arguments.py`` where torch 2.13 is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fake_torch_dist.launcher.commandline.choices import config_of, host_and_port
from fake_torch_dist.launcher.commandline.config import Std
from fake_torch_dist.launcher.commandline.parsed_arguments import Arguments, build_parser, parse
from fake_torch_dist.launcher.commandline.parser import OURS, UsageError
from fake_torch_dist.run import main
from tests.support.repository import ROOT

pytestmark = pytest.mark.real

LIMIT_S = 120

VALUES = {  # of a flag's type, and not its default
    "nnodes": "2:4", "nproc_per_node": "3", "rdzv_backend": "c10d", "rdzv_endpoint": "h:1", "rdzv_id": "job",
    "rdzv_conf": "timeout=3", "standalone": "1", "max_restarts": "2", "monitor_interval": "0.5",
    "start_method": "fork", "event_log_handler": "console", "role": "trainer", "module": "1", "no_python": "7",
    "run_path": "1", "log_dir": "logs", "redirects": "0:1,1:2", "tee": "3", "local_ranks_filter": "0",
    "duplicate_stdout_filters": "a,,b,c,,,d", "duplicate_stderr_filters": ",", "node_rank": "1",
    "master_addr": "host0", "master_port": "1234", "local_addr": "host1", "logs_specs": "mine",
    "numa_binding": "node", "signals_to_handle": "SIGUSR1", "shutdown_timeout": "5", "virtual_local_rank": "1",
}  # fmt: skip
SWITCHES = ("standalone", "module", "no_python", "run_path", "virtual_local_rank")


def torchrun() -> Any:
    """Torchrun's module, imported when a test asks: each pytest process loads this file, and few need torch."""
    return pytest.importorskip("torch.distributed.run", reason="compares with torchrun")


def flags(parser: argparse.ArgumentParser) -> list[dict[str, Any]]:
    """Each argument as it was declared to a parser, in order, without its help text."""
    told = ("option_strings", "dest", "nargs", "const", "default", "required", "metavar")
    return [
        {name: getattr(action, name) for name in told}
        | {
            "type": None if action.type in (None, str) else getattr(action.type, "__name__", "").strip("_"),
            "choices": None if action.choices is None else list(action.choices),
        }
        for action in parser._actions
        if action.dest not in OURS
    ]


def theirs(words: list[str]) -> dict[str, Any]:
    return vars(torchrun().get_args_parser().parse_args(words))


def ours(words: list[str]) -> dict[str, Any]:
    return as_torchs(vars(parse(words, os.environ)))


def as_torchs(parsed: dict[str, Any]) -> dict[str, Any]:
    """Values of torchrun's flags. Our own start method, the default, stands for torchrun's default."""
    values = {name: value for name, value in parsed.items() if name not in OURS | {"given"}}
    return values | {"start_method": "spawn" if values["start_method"] == "auto" else values["start_method"]}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that torchrun would read, and nothing that it leaves."""
    torchrun()  # skips where it is not
    for name in [name for name in os.environ if name.startswith(("PET_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "80")


def test_every_flag_is_there_with_its_names_default_type_and_choices() -> None:
    mine, real = flags(build_parser({})), flags(torchrun().get_args_parser())
    for flag in (*mine, *real):
        if str(flag["type"]).endswith("comma_separated_list") or flag["type"] == "comma_list":
            flag["type"] = "comma list"
    assert [flag["dest"] for flag in mine] == [flag["dest"] for flag in real]
    for one, other in zip(mine, real, strict=True):
        if one["dest"] == "start_method":
            assert (one["default"], other["default"]) == ("auto", "spawn")
            choices = [choice for choice in one["choices"] or () if choice != "auto"]
            one |= {"default": "spawn", "choices": choices, "metavar": None}
        assert one == other


def test_the_values_below_are_of_all_flags() -> None:
    assert VALUES.keys() | {"help", "training_script", "training_script_args"} == {
        flag["dest"] for flag in flags(torchrun().get_args_parser())
    }


@pytest.mark.parametrize("name", VALUES)
def test_a_variable_means_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = theirs(["x.py"])
    monkeypatch.setenv(f"PET_{name.upper()}", VALUES[name])
    assert ours(["x.py"]) == theirs(["x.py"])
    assert (theirs(["x.py"]) == before) is (name in ("logs_specs", "numa_binding"))


@pytest.mark.parametrize("name", VALUES)
def test_a_flag_means_the_same_in_both_spellings(name: str) -> None:
    value = [] if name in SWITCHES else [VALUES[name]]
    spellings = [f"--{name}", f"--{name.replace('_', '-')}"]
    for spelling in spellings:
        assert ours([spelling, *value, "x.py", "--", "-h"]) == theirs([spelling, *value, "x.py", "--", "-h"])


def test_each_beginning_of_each_flag_means_the_same_or_is_refused_alike(capsys: pytest.CaptureFixture[str]) -> None:
    def meaning(parser: argparse.ArgumentParser, word: str) -> object:
        try:
            parsed = vars(parser.parse_args([word, "1", "x.py"], Arguments(given=set())))
        except SystemExit as ending:
            return ending.code, capsys.readouterr().err.partition(": error: ")[2].replace("'auto', ", "")
        return as_torchs(parsed)

    mine, real = build_parser({}), torchrun().get_args_parser()
    names = {option for flag in flags(real) for option in flag["option_strings"]} - {"--help", "-h"}
    beginnings = {name[:end] for name in names for end in range(3, len(name) + 1)} - {"--h", "--he", "--hel"}
    for word in sorted(beginnings):
        assert meaning(mine, word) == meaning(real, word), word


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--nope", "x.py"],
        ["--nproc", "2", "x.py"],
        ["--max-restarts", "abc", "x.py"],
        ["--monitor-interval", "often", "x.py"],
        ["--start-method", "xx", "x.py"],
        ["--numa-binding", "xx", "x.py"],
        ["--standalone=1", "x.py"],
        ["--tee"],
    ],
)
def test_argparse_says_the_same_and_the_exit_code_is_the_same(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for read in (ours, theirs):
        with pytest.raises(SystemExit) as ending:
            read(words)
        said.append((ending.value.code, capsys.readouterr().err.partition(": error: ")[2]))
    assert said[0] == said[1]
    assert said[0][0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--nnodes", "0"],
        ["--nnodes", "3:1"],
        ["--nnodes", "1:2:3"],
        ["--nnodes", "abc"],
        ["--nnodes", ""],
        ["--nnodes", "1:"],
        ["--max-restarts", "-1"],
        ["--nproc-per-node", "banana"],
        ["--nproc-per-node", "gpu"],
        ["--nproc-per-node", "xpu"],
        ["-t", "5"],
        ["-r", "0:1;1:2"],
        ["--local-ranks-filter", "a"],
        ["--local-ranks-filter", "0,"],
        ["--rdzv-conf", "timeout"],
        ["--rdzv-conf", "=3"],
        ["--no-python", "-m"],
        ["--shutdown-timeout", "-1"],
    ],
)
def test_a_bad_value_is_refused_in_torchruns_words(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((ValueError, AssertionError, RuntimeError)) as raised:
        torchrun().config_from_args(torchrun().parse_args([*words, "x.py"]))
    assert main([*words, "x.py"]) == 1
    stderr = capfd.readouterr().err
    assert stderr.startswith(f"fake-torchrun: error: {raised.value}")
    assert stderr.count("\n") == 1
    assert len(stderr) > len(f"fake-torchrun: error: {raised.value}\n") + 10  # and says more


@pytest.mark.parametrize(
    "endpoint", ["h:x", "h:65536", "h:", "h o:1", "[::1]x:1", "h", "[::1]", "[::1]:5", "::1", "h:0"]
)
def test_an_endpoint_is_read_alike(endpoint: str) -> None:
    rendezvous = pytest.importorskip("torch.distributed.elastic.rendezvous.utils")
    try:
        means = rendezvous.parse_rendezvous_endpoint(endpoint, 29400)
    except ValueError as error:
        with pytest.raises(UsageError) as refused:
            host_and_port(endpoint)
        assert str(refused.value).startswith(str(error))
    else:
        assert host_and_port(endpoint) == means


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--nproc-per-node", "cpu", "--nnodes", "1:1"],
        ["--nproc-per-node", "auto", "--role", "trainer", "--max-restarts", "3"],
        ["--standalone", "--rdzv-backend", "static", "--rdzv-id", "job7"],
        ["--rdzv-id", "job7"],
        ["--master-port", "1234"],
        ["--rdzv-backend", "c10d", "--rdzv-endpoint", "h:1", "--rdzv-id", "job7", "--nnodes", "2:4"],
        ["--rdzv-endpoint", "h:1", "--rdzv-conf", "timeout=5, a = b=c"],
        ["--nnodes", "2", "--node-rank", "1"],
        ["--nnodes", "2", "--master-addr", "host0", "--local-addr", "host1"],
        ["-r", "3", "-t", "0:1,1:2", "--local-ranks-filter", "0,1", "--nproc-per-node", "2", "--log-dir", "logs"],
        ["--duplicate-stdout-filters", "a,,b", "--shutdown-timeout", "4", "--virtual-local-rank"],
        ["--signals-to-handle", "SIGUSR1,SIGTERM"],
    ],
)
def test_the_choices_are_torchruns(words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Compared with the configuration that torchrun would launch."""
    monkeypatch.chdir(tmp_path)  # torchrun makes its log directory
    launched: list[Any] = []
    monkeypatch.setattr(torchrun(), "elastic_launch", lambda config, entrypoint: lambda *words: launched.append(config))
    torchrun().run(torchrun().parse_args([*words, "x.py"]))
    (real,) = launched
    mine = config_of(parse([*words, "x.py"], os.environ), os.environ)
    same = ("min_nodes", "max_nodes", "nproc_per_node", "role", "rdzv_backend", "rdzv_endpoint", "max_restarts",
            "local_addr", "virtual_local_rank")  # fmt: skip
    assert {name: getattr(mine, name) for name in same} == {name: getattr(real, name) for name in same}
    assert (len(mine.run_id) == 36) if len(real.run_id) == 36 else (mine.run_id == real.run_id)
    assert mine.shutdown_timeout_s == real.shutdown_timeout
    assert ",".join(number.name for number in mine.signals) == real.signals_to_handle
    assert mine.duplicate_stdout_filters == tuple(real.duplicate_stdout_filters)
    rank = {"rank": mine.node_rank or 0} if mine.rdzv_backend == "static" else {}
    times = {key: value for key, value in real.rdzv_configs.items() if key in mine.rdzv_conf or key == "rank"}
    assert {**mine.rdzv_conf, **rank} == times
    logs = real.logs_specs
    assert mine.local_ranks_filter == logs._local_ranks_filter
    for streams, std in ((mine.redirects, logs._redirects), (mine.tee, logs._tee)):
        for local_rank in range(3):
            value = std.get(local_rank, 0) if isinstance(std, dict) else std
            assert streams.of(local_rank) == Std(int(value))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nosuch.py"], "can't open file 'nosuch.py': [Errno 2] No such file or directory"),
        (["-m", "no_such_module"], "No module named no_such_module"),
        (["--no-python", "./nosuch"], "[Errno 2] No such file or directory: './nosuch'"),
        (["--no-python", "./script.py"], "[Errno 13] Permission denied: './script.py'"),
        (["--log-dir", "script.py", "script.py"], "log_dir: script.py is a file"),
        (
            ["--rdzv-backend", "nosuch", "script.py"],
            "The rendezvous backend 'nosuch' is not registered. Did you forget ",
        ),
        (["bad.py"], "SyntaxError: invalid syntax"),
        (["--signals-to-handle", "SIGKILL", "script.py"], "[Errno 22] Invalid argument"),
        (["--master-port", "70000", "script.py"], "The port number of the rendezvous endpoint '127.0.0.1:70000' must "),
        (["--monitor-interval", "0", "script.py"], ""),
        (["--nproc-per-node", "0", "script.py"], ""),
    ],
)
def test_what_cannot_start_ends_alike(words: list[str], text: str, tmp_path: Path) -> None:
    """Two real processes: same exit code, and the words that torchrun or its ranks use."""
    (tmp_path / "script.py").write_text("print('ran')\n")
    (tmp_path / "bad.py").write_text("def (\n")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    ended = []
    for module in ("fake_torch_dist.run", "torch.distributed.run"):
        done = subprocess.run(
            [sys.executable, "-m", module, *words], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert text in done.stderr.replace(f"'{tmp_path}/", "'")
        ended.append((done.returncode, done.stdout))
    assert ended[0] == ended[1] == (1, "")
