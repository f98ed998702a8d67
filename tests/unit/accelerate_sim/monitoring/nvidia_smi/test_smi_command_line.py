"""``fake-nvidia-smi``'s arguments, messages and exit codes."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from accelerate_sim.config.schema import RunConfig
from accelerate_sim.monitoring.nvidia_smi.__main__ import run
from accelerate_sim.monitoring.nvidia_smi.node import LibraryMismatch, Node
from accelerate_sim.monitoring.nvidia_smi.options import INVALID, parse
from accelerate_sim.monitoring.nvidia_smi.reading import Reading
from accelerate_sim.monitoring.published_job import Position, PublishedJob, path_of, process_start

FAILED = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
    "Make sure that the latest NVIDIA driver is installed and running.\n\n"
)
CSV = "--format=csv,noheader,nounits"


class Enough(Exception):
    """Ends a loop."""


class Tool:
    """``tool("-L")`` returns exit code and output."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.text = ""

    def __call__(self, *words: str) -> tuple[int, str]:
        self.text = ""
        code = run(words, self._write, self._sleep)
        return code, self.text

    def _write(self, text: str) -> None:
        self.text += text

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == 3:
            raise Enough


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = tmp_path / "fake-torchrun"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def tool(directory: Path) -> Tool:
    """With a job of 2 nodes of 4 GPUs, played by this process; its clock stands."""
    changes = {
        "model": "gpt2",
        "cluster": {"nodes": 2, "gpus_per_node": 4},
        "parallel": {"tensor": 1, "sharding": "ddp"},
        "train": {"sequence_length": 1024},
    }
    config = RunConfig.model_validate(changes).model_dump(mode="json")
    start = process_start(os.getpid())
    job = PublishedJob(1, 42, config, 0.0, "2026-01-05T09:30:00", (os.getpid(),), start, "python")
    publish(directory, job)
    return Tool()


def publish(directory: Path, job: PublishedJob) -> None:
    position = Position(100.0, time.monotonic(), 0.0, 100.0)
    path_of(directory, job.pid).write_bytes(position.line() + job.line())


@pytest.mark.parametrize(
    "words, rows",
    [
        ((), 1),
        (("-i", "2"), 1),
        (("-L",), 4),
        (("--list-gpus", "--id=0,3"), 2),
        (("--query-gpu=index", CSV), 4),
        (("--query-gpu", "index", "--format", "csv"), 5),
        (("-i", "00000000:14:00.0", "--query-gpu=index", CSV), 1),
        (("--query-compute-apps=pid", CSV), 4),
        (("--query-retired-pages=gpu_uuid,retired_pages.cause", CSV), 8),
        (("--query-remapped-rows", "gpu_uuid", "--format=csv"), 5),
        (("--query-accounted-apps=pid", "--format=csv"), 1),
        (("--query-supported-clocks=mem,gr", CSV), 4),
    ],
)
def test_what_scripts_say_is_understood(tool: Tool, words: tuple[str, ...], rows: int):
    code, text = tool(*words)
    assert code == 0
    is_table = not words or words == ("-i", "2")
    assert text.startswith("Mon Jan  5 09:31:40 2026") if is_table else text.count("\n") == rows


def test_gpus_are_found_by_uuid(tool: Tool):
    _, listed = tool("--query-gpu=index,uuid", CSV)
    for line in listed.splitlines():
        index, uuid = line.split(", ")
        assert tool("-i", uuid, "--query-gpu=index", CSV) == (0, f"{index}\n")


def test_another_node_has_other_gpus(tool: Tool):
    nodes = [tool(f"--node={node}", "--query-gpu=uuid,count", CSV)[1].splitlines() for node in (0, 1)]
    assert len({*nodes[0], *nodes[1]}) == 8
    assert all(line.endswith(", 4") for lines in nodes for line in lines)


@pytest.mark.parametrize(
    "words, seconds", [(("-l", "2"), 2.0), (("-lms", "500"), 0.5), (("--loop=3",), 3.0), (("-l",), 5.0)]
)
def test_a_loop_has_one_header(tool: Tool, words: tuple[str, ...], seconds: float):
    with pytest.raises(Enough):
        tool("--query-gpu=index", "--format=csv", "-i", "1", *words)
    assert tool.text == "index\n" + "1\n" * 3
    assert tool.slept == [seconds] * 3


