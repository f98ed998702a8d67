"""The fault language: words to faults and back, and what is said about words that are wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_sim.config.fault_entries import fault_entries
from accelerate_sim.faults.fault import After, Attempts, Fault
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.language import parse, render
from accelerate_sim.faults.mistake import FaultMistake
from accelerate_sim.faults.spans import EVER, NOTHING, FaultSpan, parse_span
from accelerate_sim.faults.targets import BARE, STORAGES, Target
from accelerate_sim.faults.triggers import PHASES, At, parse_at

SECONDS = st.one_of(st.integers(1, 10**6).map(float), st.floats(0.001, 1e6))
SPANS = st.one_of(SECONDS.map(FaultSpan), st.integers(1, 10**6).map(lambda steps: FaultSpan(steps=steps)))
NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,12}", fullmatch=True)
SETS = st.sampled_from(["0", "3", "0-5", "0-30/2", "1,5", "last", "any", "any:2", "25%"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


@st.composite
def moments(draw: st.DrawFn) -> At:
    recurrence = draw(st.sampled_from(["", "every", "mtti", "p"]))
    return At(
        step=draw(st.none() | st.integers(1, 10**6)),
        time_s=draw(st.none() | SECONDS),
        phase="" if recurrence else draw(st.sampled_from(["", *PHASES])),
        every=draw(SPANS) if recurrence == "every" else None,
        mtti_s=draw(SECONDS) if recurrence == "mtti" else None,
        chance=draw(st.floats(1e-6, 1.0)) if recurrence == "p" else None,
    )


def _values(key: Key) -> st.SearchStrategy[object]:
    match key.type:
        case "word":
            return st.sampled_from(key.choices)
        case "int":
            return st.integers(int(key.least), int(min(key.most, 10**9)))
        case "float":
            return st.floats(key.least, min(key.most, 1e9))
        case "switch":
            return st.booleans()
        case "span":
            return SPANS | st.just(EVER)
        case "size":
            return st.sampled_from(["1B", "20MiB", "3GiB"])
    return TEXTS


@st.composite
def targets(draw: st.DrawFn, kind: FaultKind) -> Target:
    noun = draw(st.sampled_from(kind.targets))
    if noun in BARE:
        return Target(noun)
    if noun == "storage":
        return Target(noun, draw(st.sampled_from(STORAGES)))
    return Target(noun, draw(SETS), draw(SETS) if noun in ("gpu", "link") else "")


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    kind = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    at, first = draw(moments()), draw(st.integers(0, 9))
    if not at.phase and not at.recurs:
        at = replace(at, phase=kind.phase)
    params = {name: draw(_values(key)) for name, key in kind.keys.items()}
    if kind.check and kind.check(params):
        params = {name: key.default for name, key in kind.keys.items()}
    length = kind.length(params)
    return Fault(
        kind=kind.name,
        id=draw(NAMES),
        targets=tuple(draw(st.lists(targets(kind), min_size=1, max_size=3, unique=True))),
        at=at,
        after=draw(st.none() | st.builds(After, NAMES, st.just(0.0) | SECONDS)),
        attempts=Attempts(first, draw(st.none() | st.integers(first, first + 3))),
        times=draw(st.none() | st.integers(1, 1000)),
        lasts=draw(SPANS | st.just(EVER)) if length != NOTHING else NOTHING,
        ramp=draw(st.just(NOTHING) | SPANS),
        delay_s=draw(st.none() | SECONDS),
        seed=draw(st.none() | st.integers(0, 2**63 - 1)),
        silent=draw(st.booleans()),
        note=draw(TEXTS),
        params=params,
    )


@settings(max_examples=75, deadline=None)
@given(fault=faults())
def test_what_is_rendered_is_read_as_the_same_fault(fault: Fault) -> None:
    assert parse(render(fault)) == fault


@settings(max_examples=75, deadline=None)
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(
    ["kill", "slow", "rank=", "rank=3", "gpu=1:", "at=", "at=step:", "at=p:2", "for=", "=", "'", "times=-1", "id=", "x",
     "at=time:1e999h", "seed=9e9", "gpu=:", "after=+", "attempt=3-1", "factor=nan", "+", "any:0", "rank=5-3"]
), max_size=6).map(" ".join))  # fmt: skip
def test_words_that_are_wrong_are_a_mistake_and_nothing_else(text: str) -> None:
    try:
        fault = parse(text)
    except FaultMistake as mistake:
        assert mistake.reason and mistake.way_out.endswith((".", "?"))
    else:
        assert parse(render(fault)) == fault


@pytest.mark.parametrize(
    "words, reason, way_out",
    [
        ("kil rank=3", "'kil' is no kind of fault", "Did you mean 'kill'?"),
        ("kill rnak=3", "kill has no key 'rnak'", "Did you mean 'rank'?"),
        ("kill rank=3 at=stpe:4", "at='stpe:4' is no moment", "Did you mean 'step'?"),
        ("kill rank=3 at=phase:chekpoint", "'chekpoint' is no phase", "Did you mean 'checkpoint'?"),
        ("kill rank=3 for=10s", "kill has no length", "Leave out 'for'."),
        ("kill link=0:1", "kill hits no link", "Its target is rank or node or gpu."),
        ("slow gpu=3", "gpu='3' names no node", "Write the node first: gpu=0:3."),
        ("slow gpu=1:4 why=termal", "why='termal' is not known", "Did you mean 'thermal'?"),
        ("kill rank=3 rank", "'rank' is not KEY=VALUE", "Did you mean 'rank'?"),
        ("kill rank=3 at=step:4 at=step:5", "'at' is given twice", "Keep one of them."),
        ("kill rank=3 at=step:4+step:5", "at='step:4+step:5' says 'step' twice", "Keep one of them."),
        ("kill rank=3 note='x", '"kill rank=3 note=\'x" has a quote that does not end', "Close it."),
        ("", "the fault is empty", "Write e.g. 'kill rank=13 at=step:40'; --list faults shows all kinds."),
    ],
)
def test_a_mistake_says_what_is_wrong_and_the_way_out(words: str, reason: str, way_out: str) -> None:
    with pytest.raises(FaultMistake) as raised:
        parse(words)
    assert (raised.value.reason, raised.value.way_out) == (reason.replace('"', "'"), way_out)


def test_a_mapping_has_the_words_of_a_line() -> None:
    entry = {"kind": "slow", "gpu": "1:4", "why": "thermal", "factor": 1.25, "at": "step:60", "for": "40steps"}
    line = "slow gpu=1:4 why=thermal factor=1.25 at=step:60 for=40steps"
    assert fault_entries([entry, line]) == (line, line)
    assert fault_entries({"kind": "nan", "job": True, "note": "two words"}) == ("nan job 'note=two words'",)


@pytest.mark.parametrize("value", [3, [3], [{"rank": 3}], [{"kind": "kill", "rank": [1]}], [None]])
def test_an_entry_that_is_no_fault_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="fault"):
        fault_entries(value)


def test_lengths_have_units() -> None:
    assert [str(parse_span(text)) for text in ("90s", "120s", "1h30m", "40steps", "1step", "ever")] == [
        "90s", "2m", "90m", "40steps", "1steps", "ever",
    ]  # fmt: skip
    for text in ("90", "-3s", "3 s", "1x", "", "s", "1e400h"):
        with pytest.raises(FaultMistake):
            parse_span(text)


def test_moments_are_read_in_any_order() -> None:
    assert parse_at("time:10m+phase:checkpoint") == parse_at("phase:checkpoint+time:600s")
    assert parse_at("p:1e-3/step").chance == 0.001
