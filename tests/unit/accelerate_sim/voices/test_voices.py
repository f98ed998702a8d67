"""Every log line of the package is worded by a voice, and a voice is found through one table."""

import ast
import logging
import sys
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from accelerate_sim import records
from accelerate_sim.config import voice_table
from accelerate_sim.config.checks.conflicts import conflicts
from accelerate_sim.config.schema import RunConfig
from accelerate_sim.config.sections.output import LogConfig
from accelerate_sim.config.voice_table import VOICES, VoiceEntry, voice_options
from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.records import BatchRecord, ExportFileRecord, LaunchRecord, ProcessRecord, Record, ResumeRecord
from accelerate_sim.reporting.build import run_facts
from accelerate_sim.reporting.console import RunConsole
from accelerate_sim.sim.plan import Plan
from accelerate_sim.voices.voice import Line, Voice, voice_called

PACKAGE = Path(records.__file__).resolve().parents[1]
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}
MAY_LOG = {"train.py", "logging.py", "reporting/console.py"}
"""The script's own lines, the adapter that hands lines on, and the console, which logs what a voice says."""
SILENT = {
    records.StartRecord, records.AttemptRecord, records.GpuRecord, records.EarlyEndRecord, records.CheckpointingRecord,
}  # fmt: skip
"""Kinds that the house voice leaves out: two are for files, one is drawn, a session's last line has no prefix, and the
directory of checkpoints is in the line about each."""
PLAN = Plan(RunConfig())
FACTS = run_facts(PLAN)
NOW = datetime(2026, 1, 31, 9, 30)


def said(record: Record, voice: str = "house") -> list[str]:
    return [line.text for line in voice_called(voice).lines[type(record)](record, FACTS)]


def test_only_the_console_logs() -> None:
    found = []
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    for path in (path for path, text in texts.items() if "logg" in text):  # the others need no parsing
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(texts[path])):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                target = ast.unparse(node.func.value)
                if name not in MAY_LOG and ("logger" in target or target == "logging"):
                    found.append(f"{name}:{node.lineno}")
    assert not found


@pytest.mark.parametrize("name", VOICES)
def test_a_voice_words_kinds_of_record_and_nothing_else(name: str) -> None:
    assert set(voice_called(name).lines) <= set(get_args(Record))


def test_the_house_voice_knows_every_kind_of_record() -> None:
    assert set(voice_called("house").lines) == set(get_args(Record)) - SILENT


def test_a_resumed_run_names_each_checkpoint_that_was_damaged() -> None:
    lines = list(voice_called("house").lines[ResumeRecord](ResumeRecord(None, ("a is damaged", "b\nis")), FACTS))
    assert [line.level for line in lines] == [logging.WARNING, logging.WARNING, logging.INFO]
    assert [line.text for line in lines] == [
        "Checkpoint a is damaged", r"Checkpoint b\nis", "Going on from the beginning of run 1",
    ]  # fmt: skip


def test_a_restarted_job_says_which_attempt_it_is() -> None:
    assert len(said(LaunchRecord("train.py", attempt=0))) == 1
    assert said(LaunchRecord("train.py", attempt=2))[1] == "Attempt 3: the launcher has restarted the job"


@pytest.mark.parametrize(
    ("shard", "shards", "text"),
    [(0, 90, "  x | 5 B"), (40, 90, "  x | 5 B"), (41, 90, "  ... and 49 more"), (42, 90, ""), (90, 90, "  x | 5 B")],
)
def test_a_long_export_lists_its_first_files_and_the_last(shard: int, shards: int, text: str) -> None:
    assert said(ExportFileRecord("x", 5, shard, shards)) == ([text] if text else [])


def test_consumed_samples_follow_from_tokens() -> None:
    assert FACTS.consumed_samples(10 * FACTS.sequence_length * 128) == 1280


# --- The console ------------------------------------------------------------------------------------


