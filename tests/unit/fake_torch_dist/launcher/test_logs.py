"""Log files are where torchrun has them, and each stream goes where torchrun sends it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_torch_dist.launcher.commandline.config import Std, StreamSelection
from fake_torch_dist.launcher.logs import (
    AttemptLogs,
    Destination,
    FilteredLog,
    LogDirectoryError,
    LogTree,
    Stream,
    destination,
    matching_lines,
)

NOTHING = StreamSelection()
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")
ATTEMPT = AttemptLogs(Path("/logs/job_abcdefgh/attempt_0"))


def of(by_local_rank: Mapping[int, int] | int) -> StreamSelection:
    if isinstance(by_local_rank, int):
        return StreamSelection(everyone=Std(by_local_rank))
    return StreamSelection(by_local_rank={rank: Std(bits) for rank, bits in by_local_rank.items()})


def where(
    local_rank: int,
    stream: Stream,
    redirects: StreamSelection = NOTHING,
    tee: StreamSelection = NOTHING,
    *,
    attempt: AttemptLogs = ATTEMPT,
    ranks: frozenset[int] | None = None,
    filters: Sequence[str] = (),
    prefix: bool | None = None,
) -> Destination:
    return destination(
        attempt, local_rank, stream, redirects=redirects, tee=tee, local_ranks_filter=ranks, filters=filters,
        prefix=prefix,
    )  # fmt: skip


def tree_of(directory: Path) -> set[str]:
    """Files and directories below, the random part of the run's name left out."""
    return {re.sub(r"_[a-z0-9_]{8}(?=/|$)", "_RANDOM", str(p.relative_to(directory))) for p in directory.rglob("*")}


# The tree


def test_one_node_has_torchruns_tree(tmp_path: Path) -> None:
    tree = LogTree.create(tmp_path / "new" / "logs", "job")
    attempt = AttemptLogs.create(tree.run_directory(), 1, 2)
    assert tree_of(tmp_path / "new" / "logs") == {
        "job_RANDOM", "job_RANDOM/attempt_1", "job_RANDOM/attempt_1/0", "job_RANDOM/attempt_1/1",
    }  # fmt: skip
    assert tree.kept
    directory = tree.run_directory()
    assert directory is not None
    assert attempt.error_file(1) == f"{directory}/attempt_1/1/error.json"
    assert attempt.stream_file(0, "stderr") == directory / "attempt_1" / "0" / "stderr.log"
    assert attempt.filtered_file("stdout") == directory / "attempt_1" / "filtered_stdout.log"


def test_a_log_directory_serves_many_runs(tmp_path: Path) -> None:
    runs = {LogTree.create(tmp_path, "job").run_directory() for _ in range(5)}
    assert len(runs) == 5 == len(list(tmp_path.iterdir()))


def test_emulated_nodes_have_a_level_each_and_the_runs_name_in_common(tmp_path: Path) -> None:
    nodes = ("node0", "node1", "node2")
    tree = LogTree.create(tmp_path, "job", nodes=nodes)
    directories = [tree.run_directory(node) for node in nodes]
    assert [directory and directory.parent for directory in directories] == [tmp_path / node for node in nodes]
    assert len({directory and directory.name for directory in directories}) == 1
    assert tree.run_directory() is None
    again = LogTree.create(tmp_path, "job", nodes=nodes)
    assert again.run_directories != tree.run_directories


def test_an_attempt_starts_empty(tmp_path: Path) -> None:
    left_over = AttemptLogs.create(tmp_path, 0, 3).error_file(2)
    Path(left_over).write_text("{}")
    AttemptLogs.create(tmp_path, 0, 2)
    assert tree_of(tmp_path) == {"attempt_0", "attempt_0/0", "attempt_0/1"}


def test_without_a_log_directory_the_tree_goes_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    tree = LogTree.create(None, "job", nodes=("node0", "node1"))
    Path(AttemptLogs.create(tree.run_directory("node1"), 0, 1).error_file(0)).write_text("{}")
    assert tree.base.parent == tmp_path and tree.base.name.startswith("torchelastic_")
    assert not tree.kept
    tree.remove()
    tree.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_somebody_asked_for_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for tree in (LogTree.create(None, "job", files_wanted=True), LogTree.create(tmp_path / "logs", "job")):
        tree.remove()
        directory = tree.run_directory()
        assert directory is not None and directory.is_dir()


