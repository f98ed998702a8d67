"""Sentences of why: each once in a run, in one line of a usual terminal, on lines of their own."""

from accelerate_sim.display.style import Style
from accelerate_sim.records import LaunchRecord
from accelerate_sim.voices.explanations import SENTENCES, Explainer

LAUNCH = LaunchRecord("train.py", 0)


def test_a_kind_of_record_is_explained_once_in_each_run():
    explainer = Explainer(Style(color=True))
    (line,) = explainer.lines(LAUNCH, 1, 200)
    assert line.startswith("\x1b[2m")
    assert "why: one process drives each GPU" in line
    assert not list(explainer.lines(LAUNCH, 1, 200))
    assert list(explainer.lines(LAUNCH, 2, 200))


def test_sentences_are_short_and_plain():
    for sentences in SENTENCES.values():
        for sentence in sentences:
            assert sentence.isascii()
            assert len(sentence) <= 112
            assert not sentence.endswith(".")


def test_without_the_option_the_other_lines_are_the_same(train):
    arguments = ("--config", "debug", "--speed", "max", "--start-time", "2026-01-01T00:00:00", "--set", "log.every=1")
    plain, explained = train(*arguments).stdout, train(*arguments, "--explain").stdout
    kept = [line for line in explained.splitlines() if " why: " not in line]
    assert kept == plain.splitlines()
    assert explained.count(" why: ") > 15
