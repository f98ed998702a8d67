"""The fault language: words (``kill rank=13 at=step:40``) or a YAML mapping to a ``Fault``, and back.

``parse`` and ``render`` are inverse: ``parse(render(fault)) == fault``. Everything that is wrong raises FaultMistake.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from accelerate_sim.config.fault_entries import word
from accelerate_sim.faults.fault import After, Attempts, Fault, Value
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.kinds import KINDS
from accelerate_sim.faults.mistake import FaultMistake, guess, quoted
from accelerate_sim.faults.sizes import parse_size
from accelerate_sim.faults.spans import NOTHING, parse_seconds, parse_span, seconds_text
from accelerate_sim.faults.targets import BARE, NOUNS, Noun, Target, parse_target
from accelerate_sim.faults.triggers import At, parse_at

COMMON = ("at", "after", "attempt", "times", "for", "ramp", "delay", "seed", "silent", "id", "note")
LONGEST = 2000
"""Characters of one fault."""
_ID = re.compile(r"[A-Za-z_][\w.-]{0,59}", re.ASCII)
_EXAMPLE = "Write e.g. 'kill rank=13 at=step:40'; --list faults shows all kinds."


def parse(text: str, number: int = 1) -> Fault:
    """Read one fault; ``number`` counts the faults of a config and names one without an id."""
    if len(text) > LONGEST:
        raise FaultMistake(f"{quoted(text)} is longer than {LONGEST} characters", _EXAMPLE)
    try:
        words = shlex.split(text)
    except ValueError:
        raise FaultMistake(f"{quoted(text)} has a quote that does not end", "Close it.") from None
    if not words:
        raise FaultMistake("the fault is empty", _EXAMPLE)
    kind = _kind(words[0])
    keys: dict[str, str] = {}
    targets: list[Target] = []
    for each in words[1:]:
        name, equals, value = each.partition("=")
        if name in NOUNS and (equals or name in BARE):
            targets.append(_target(kind, name, value))
        elif not equals:
            raise FaultMistake(f"{quoted(each)} is not KEY=VALUE", _key_guess(kind, each))
        elif name in keys:
            raise FaultMistake(f"'{name}' is given twice", "Keep one of them.")
        elif name not in COMMON and name not in kind.keys:
            raise FaultMistake(f"{kind.name} has no key {quoted(name)}", _key_guess(kind, name))
        else:
            keys[name] = value
    return _fault(kind, targets, keys, number)


def render(fault: Fault) -> str:
    """The canonical words of a fault: all that differs from a default, targets first."""
    kind = KINDS[fault.kind]
    words = [fault.kind, *map(str, fault.targets)]
    words += [f"{name}={text_of(fault.params[name])}" for name, key in kind.keys.items()
              if fault.params[name] != key.default]  # fmt: skip
    if fault.at != At(phase=kind.phase_with(fault.params)):
        words.append(f"at={fault.at}")
    if fault.after:
        words.append(f"after={fault.after}")
    if fault.attempts != Attempts():
        words.append(f"attempt={fault.attempts}")
    if fault.times != (None if fault.at.recurs else 1):
        words.append(f"times={'always' if fault.times is None else fault.times}")
    if fault.lasts != kind.length(fault.params):
        words.append(f"for={fault.lasts}")
    if fault.ramp != NOTHING:
        words.append(f"ramp={fault.ramp}")
    if fault.delay_s is not None:
        words.append(f"delay={seconds_text(fault.delay_s)}")
    if fault.seed is not None:
        words.append(f"seed={fault.seed}")
    if fault.silent:
        words.append("silent=yes")
    words.append(f"id={fault.id}")
    if fault.note:
        words.append(f"note={fault.note}")
    return " ".join(map(word, words))


def text_of(value: Value) -> str:
    """The value of a key as it is written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(value) if isinstance(value, float) else str(value)


def _kind(name: str) -> FaultKind:
    kind = KINDS.get(name)
    if kind is None:
        raise FaultMistake(f"{quoted(name)} is no kind of fault", guess(name, KINDS, "--list faults shows all kinds."))
    return kind


def _key_guess(kind: FaultKind, word: str) -> str:
    known = (*kind.targets, *kind.keys, *COMMON)
    return guess(word, known, f"Keys of {kind.name}: {', '.join(known)}.")