@pytest.mark.parametrize(
    "words",
    [
        ("--nonsense",), ("-l", "0"), ("-l", "soon"), ("-L", "-q"), ("-x",), ("--format=csv",), ("-i",), ("stray",),
        ("--query-gpu=index", "--format=noheader"), ("--query-gpu=index", "--format=csv,nohead"),
        ("-q", "-d", "NOTHING"), ("--query-nothing=index", "--format=csv"), ("--help-query-nothing",),
        ("topo",), ("topo", "-x"), ("nvlink",), ("nvlink", "-s", "-i"), ("dmon", "-s", "q"), ("pmon", "-s", "p"),
        ("dmon", "-c", "0"), ("dmon", "-d", "soon"), ("dmon", "-o", "X"), ("dmon", "--count"), ("pmon", "-h=1"),
        ("--query-gpu=index", "--query-compute-apps=pid", "--format=csv"), ("-lms", "nan"), ("-l", "inf"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_in_the_tools_words(tool: Tool, words: tuple[str, ...]):
    assert tool(*words) == (2, INVALID)


@pytest.mark.parametrize("kind, groups", [("dmon", "pm"), ("pmon", "u")])
def test_a_monitor_takes_as_many_samples_as_asked_for(tool: Tool, kind: str, groups: str):
    code, text = tool(kind, "-c", "2", "-s", groups, "-d", "3", "-i", "0,1")
    assert code == 0
    assert [line[0] == "#" for line in text.splitlines()] == [True] * 2 + [False] * 4
    assert tool.slept == [3.0]


def test_a_monitor_without_a_count_goes_on(tool: Tool):
    with pytest.raises(Enough):
        tool("dmon", "-i", "3")
    assert tool.slept == [1.0] * 3 and tool.text.count("\n") == 2 + 3


@pytest.mark.parametrize("words", [("topo", "-m"), ("nvlink", "--status", "-i", "1"), ("topo", "--matrix", "--node=1")])
def test_topology(tool: Tool, words: tuple[str, ...]):
    code, text = tool(*words)
    assert code == 0 and "GPU1" in text.replace(" ", "")


@pytest.mark.parametrize("name", ["", "dmon", "pmon", "topo", "nvlink"])
def test_each_command_has_a_help(tool: Tool, name: str):
    for word in ("-h", "--help"):
        code, text = tool(*([name] if name else []), word)
        assert code == 0 and "imulated" in text and "--help" in text


def test_a_sub_command_that_is_not_simulated_says_so(tool: Tool, capsys: pytest.CaptureFixture[str]):
    assert tool("mig", "-lgip") == (3, "")
    assert "'mig' is not simulated" in capsys.readouterr().err


def test_output_goes_to_a_file_if_asked(tool: Tool, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "smi.csv"
    assert tool("--query-gpu=index", CSV, "-f", str(path)) == (0, "")
    assert path.read_text() == "0\n1\n2\n3\n"
    assert tool("-L", f"--filename={tmp_path}") == (1, "")
    assert "can't be written" in capsys.readouterr().err


def test_a_query_needs_a_format(tool: Tool):
    code, text = tool("--query-gpu=index")
    assert (code, text.partition(" switch")[0]) == (2, '"--format="')


def test_an_unknown_property(tool: Tool):
    assert tool("--query-gpu=cuda_version", CSV) == (2, 'Field "cuda_version" is not a valid field to query.\n\n')


@pytest.mark.parametrize("which", ["9", "GPU-0", "", "00000000:FF:00.0"])
def test_no_such_gpu(tool: Tool, which: str):
    assert tool(f"--id={which}") == (6, "No devices were found\n")


@pytest.mark.parametrize(
    "words, hint", [(("--node", "2"), "0 to 1"), (("--job", "1"), str(os.getpid()))], ids=["node", "job"]
)
def test_what_the_job_has_not_is_as_no_driver(
    tool: Tool, words: tuple[str, ...], hint: str, capsys: pytest.CaptureFixture[str]
):
    assert tool(*words) == (9, FAILED)
    assert hint in capsys.readouterr().err


def test_a_job_is_chosen_by_its_process(tool: Tool):
    assert tool("--job", str(os.getpid()), "-L")[0] == 0


def test_without_a_job_it_says_so_and_how_to_have_one(directory: Path, capsys: pytest.CaptureFixture[str]):
    assert Tool()("-L") == (9, FAILED)
    assert "--publish" in capsys.readouterr().err


def test_an_unsafe_directory_is_not_read(tool: Tool, directory: Path, capsys: pytest.CaptureFixture[str]):
    directory.chmod(0o777)
    assert tool("-L") == (9, FAILED)
    assert "open to other users" in capsys.readouterr().err


def test_a_job_that_says_nonsense_is_as_no_driver(tool: Tool, directory: Path, capsys: pytest.CaptureFixture[str]):
    job = PublishedJob(1, 42, {"model": 5}, 0.0, "x", (os.getpid(),), process_start(os.getpid()), "python")
    publish(directory, job)
    assert tool("-L") == (9, FAILED)
    assert "another version" in capsys.readouterr().err
    publish(directory, replace(job, config={}))
    assert tool("-L") == (9, FAILED), "a start that is no time"


def test_help_says_that_it_is_simulated_and_names_every_option(tool: Tool):
    code, text = tool("-h")
    assert code == 0 and "simulated" in text.splitlines()[0]
    assert all(
        option in text for option in ("--node=", "--job=", "--query-gpu=", "-lms", "PAGE_RETIREMENT", "Exit codes")
    )
    assert "{" not in text and len(max(text.splitlines(), key=len)) <= 120


def test_version_and_fields(tool: Tool):
    assert tool("--version") == (
        0,
        """\
NVIDIA-SMI version  : 550.90.12
NVML version        : 550.90
DRIVER version      : 550.90.12
CUDA Version        : 12.4
""",
    )
    fields = tool("--help-query-gpu")[1]
    assert '"clocks.current.sm" or "clocks.sm"' in fields
    assert parse(["--help-query-gpu"]).help_query == "gpu"


@pytest.mark.parametrize("words", [[], ["-L"], ["-q"], ["--query-gpu=name", "--format=csv"], ["dmon", "-c", "1"]])
def test_a_library_of_another_driver_is_all_that_is_told(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    def read(_: Node) -> Reading:
        raise LibraryMismatch("570.124.06")

    monkeypatch.setattr(Node, "read", read)
    written: list[str] = []
    assert run(words, written.append) == 18
    assert "".join(written) == (
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 570.124\n"
    )
