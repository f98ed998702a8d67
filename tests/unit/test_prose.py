"""Docstrings are sentences that stand alone, and what they name exists."""

from __future__ import annotations

import builtins
import keyword
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.module_facts import facts_of
from tests.support.repository import ROOT

FRAGMENT = re.compile(r"(What|Of|Whether|How|Where)\b")
STRING_WITH_FRAGMENT = re.compile(rf"[\"'][\s\\]*{FRAGMENT.pattern}")
"""Matches in a text where a docstring may begin with one, so that most files need not be parsed."""
FILE = re.compile(r"(?<![\w*<./-])[\w./-]*\w\.(?:py|yaml|md|json)\b(?!\w)")
QUOTED = re.compile(r"``([^`]+)``")
WORD = re.compile(r"[A-Za-z_]\w*")
CLASS = re.compile(r"^ *class ([A-Z][a-z]+(?:[A-Z][a-z]+)+)(?<!Error)\b", re.MULTILINE)
"""Matches a class whose name is of several words, and no error: those are what a function raises."""
WRITTEN_BY_A_RUN = {
    "config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "trainer_state.json",
    "run_state.json", "run.json", "manifest.json", "model.safetensors.index.json", "error.json",
    "attempt.json", "faults.jsonl", "kern.log",
    "train_results.json", "eval_results.json", "all_results.json", "hparams.yaml",
}  # fmt: skip
"""Files that are not in the repository, as a run or a user makes them."""

OF_OTHERS = {
    "transformers", "save_pretrained", "weights_only", "Conv1D", "SummaryWriter",  # libraries
    "block_current_stream", "_local_tensor",  # torch
    "dmon", "pmon", "topo", "nvsmi_device_v12", "si", "fg", "nohup", "etc",  # commands and their files
    "KillWait", "scancel", "dmesg",  # Slurm and the kernel
    "TB", "kWh", "GWh", "YYYY", "mm", "dd", "HH", "MM", "SS", "LEVEL", "DIR",  # units and placeholders
    "filtered_stdout", "filtered_stderr", "is_", "_available", "rank1", "rank3", "default3", "node1",
    "node3", "ps",  # made at run time
}  # fmt: skip
"""Words between double backticks that are not the packages' own."""


def texts(*tops: str) -> dict[Path, str]:
    """Text of every module below these folders."""
    return {path: path.read_text(encoding="utf-8") for top in tops for path in sorted((ROOT / top).rglob("*.py"))}


@cache
def sources() -> dict[Path, str]:
    """Text of every module of both packages."""
    return texts("accelerate_sim", "fake_torch_dist")


def all_docstrings(modules: dict[Path, str]) -> Iterator[tuple[str, str]]:
    """(place, text) of each docstring of these modules."""
    for path, source in modules.items():
        for docstring in facts_of(source).docstrings:
            yield f"{path.relative_to(ROOT)}:{docstring.first_line}", docstring.text


@cache
def known_words() -> frozenset[str]:
    """Every word of the code, docstrings and comments aside: names, keywords, and words in strings."""
    words = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *sys.stdlib_module_names}
    for path, text in sources().items():
        words |= set(path.relative_to(ROOT).with_suffix("").parts)
        lines = text.split("\n")
        for docstring in facts_of(text).docstrings:
            for number in range(docstring.first_line - 1, docstring.last_line):
                lines[number] = ""
        code = "\n".join(line.partition("#")[0] for line in lines)  # or less, where a string has the sign
        words |= set(WORD.findall(code))
    return frozenset(words)


@cache
def everywhere() -> list[str]:
    """Path of everything in the repository that is not hidden, caches of tools aside."""
    found = []
    for directory, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        found += [f"{directory}/{name}" for name in (*folders, *files)]
    return found


@pytest.mark.parametrize("top", ["accelerate_sim", "fake_torch_dist", "tests"])
def test_no_docstring_begins_with_a_fragment(top: str) -> None:
    may_have_one = {path: text for path, text in texts(top).items() if STRING_WITH_FRAGMENT.search(text)}
    begun = ((place, text.strip()) for place, text in all_docstrings(may_have_one))
    found = [f"{place}: {text.splitlines()[0]}" for place, text in begun if FRAGMENT.match(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("top", ["accelerate_sim", "fake_torch_dist"])
def test_no_docstring_begins_with_the_bare_name_of_a_class(top: str) -> None:
    """A class that is renamed by a search through the text can leave its name where a plain word stood."""
    classes = {name for text in sources().values() for name in CLASS.findall(text)}
    words = ((place, WORD.match(text.strip())) for place, text in all_docstrings(texts(top)))
    found = [f"{place}: {word[0]}" for place, word in words if word and word[0] in classes]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("top", ["accelerate_sim", "fake_torch_dist"])
def test_each_file_that_a_docstring_names_exists(top: str) -> None:
    missing = []
    for place, text in all_docstrings(sources()):
        if place.startswith(top):
            for name in FILE.findall(text):
                if not any(path.endswith("/" + name) for path in everywhere()) and name not in WRITTEN_BY_A_RUN:
                    missing.append(f"{place}: {name}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("top", ["accelerate_sim", "fake_torch_dist"])
def test_each_name_that_a_docstring_quotes_exists(top: str) -> None:
    unknown, known = [], known_words() | OF_OTHERS
    for place, text in all_docstrings(sources()):
        if place.startswith(top):
            for quoted in QUOTED.findall(text):
                strange = [word for word in WORD.findall(quoted) if word not in known]
                if strange:
                    unknown.append(f"{place}: ``{quoted}``: {', '.join(strange)}")
    assert not unknown, "\n".join(unknown)
