"""Docstrings are sentences that stand alone, and what they name exists."""

from __future__ import annotations

import ast
import builtins
import io
import keyword
import os
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.repository import ROOT

FRAGMENT = re.compile(r"(What|Of|Whether|How|Where)\b")
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


@cache
def docstrings(source: str) -> list[tuple[int, str]]:
    """(line, text) of each docstring of a module, a class, a function, or a field."""
    found = []
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for statement in body:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found.append((statement.lineno, value.value))
    return found


def all_docstrings(modules: dict[Path, str]) -> Iterator[tuple[str, str]]:
    """(place, text) of each docstring of these modules."""
    for path, source in modules.items():
        for line, text in docstrings(source):
            yield f"{path.relative_to(ROOT)}:{line}", text


@cache
def known_words() -> frozenset[str]:
    """Every word of the code, docstrings and comments aside: names, keywords, and words in strings."""
    words = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *sys.stdlib_module_names}
    for path, text in sources().items():
        words |= set(path.relative_to(ROOT).with_suffix("").parts)
        ours = {line for line, _ in docstrings(text)}
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME or (token.type == tokenize.STRING and token.start[0] not in ours):
                words |= set(WORD.findall(token.string))
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
    begun = ((place, text.strip()) for place, text in all_docstrings(texts(top)))
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
    unknown = []
    for place, text in all_docstrings(sources()):
        if place.startswith(top):
            for quoted in QUOTED.findall(text):
                strange = [word for word in WORD.findall(quoted) if word not in known_words() | OF_OTHERS]
                if strange:
                    unknown.append(f"{place}: ``{quoted}``: {', '.join(strange)}")
    assert not unknown, "\n".join(unknown)
