"""The meaning of the command line, and the errors when it has none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fake_torch_dist.launcher.commandline.parsed_arguments import flags_without_meaning, parse
from fake_torch_dist.launcher.commandline.parser import UsageError
from tests.support.repository import ROOT

LIMIT_S = 60


def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``fake-torchrun`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "fake_torch_dist.run", *words],
        cwd=ROOT, env=os.environ | {"COLUMNS": "80"} | variables, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("word", ["--nproc-per-node", "--nproc_per_node", "--nproc-p", "--nproc_"])
def test_both_spellings_and_abbreviations_are_the_same_flag(word: str) -> None:
    assert parse([word, "4", "x.py"], {}).nproc_per_node == "4"
    assert parse([f"{word}=4", "x.py"], {}).nproc_per_node == "4"


def test_everything_after_the_script_is_its_own() -> None:
    words = ["--nproc-per-node", "9", "-m", "--", "--help"]
    parsed = parse(["--standal", "x.py", *words], {})
    assert (parsed.training_script, parsed.training_script_args) == ("x.py", words)
    assert (parsed.standalone, parsed.module, parsed.nproc_per_node) == (True, False, "1")


def test_variables_are_defaults() -> None:
    variables = {"PET_NNODES": "2:3", "PET_MAX_RESTARTS": "5", "PET_TEE": "3", "PET_DUPLICATE_STDOUT_FILTERS": "a,,b,c"}
    parsed = parse(["x.py"], variables)
    assert (parsed.nnodes, parsed.max_restarts, parsed.tee) == ("2:3", 5, "3")
    assert parsed.duplicate_stdout_filters == ["a,b", "c"]
    assert parse(["--max-restarts", "1", "x.py"], variables).max_restarts == 1


@pytest.mark.parametrize(("value", "means"), [("1", True), ("0", False), ("7", True)])
def test_variables_turn_switches_on(value: str, means: bool) -> None:
    assert parse(["x.py"], {"PET_NO_PYTHON": value}).no_python is means


def test_a_variable_of_a_switch_that_is_no_number() -> None:
    with pytest.raises(
        UsageError, match=r"invalid literal for int\(\) with base 10: 'yes': PET_STANDALONE is a switch"
    ):
        parse(["x.py"], {"PET_STANDALONE": "yes"})


def test_what_was_given_is_known_even_if_it_is_the_default() -> None:
    parsed = parse(["--node-rank", "0", "--standalone", "x.py"], {"PET_MASTER_ADDR": "127.0.0.1"})
    assert {"node_rank", "master_addr", "standalone"} <= parsed.given
    assert "rdzv_endpoint" not in parsed.given


@pytest.mark.parametrize(
    ("words", "prefix"), [([], None), (["--prefix"], True), (["--no-prefix"], False)]
)  # fmt: skip
def test_prefixes_are_automatic_unless_something_is_said(words: list[str], prefix: bool | None) -> None:
    assert parse([*words, "x.py"], {}).prefix is prefix


def test_our_flags_take_no_abbreviation_from_torchruns() -> None:
    assert parse(["--no-p", "x"], {}).no_python
    with pytest.raises(SystemExit):
        parse(["--dedup", "x"], {})


@pytest.mark.parametrize(
    ("words", "beginning"),
    [
        (["--numa-binding", "node"], "--numa-binding node has no meaning here"),
        (["--event-log-handler", "console"], "--event-log-handler console has no meaning here"),
        (["--logs-specs", "mine"], "--logs-specs mine has no meaning here"),
        (["--monitor-interval", "5"], "--monitor-interval 5 has no meaning here"),
        (["--rdzv-backend", "c10d", "--node-rank", "1"], "--node-rank 1 has no meaning here"),
        (["--signals-to-handle", "SIGTERM, SIGFOO"], "--signals-to-handle: 'SIGFOO' is no signal"),
    ],
)
def test_a_flag_without_meaning_is_said_in_one_line(words: list[str], beginning: str) -> None:
    (sentence,) = flags_without_meaning(parse([*words, "x.py"], {}))
    assert sentence.startswith(beginning)
    assert "\n" not in sentence


def test_nothing_is_said_of_flags_that_mean_something() -> None:
    words = ["--event-log-handler", "null", "--node-rank", "1", "--nnodes", "2", "-t", "3", "--role", "trainer"]
    assert not list(flags_without_meaning(parse([*words, "x.py"], {})))


def test_a_run_goes_on_after_such_a_line() -> None:
    done = command("--numa-binding", "node", "--no-python", sys.executable, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert (
        done.stderr == "fake-torchrun: note: --numa-binding node has no meaning here: there are no GPUs to be near to\n"
    )


def test_help_says_what_this_is_and_what_differs() -> None:
    done = command("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: fake-torchrun [-h] [--nnodes NNODES] [--nproc-per-node NPROC_PER_NODE]\n")
    for flag in ("--virtual-local-rank", "--virtual_local_rank", "--prefix, --no-prefix", "--dedupe", "PET_"):
        assert flag in done.stdout
    assert "What differs from torchrun" in done.stdout
    prose = [line for line in done.stdout.splitlines() if not line.lstrip().startswith("-")]
    assert max(map(len, prose)) < 80


def test_version() -> None:
    done = command("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("fake-torchrun ")
    assert done.stdout.endswith("with the flags of torchrun 2.13\n")


def test_a_line_that_cannot_be_read_ends_with_2_and_a_bad_value_with_1() -> None:
    unreadable = command("--nope", "x.py")
    assert unreadable.returncode == 2
    assert unreadable.stderr.endswith("\nfake-torchrun: error: unrecognized arguments: --nope\n")
    bad = command("--nnodes", "3:1", "x.py")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("fake-torchrun: error: min_nodes must be > 0 and <= max_nodes, got min_nodes=3, ")
    assert bad.stderr.count("\n") == 1


def test_the_command_line_is_read_without_costly_imports() -> None:
    """So that --help can answer at once: argparse brings less than these."""
    code = (
        "import sys, types; package = types.ModuleType('fake_torch_dist'); package.__path__ = ['fake_torch_dist'];"
        "sys.modules['fake_torch_dist'] = package; import fake_torch_dist.run;"
        "print(sorted({'numpy', 'dataclasses', 'inspect', 'pathlib', 'socket', 'uuid'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert done.stdout == "[]\n"