def shown(caplog: pytest.LogCaptureFixture, rank: int | None, *observed: Record) -> list[tuple[int, str]]:
    """(rank, text) of each line that the process of ``rank`` logs."""
    console = RunConsole(Screen(-1, live=False), Style(), rank, lambda: NOW)
    console.begin(PLAN)
    with caplog.at_level(logging.INFO):
        for record in observed:
            console.observe(record)
    return [(line.__dict__["rank"], line.getMessage()) for line in caplog.records]


def test_a_process_logs_the_lines_of_its_own_rank_only(caplog: pytest.LogCaptureFixture) -> None:
    observed = ProcessRecord(3, 1, 1), BatchRecord(5, 64, 2)
    assert [rank for rank, _ in shown(caplog, 3, *observed)] == [3]
    caplog.clear()
    assert [rank for rank, _ in shown(caplog, 0, *observed)] == [0]
    caplog.clear()
    assert [rank for rank, _ in shown(caplog, None, *observed)] == [3, 0]


def test_percent_signs_in_a_line_stay(caplog: pytest.LogCaptureFixture) -> None:
    record = records.ExportingRecord("100%s", "out/%d")
    assert shown(caplog, None, record) == [(0, "Exporting 100%s to out/%d")]


def test_nothing_is_shown_before_a_run_has_begun(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        RunConsole(Screen(-1, live=False), Style(), None, lambda: NOW).observe(BatchRecord(5, 64, 2))
    assert not caplog.records


# --- The table --------------------------------------------------------------------------------------


def test_every_voice_of_the_table_can_be_loaded_and_is_described() -> None:
    for name, entry in VOICES.items():
        assert import_module(entry.module).VOICE is voice_called(name)
        assert entry.help
        assert LogConfig(voice=name).voice == name
        for version, difference in entry.versions.items():
            assert voice_called(f"{name}@{version}") is voice_called(name)
            assert difference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hous", "is no voice; did you mean 'house'\\? Known: house, "),
        ("", "is no voice; use one of house, "),
        ("megatron@0.14", "is no version of megatron; did you mean 'megatron@0.19|5'\\? Known: megatron@plain, "),
        ("megatron@", "is no version of megatron; "),
        ("house@1", "names a version, but house has none; use house"),
    ],
)
def test_an_unknown_voice_or_version_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogConfig(voice=text)


@pytest.mark.parametrize(
    ("voice", "options", "message"),
    [
        ("megatron", {"log_thruput": False}, "holds 'log_thruput', which is no option of the voice"),
        ("megatron", {"log_throughput": 1}, "holds log_throughput = 1, which is no switch"),
        ("megatron", {"timing_log_level": 3}, "holds timing_log_level = 3, which is no choice"),
        ("hf@5", {"log_level": "inof"}, "holds log_level = 'inof', which is no choice"),
        ("kv", {"log_throughput": True}, "which is no option of the voice"),
    ],
)
def test_options_that_a_voice_does_not_have_are_refused(voice: str, options: dict[str, object], message: str) -> None:
    config = RunConfig(log=LogConfig(voice=voice, voice_options=options))
    found = [str(problem) for problem in conflicts(config)]
    assert len(found) == 1
    assert message in found[0]
    assert f"log.voice = {voice}" in found[0]


def test_options_have_the_defaults_of_the_table() -> None:
    entry = VOICES["megatron"]
    assert voice_options(entry, {}) == {
        "log_throughput": True, "timing_log_level": 0, "timing_log_option": "minmax"
    }  # fmt: skip
    assert voice_options(entry, {"log_throughput": False})["log_throughput"] is False


def test_a_voice_is_one_module_and_one_line_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    terse = ModuleType("terse_voice")
    words = {BatchRecord: lambda record, run: [Line(f"batch={record.global_batch} of {run.world_size}")]}
    terse.VOICE = Voice(words)
    monkeypatch.setitem(sys.modules, "terse_voice", terse)
    monkeypatch.setitem(voice_table.VOICES, "terse", VoiceEntry("key=value", "terse_voice"))
    assert said(BatchRecord(5, 64, 2), "terse") == ["batch=64 of 64"]