def test_a_log_directory_that_is_a_file_is_refused_in_torchruns_words(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text("")
    with pytest.raises(LogDirectoryError, match=f"^NotADirectoryError: log_dir: {tmp_path}/hello.py is a file$"):
        LogTree.create(tmp_path / "hello.py", "job")


@pytest.mark.parametrize("run_id", ["a/b", "x" * 300])
def test_a_directory_that_cannot_be_made_is_named_with_the_reason(run_id: str, tmp_path: Path) -> None:
    with pytest.raises(LogDirectoryError, match=r"Error: log_dir: \S+ can't be made: \w.* Name a directory"):
        LogTree.create(tmp_path, run_id)
    (tmp_path / "file").write_text("")
    with pytest.raises(LogDirectoryError, match="can't be made: Not a directory"):
        LogTree.create(tmp_path / "file" / "logs", "job")


def test_dev_null_means_no_files_and_everything_on_the_console() -> None:
    tree = LogTree.create(Path(os.devnull), "job")
    attempt = AttemptLogs.create(tree.run_directory(), 0, 2)
    assert (attempt.error_file(0), attempt.stream_file(0, "stdout"), attempt.filtered_file("stdout")) == (
        "",
        None,
        None,
    )
    everything = where(0, "stdout", of(3), of(3), attempt=attempt, ranks=frozenset({1}), filters=["x"])
    assert everything == Destination(console=True, prefix=False, file=None, filtered=False)
    tree.remove()
    assert os.path.exists(os.devnull)


# Where a stream goes


def test_a_stream_goes_to_the_console_to_a_file_or_to_both() -> None:
    out, err = ATTEMPT.stream_file(0, "stdout"), ATTEMPT.stream_file(0, "stderr")
    assert where(0, "stdout") == Destination(console=True, prefix=False, file=None, filtered=False)
    assert where(0, "stdout", of(1)) == Destination(console=False, prefix=False, file=out, filtered=False)
    assert where(0, "stderr", of(1)) == Destination(console=True, prefix=False, file=None, filtered=False)
    assert where(0, "stderr", of(1), of(2)) == Destination(console=True, prefix=True, file=err, filtered=False)
    assert where(1, "stdout", of({0: 1})).console


def test_ranks_that_are_filtered_out_keep_their_files_and_lose_the_console() -> None:
    ranks = frozenset({0, 2})
    shown, hidden = (where(rank, "stdout", tee=of(3), ranks=ranks, filters=["x"]) for rank in (2, 1))
    assert shown.console and shown.filtered
    assert not hidden.console and not hidden.filtered
    assert hidden.file == ATTEMPT.stream_file(1, "stdout")
    silent = where(1, "stdout", ranks=ranks)
    assert not silent.console and silent.file is None
    assert where(1, "stdout", ranks=frozenset()).console


def test_only_teed_streams_pass_the_duplicate_filters() -> None:
    assert where(0, "stdout", tee=of(1), filters=["x"]).filtered
    assert not where(0, "stderr", tee=of(1), filters=["x"]).filtered
    assert not where(0, "stdout", of(1), filters=["x"]).filtered
    assert not where(0, "stdout", tee=of(1)).filtered


@pytest.mark.parametrize(("prefix", "teed", "plain"), [(None, True, False), (True, True, True), (False, False, False)])
def test_prefixes(prefix: bool | None, teed: bool, plain: bool) -> None:
    assert where(0, "stdout", tee=of(1), prefix=prefix).prefix is teed
    assert where(0, "stdout", prefix=prefix).prefix is plain


# Duplicate filters


@given(
    lines=st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b" "))),
    needles=st.lists(st.sampled_from([b"", b"a", b"\0", b" ", b"\xff"]), max_size=3),
)
def test_matching_lines_are_those_that_a_line_by_line_search_finds(lines: list[bytes], needles: list[bytes]) -> None:
    want = [b"[p]:" + line + b"\n" for line in lines if any(needle in line for needle in needles)]
    if lines:
        assert matching_lines(b"\n".join([*lines, b""]), needles, b"[p]:") == b"".join(want)


