"""Texts of the page are those of the command line: mistakes, lists, plans and their form, the check."""

from __future__ import annotations

import hashlib

import pytest

from tests.support.reading import Train
from tests.support.web_page import AT, START, Visit, marked, screen_lines

TEXT = "document.getElementById('text').textContent"

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    "query, arguments",
    [
        ("?set=train.lrr%3D1", ("--set", "train.lrr=1")),
        ("?colour=red", ("--colour", "red")),
        ("?config=lama70b", ("--config", "lama70b")),
        ("?seed", ("--seed",)),
        ("?speed=0&config=debug", ("--speed", "0", "--config", "debug")),
    ],
)
def test_a_mistake_gets_the_words_of_the_command_line(visit: Visit, train: Train, query: str, arguments):
    tab = visit(f"{query}&start-time={START}&cols=120&rows=40")
    marked(tab, "whole")
    said = "".join(text for _, text in tab.evaluate("player.frames")).replace("\r\n", "\n")
    done = train(*arguments, *(() if "--config" in arguments else ("--config", "llama70b")), *AT)
    assert said == done.stderr and done.returncode == 2
    tab.wait_for("document.getElementById('engine').textContent === 'exit code 2'")
    marked(tab, "over")
    assert any(screen_lines(tab))


@pytest.mark.parametrize(
    "query, arguments",
    [
        ("?plan&config=llama405b", ("--plan", "--config", "llama405b")),
        ("?list=models", ("--list", "models")),
        ("?version", ("--version",)),
        ("?print-config&config=debug", ("--print-config", "--config", "debug")),
    ],
)
def test_texts_are_those_of_the_command_line(visit: Visit, train: Train, query: str, arguments):
    tab = visit(query)
    marked(tab, "whole")
    assert tab.evaluate(TEXT) == train(*arguments).stdout


def test_help_is_shown(visit: Visit):
    tab = visit("?help")
    marked(tab, "whole")
    assert "--print-config" in tab.evaluate(TEXT) and "simulated" in tab.evaluate(TEXT)


def test_the_form_of_a_plan_changes_the_command_line(visit: Visit, train: Train):
    tab = visit("?plan&config=llama70b")
    tab.wait_for("document.querySelector('[name=\"cluster.nodes\"]').value === '8'")
    tab.page.select_option('[name="cluster.gpu"]', "B200")
    tab.wait_for(f"{TEXT}.includes('B200')")
    tab.page.fill('[name="cluster.nodes"]', "16")
    tab.wait_for(f"{TEXT}.includes('16 nodes of 8')")
    changes = ("--set", "cluster.gpu=B200", "--set", "cluster.nodes=16")
    assert tab.evaluate(TEXT) == train("--plan", "--config", "llama70b", *changes).stdout
    assert "cluster.nodes=16" in tab.page.text_content("#command")
    tab.page.fill('[name="parallel.tensor"]', "3")
    tab.wait_for(f"{TEXT}.includes('does not divide')")
    assert tab.evaluate(TEXT) == train("--plan", "--config", "llama70b", *changes, "--set", "parallel.tensor=3").stderr


def test_the_check_is_the_digest_of_a_pipe(visit: Visit, train: Train):
    tab = visit(f"?config=debug&seed=9&start-time={START}")
    marked(tab, "whole")
    tab.page.click("#check")
    tab.wait_for("/^[0-9a-f]{64}$/.test(document.getElementById('digest').textContent)")
    printed = train("--config", "debug", "--seed", "9", *AT, "--speed", "max").stdout
    assert tab.page.text_content("#digest") == hashlib.sha256(printed.encode()).hexdigest()
    command = f"python train.py --config debug --seed 9 --start-time {START} --speed max | sha256sum"
    assert tab.page.text_content("#digest-command") == command
