"""``Target``: what a fault hits, as words (``rank=3-7``, ``gpu=1:any``, ``job``), and the ranks that this means.

A target is checked against a cluster before anything starts. Draws (``any``, ``any:2``, ``25%``) are a function of
the fault's seed and the number of the strike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from accelerate_sim.faults.mistake import FaultMistake, guess, quoted
from accelerate_sim.sim import noise

if TYPE_CHECKING:
    from accelerate_sim.sim.layout import Layout

Noun = Literal["rank", "node", "gpu", "link", "storage", "store", "job"]
NOUNS: tuple[Noun, ...] = ("rank", "node", "gpu", "link", "storage", "store", "job")
BARE: tuple[Noun, ...] = ("store", "job")
"""Targets that are one word."""
STORAGES = ("checkpoint", "data", "scratch")
_FORMS = "a number, 0-3, 0-30/2, 1,5, last, any, any:2, 25%, tp:0, pp:0 or dp:0"
_PIECE = re.compile(r"(\d{1,7})(?:-(\d{1,7})(?:/(\d{1,7}))?)?", re.ASCII)
_GROUP = re.compile(r"(tp|pp|dp):(\d{1,7})", re.ASCII)
_ANY = re.compile(r"any:(\d{1,7})", re.ASCII)
_PAIR = re.compile(r"(any:\d{1,7}(?=:)|[^:]*)(:)(.*)", re.ASCII | re.DOTALL)
"""A node and what is on it; both may be ``any:2``."""
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """One target of a fault. ``members`` is a set as it is written; ``on`` that of the nodes for GPUs and links."""

    noun: Noun
    members: str = ""
    on: str = ""

    def __str__(self) -> str:
        if self.noun in BARE:
            return self.noun
        return f"{self.noun}={self.on}:{self.members}" if self.on else f"{self.noun}={self.members}"

    @property
    def is_drawn(self) -> bool:
        """True if a strike draws its members."""
        return any(text.startswith("any") or text.endswith("%") for text in (self.members, self.on))


@dataclass(frozen=True, slots=True)
class Hit:
    """The members of a strike's targets, sorted. A GPU, link or rank hits no node as a whole."""

    ranks: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    gpus: tuple[tuple[int, int], ...] = ()
    """(node, index on it)."""
    links: tuple[tuple[int, int], ...] = ()
    """(node, number of its link)."""
    storages: tuple[str, ...] = ()
    store: bool = False
    job: bool = False


def parse_target(noun: Noun, text: str) -> Target:
    """Read the value of ``noun=``. Raises FaultMistake."""
    if noun in BARE:
        return Target(noun)
    if noun == "storage":
        if text not in STORAGES:
            raise FaultMistake(f"{quoted(text)} is no storage", guess(text, STORAGES, f"Use {', '.join(STORAGES)}."))
        return Target(noun, text)
    pair = _PAIR.fullmatch(text)
    on, colon, members = pair.groups() if pair else (text, "", "")
    if noun in ("gpu", "link") and colon:
        _check_form(on, noun, groups=False)
        _check_form(members, noun, groups=False)
        return Target(noun, members, on)
    if noun in ("gpu", "link") and text != "any":
        raise FaultMistake(f"{noun}={quoted(text)} names no node", f"Write the node first: {noun}=0:{text or 0}.")
    _check_form(text, noun, groups=noun == "rank")
    return Target(noun, text)


def _check_form(text: str, noun: str, *, groups: bool) -> None:
    """Raise FaultMistake for a set that is not written as one."""
    if text in ("any", "last") or ((found := _ANY.fullmatch(text)) and int(found[1]) > 0):
        return
    if (found := _PERCENT.fullmatch(text)) and 0 < float(found[1]) <= 100:
        return
    if _GROUP.fullmatch(text):
        if groups:
            return
        raise FaultMistake(f"{noun}={quoted(text)} is a group of ranks", f"Write rank={text}.")
    for piece in text.split(","):
        found = _PIECE.fullmatch(piece)
        if not found or (found[2] and int(found[2]) < int(found[1])) or found[3] == "0":
            raise FaultMistake(f"{noun}={quoted(text)} is no set", f"Use {_FORMS}.")


def check_target(target: Target, layout: Layout) -> None:
    """Raise FaultMistake if a member of the target is not in the cluster."""
    counts = {"rank": layout.world_size, "node": layout.nodes}
    if target.noun in counts:
        _check_members(target.members, target.noun, counts[target.noun], layout)
    elif target.noun in ("gpu", "link") and target.on:
        _check_members(target.on, "node", layout.nodes, layout)
        _check_members(target.members, target.noun, layout.gpus_per_node, layout)