def test_the_filtered_file_has_what_matches_at_once(tmp_path: Path) -> None:
    log = FilteredLog(tmp_path / "filtered_stdout.log", ["step", "größe"])
    log.write(b"step 1\nother\n", b"[default0]:")
    log.write("Die größe\n".encode(), b"[default1]:")
    log.write(b"nothing here\n", b"[default1]:")
    assert (tmp_path / "filtered_stdout.log").read_text("utf-8") == "[default0]:step 1\n[default1]:Die größe\n"
    log.close()


# Against the real tool

SCRIPT = """
import os, sys
rank = os.environ["RANK"]
for n in range(3):
    sys.stdout.write(f"out {rank} step {n}\\n"); sys.stderr.write(f"err {rank} step {n}\\n")
open(os.environ["TORCHELASTIC_ERROR_FILE"], "w").close() if os.environ["TORCHELASTIC_ERROR_FILE"] else None
"""
CASES: dict[str, tuple[int | dict[int, int], int | dict[int, int], frozenset[int] | None, str]] = {
    "console": (0, 0, None, ""),
    "redirected": (3, 0, None, ""),
    "redirected_by_rank": ({0: 1, 1: 2}, 0, None, ""),
    "teed": (0, 3, None, "step 1"),
    "teed_by_rank": (1, {0: 1, 1: 2}, None, "0 step,step 2"),
    "ranks_filtered": ({0: 2}, {1: 1}, frozenset({1}), "step 1"),
    "nobody_heard": (0, 1, frozenset({7}), "step"),
}


def as_option(streams: int | dict[int, int]) -> str:
    return str(streams) if isinstance(streams, int) else ",".join(f"{k}:{v}" for k, v in streams.items())


def played(
    base: Path, redirects: StreamSelection, tee: StreamSelection, ranks: frozenset[int] | None, filters: Sequence[str]
) -> dict[str, list[str]]:
    """Console output of SCRIPT's two ranks, after their files were written as ours says."""
    attempt = AttemptLogs.create(LogTree.create(base, "job").run_directory(), 0, 2)
    console: dict[str, list[str]] = {stream: [] for stream in STREAMS}
    for stream in STREAMS:
        filtered = attempt.filtered_file(stream)
        log = FilteredLog(filtered, filters) if filtered and filters else None
        for rank in range(2):
            Path(attempt.error_file(rank)).touch()
            lines = [f"{stream[3:]} {rank} step {n}\n" for n in range(3)]
            to = where(rank, stream, redirects, tee, attempt=attempt, ranks=ranks, filters=filters)
            prefix = f"[default{rank}]:" if to.prefix else ""
            if to.file:
                to.file.write_text("".join(lines))
            if to.console:
                console[stream] += [prefix + line for line in lines]
            if to.filtered and log:
                log.write("".join(lines).encode(), prefix.encode())
        if log:
            log.close()
    return {stream: sorted(lines) for stream, lines in console.items()}


def contents(directory: Path) -> dict[str, list[str]]:
    """Sorted lines of each file, since ranks write the filtered ones in any order."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(next(directory.iterdir()))): sorted(path.read_text().split("\n")) for path in files}


@pytest.mark.real
@pytest.mark.parametrize("name", list(CASES))
def test_streams_and_tree_agree_with_torchruns(name: str, tmp_path: Path) -> None:
    found = shutil.which("torchrun", path=os.path.dirname(sys.executable)) or pytest.skip("torchrun is not installed")
    redirects, tee, ranks, filters = CASES[name]
    (tmp_path / "main.py").write_text(SCRIPT)
    options = ["-r", as_option(redirects), "-t", as_option(tee)]
    options += ["--local-ranks-filter", ",".join(map(str, ranks))] if ranks else []
    options += ["--duplicate-stdout-filters", filters, "--duplicate-stderr-filters", filters] if filters else []
    done = subprocess.run(
        [found, "--nproc-per-node", "2", "--log-dir", "theirs", "--rdzv-id", "job", "--master-port", "0",
         "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *options, "main.py"],
        cwd=tmp_path, env=os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = played(tmp_path / "ours", of(redirects), of(tee), ranks, [text for text in filters.split(",") if text])
    assert tree_of(tmp_path / "ours") == tree_of(tmp_path / "theirs")
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")
    assert console["stdout"] == sorted(done.stdout.splitlines(keepends=True))
    warnings = re.compile(r"[WE]\d{4} .*")
    assert console["stderr"] == sorted(
        line for line in done.stderr.splitlines(keepends=True) if not warnings.match(line)
    )
