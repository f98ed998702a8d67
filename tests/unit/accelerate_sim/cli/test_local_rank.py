"""The local rank that launchers append to a script's command line, in all forms that they write."""

from __future__ import annotations

import pytest

from accelerate_sim.cli.command import without_local_rank


@pytest.mark.parametrize(
    "words, rank",
    [
        (["--local_rank=3"], "3"),
        (["--local-rank", "0"], "0"),
        (["--local_rank=-1"], ""),
        (["--local_rank", "-1"], ""),
        (["--local_rank=2", "--local_rank=1"], "1"),
        ([], ""),
    ],
)
def test_it_is_taken_out(words: list[str], rank: str):
    """-1 is the default of scripts' own parsers: no launcher has started the process."""
    assert without_local_rank(["--seed", "7", *words, "--speed", "max"]) == (["--seed", "7", "--speed", "max"], rank)


@pytest.mark.parametrize("word", ["--local_rank=x", "--local_rank=", "--local_rank", "--local_rank=-2"])
def test_what_is_no_rank_stays_for_the_parser(word: str):
    assert without_local_rank([word]) == ([word], "")