def _check_members(text: str, noun: str, count: int, layout: Layout) -> None:
    each = {"gpu": " in each node", "link": " in each node"}.get(noun, "")
    there = f"The {noun}s are 0 to {count - 1}{each}." if count > 1 else f"There is {noun} 0 only{each}."
    if found := _GROUP.fullmatch(text):
        groups = _groups(found[1], layout)
        if int(found[2]) >= groups:
            raise FaultMistake(f"{noun}={text} does not exist", f"The {found[1]} groups are 0 to {groups - 1}.")
    elif (found := _ANY.fullmatch(text)) and int(found[1]) > count:
        raise FaultMistake(f"{noun}={text} are more than there are", there)
    elif text[:1].isdigit() and not text.endswith("%"):
        for piece in text.split(","):
            first, _, rest = piece.partition("-")
            highest = int(rest.partition("/")[0]) if rest else int(first)
            if highest >= count:
                raise FaultMistake(f"{noun} {highest} of {count} does not exist", there)


def hit_by(targets: Sequence[Target], layout: Layout, seed: int, strike: int) -> Hit:
    """The members that strike number ``strike`` of a fault hits; their draws come from ``seed``."""
    ranks: set[int] = set()
    nodes: set[int] = set()
    gpus: set[tuple[int, int]] = set()
    links: set[tuple[int, int]] = set()
    per_node = layout.gpus_per_node
    for number, target in enumerate(targets):
        draws = _Draws(seed, strike, number)
        if target.noun == "rank":
            ranks |= set(_members(target.members, layout.world_size, draws, layout, spare_first=True))
        elif target.noun == "node":
            nodes |= set(_members(target.members, layout.nodes, draws, layout))
        elif target.noun in ("gpu", "link"):
            found = _pairs(target, layout, draws)
            (gpus if target.noun == "gpu" else links).update(found)
    ranks |= {node * per_node + local for node in nodes for local in range(per_node)}
    ranks |= {node * per_node + local for node, local in gpus}
    gpus |= {divmod(rank, per_node) for rank in ranks} if not links else set()
    nouns = {target.noun for target in targets}
    storages = tuple(sorted({target.members for target in targets if target.noun == "storage"}))
    return Hit(
        tuple(sorted(ranks)), tuple(sorted(nodes)), tuple(sorted(gpus)), tuple(sorted(links)), storages,
        "store" in nouns, "job" in nouns,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Draws:
    """Draws of one target in one strike."""

    seed: int
    strike: int
    number: int

    def sample(self, count: int, candidates: Sequence[int]) -> list[int]:
        """``count`` different candidates."""
        if count == 1:
            share = float(noise.uniform(self.seed, "target", self.strike, self.number)[0])
            return [candidates[min(int(share * len(candidates)), len(candidates) - 1)]]
        keys = noise.uniform(self.seed, "targets", self.strike, self.number, range(len(candidates)))
        return [candidates[int(place)] for place in keys.argsort()[:count]]


def _pairs(target: Target, layout: Layout, draws: _Draws) -> list[tuple[int, int]]:
    per_node = layout.gpus_per_node
    if not target.on:
        return [divmod(draws.sample(1, range(layout.world_size))[0], per_node)]
    nodes = _members(target.on, layout.nodes, draws, layout)
    inner = _Draws(draws.seed, draws.strike, draws.number + 1000)
    return [(node, local) for node in nodes for local in _members(target.members, per_node, inner, layout)]


def _members(text: str, count: int, draws: _Draws, layout: Layout, *, spare_first: bool = False) -> Sequence[int]:
    """The members of a set of ``count``. A draw spares rank 0, which writes the log, while there are others."""
    everyone = range(count)
    if text == "last":
        return [count - 1]
    if text == "any" or (found := _ANY.fullmatch(text)):
        wanted = 1 if text == "any" else int(text[4:])
        return draws.sample(wanted, everyone[1:] if spare_first and wanted < count else everyone)
    if found := _PERCENT.fullmatch(text):
        return draws.sample(max(1, round(float(found[1]) / 100 * count)), everyone)
    if found := _GROUP.fullmatch(text):
        return _group(found[1], int(found[2]), layout)
    members: set[int] = set()
    for piece in text.split(","):
        found = _PIECE.fullmatch(piece)
        assert found
        members |= set(range(int(found[1]), int(found[2] or found[1]) + 1, int(found[3] or 1)))
    return sorted(members)


def _groups(axis: str, layout: Layout) -> int:
    return layout.world_size // _axis(axis, layout)[0]


def _axis(name: str, layout: Layout) -> tuple[int, int]:
    """Size of a group along an axis, and the distance of its ranks."""
    inner = layout.tensor * layout.context
    return {
        "tp": (layout.tensor, 1), "dp": (layout.data, inner), "pp": (layout.pipeline, inner * layout.data),
    }[name]  # fmt: skip


def _group(axis: str, number: int, layout: Layout) -> list[int]:
    """Ranks of a group; groups count in the order of their first ranks."""
    size, stride = _axis(axis, layout)
    outer, inner = divmod(number, stride)
    first = outer * stride * size + inner
    return [first + member * stride for member in range(size)]
