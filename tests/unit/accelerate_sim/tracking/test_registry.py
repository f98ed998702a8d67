"""Trackers are found through one table, and a name that is not in it opens nothing."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from accelerate_sim.config import tracker_table
from accelerate_sim.config.problems import ConfigError
from accelerate_sim.config.sections.output import LogConfig
from accelerate_sim.config.tracker_table import TRACKERS, TrackerEntry, optional_trackers, trackers_help
from accelerate_sim.process.signals import Signals
from accelerate_sim.tracking.registry import open_trackers, require_packages
from accelerate_sim.tracking.tracker import TrackerContext


class Dummy:
    """Remembers the context that it was opened with."""

    def __init__(self, context: TrackerContext) -> None:
        self.context = context

    @classmethod
    def open(cls, context: TrackerContext) -> "Dummy":
        return cls(context)


def context(*names: str, output_dir: Path | None = None) -> TrackerContext:
    log = LogConfig.model_construct(trackers=names)
    return TrackerContext(log, output_dir, Signals(), lambda: None, lambda record: None)


@pytest.fixture
def dummy(monkeypatch: pytest.MonkeyPatch) -> str:
    """A tracker in a module of its own, with one line in the table."""
    module = ModuleType("dummy_tracker")
    vars(module)["Dummy"] = Dummy
    monkeypatch.setitem(sys.modules, "dummy_tracker", module)
    entry = TrackerEntry("remembers", "dummy_tracker:Dummy", writes_files=False)
    monkeypatch.setitem(tracker_table.TRACKERS, "dummy", entry)
    return "dummy"


def test_a_tracker_is_one_module_and_one_line_of_the_table(dummy: str) -> None:
    given = context(dummy, dummy)
    (opened,) = open_trackers(given)
    assert isinstance(opened, Dummy)
    assert opened.context is given
    assert trackers_help().endswith(" or dummy")
    require_packages([dummy], None)


def test_an_unknown_name_opens_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="wandbb"):
        open_trackers(context("wandbb", output_dir=tmp_path))
    assert not list(tmp_path.iterdir())


def test_metrics_jsonl_is_not_opened_twice(tmp_path: Path) -> None:
    assert open_trackers(context("jsonl", output_dir=tmp_path)) == []


def test_trackers_that_write_files_need_a_place_for_them() -> None:
    with pytest.raises(ConfigError) as error:
        require_packages(list(TRACKERS), None)
    named = {problem.reason.split(",")[0] for problem in error.value.problems}
    assert named == {f"has {name}" for name, entry in TRACKERS.items() if entry.writes_files}


def test_help_names_every_tracker_that_has_to_be_asked_for() -> None:
    assert all(name in trackers_help() for name in optional_trackers())
    assert "jsonl" not in trackers_help()
