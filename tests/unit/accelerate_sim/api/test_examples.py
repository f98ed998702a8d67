"""The examples of the API run, and what they show is right."""

import re
from importlib import import_module
from pkgutil import iter_modules

import pytest

from accelerate_sim.api import examples


def printed_by(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    import_module(f"accelerate_sim.api.examples.{name}").main()
    return capsys.readouterr().out.splitlines()


def test_each_example_has_a_test() -> None:
    shown = {"compare_layouts", "check_log_reader", "find_stragglers", "hottest_gpus", "cost_of_faults"}
    assert {module.name for module in iter_modules(examples.__path__)} == shown


def test_layouts_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed_by("compare_layouts", capsys)
    rates = [int(found[1].replace(",", "")) for line in lines if (found := re.search(r"([\d,]+) tokens/s", line))]
    assert len(rates) == 4
    assert rates == sorted(rates, reverse=True), "more communication, fewer tokens"


def test_a_log_reader_finds_the_losses(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed_by("check_log_reader", capsys)
    found = [re.findall(r"(?:read|right) ([\d.]+)", line) for line in lines]
    assert len(found) == 4
    assert all(read == right for read, right in found)


def test_a_straggler_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed_by("find_stragglers", capsys) == ["faults in steps [12], alerts in steps [12, 13, 14]"]


def test_hot_gpus_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed_by("hottest_gpus", capsys)
    assert [line.split(",")[0] for line in lines[:1]] == ["hour 0"]
    assert all(len(re.findall(r"node\d GPU \d \d+ C", line)) == 3 for line in lines)


def test_frequent_checkpoints_lose_fewer_steps(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed_by("cost_of_faults", capsys)
    assert [int(found[1]) for line in lines if (found := re.search(r"(\d+) steps lost", line))] == [1, 3, 5]