def _target(kind: FaultKind, noun: Noun, text: str) -> Target:
    if noun not in kind.targets:
        known = " or ".join(kind.targets)
        raise FaultMistake(f"{kind.name} hits no {noun}", f"Its target is {known}.")
    return parse_target(noun, text)


def _fault(kind: FaultKind, targets: Sequence[Target], keys: Mapping[str, str], number: int) -> Fault:
    if not targets:
        noun, _, value = kind.target.partition("=")
        targets = [parse_target(noun, value)]  # type: ignore[arg-type]  # a kind's own target begins with a noun
    at = parse_at(keys["at"]) if "at" in keys else At()
    params = {name: _value(name, key, keys[name]) if name in keys else key.default for name, key in kind.keys.items()}
    if kind.check and (wrong := kind.check(params)):
        raise FaultMistake(wrong, f"--list faults explains {kind.name}.")
    if (phase := kind.phase_with(params)) and not at.phase and not at.recurs:
        at = replace(at, phase=phase)
    length = kind.length(params)
    if "for" in keys and length == NOTHING:
        raise FaultMistake(f"{kind.name} has no length", "Leave out 'for'.")
    return Fault(
        kind=kind.name,
        id=_id(keys["id"]) if "id" in keys else f"{kind.name}-{number}",
        targets=tuple(dict.fromkeys(targets)),
        at=at,
        after=_after(keys["after"]) if "after" in keys else None,
        attempts=_attempts(keys["attempt"]) if "attempt" in keys else Attempts(),
        times=_times(keys["times"]) if "times" in keys else None if at.recurs else 1,
        lasts=parse_span(keys["for"]) if "for" in keys else length,
        ramp=parse_span(keys["ramp"], ever=False) if "ramp" in keys else NOTHING,
        delay_s=parse_seconds(keys["delay"]) if "delay" in keys else None,
        seed=int(_number("seed", keys["seed"], 0, 2**63 - 1, whole=True)) if "seed" in keys else None,
        silent=_switch("silent", keys["silent"]) if "silent" in keys else False,
        note=keys.get("note", ""),
        params=params,
    )


def _id(text: str) -> str:
    if _ID.fullmatch(text):
        return text
    raise FaultMistake(f"id={quoted(text)} is no name", "Use letters, digits, '-', '_' and '.', a letter first.")


def _after(text: str) -> After:
    name, plus, delay = text.partition("+")
    return After(_id(name), parse_seconds(delay) if plus else 0.0)


def _attempts(text: str) -> Attempts:
    found = re.fullmatch(r"(\d{1,6})(-(\d{1,6})?)?", text, re.ASCII)
    if not found or (found[3] and int(found[3]) < int(found[1])):
        raise FaultMistake(f"attempt={quoted(text)} is no range of attempts", "Use 0, 1-3 or 1-; the first is 0.")
    first = int(found[1])
    return Attempts(first, (int(found[3]) if found[3] else None) if found[2] else first)


def _times(text: str) -> int | None:
    if text == "always":
        return None
    return int(_number("times", text, 1, 10**6, whole=True, way_out=" or 'always'"))


def _switch(name: str, text: str) -> bool:
    if text.lower() in ("yes", "true", "on", "1"):
        return True
    if text.lower() in ("no", "false", "off", "0"):
        return False
    raise FaultMistake(f"{name}={quoted(text)} is no switch", "Use yes or no.")


def _number(name: str, text: str, least: float, most: float, *, whole: bool, way_out: str = "") -> float:
    form = r"-?\d{1,19}" if whole else r"-?\d{1,19}(\.\d{1,25})?(e[+-]?\d{1,3})?"
    number = (int(text) if whole else float(text)) if re.fullmatch(form, text, re.ASCII) else math.nan
    if not least <= number <= most:
        kind = "whole number" if whole else "number"
        bounds = f"Use one from {least:g} to {most:g}{way_out}."
        raise FaultMistake(f"{name}={quoted(text)} is no {kind} that fits", bounds)
    return number


def _value(name: str, key: Key, text: str) -> Value:
    match key.type:
        case "int":
            return int(_number(name, text, key.least, key.most, whole=True))
        case "float":
            return float(_number(name, text, key.least, key.most, whole=False))
        case "switch":
            return _switch(name, text)
        case "span":
            return parse_span(text)
        case "size":
            return parse_size(name, text)
        case "word":
            if text not in key.choices:
                choices = ", ".join(key.choices)
                raise FaultMistake(f"{name}={quoted(text)} is not known", guess(text, key.choices, f"Use {choices}."))
    return text
