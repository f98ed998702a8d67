"""Files that cannot be a config: each is refused at once, with its name, the reason and a way out."""

import os
import re
import stat
import time
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.config.problems import ConfigError


def refusal(path: Path) -> str:
    """The message that a file earns."""
    with pytest.raises(ConfigError) as error:
        ConfigSource.read(path).resolve()
    message = str(error.value)
    assert message.isprintable() or "\n" in message
    return message


def refusal_at_once(path: Path) -> str:
    """The message, which comes within a second of processor time."""
    begin = time.process_time()
    message = refusal(path)
    assert time.process_time() - begin < 1.0
    return message


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "run.yaml"
    path.write_bytes(data)
    return path


def test_a_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.yaml")


def test_a_missing_file_whose_name_is_nearly_right(tmp_path: Path) -> None:
    (tmp_path / "llama70b.yaml").touch()
    assert f"Did you mean '{tmp_path}/llama70b.yaml'?" in refusal(tmp_path / "lama70b.yml")


def test_a_directory(tmp_path: Path) -> None:
    assert "is a directory, not a file" in refusal(tmp_path)


def test_devices_and_pipes_are_not_read(tmp_path: Path) -> None:
    assert "is a device, not a file" in refusal(Path("/dev/zero"))
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe, not a file" in refusal(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = written(tmp_path, b"model: gpt2")
    path.chmod(stat.S_IWUSR)
    assert "can't be read: Permission denied" in refusal(path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "run.yaml/below"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    written(tmp_path, b"model: gpt2")
    assert refusal(tmp_path / name)


@pytest.mark.parametrize("data", [b"", b"  \n\n", b"# only a comment\n", b"---\n", b"~"])
def test_an_empty_file(tmp_path: Path, data: bytes) -> None:
    assert "the file is empty" in refusal(written(tmp_path, data))


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    assert "run.yaml:2: byte 0xff is not UTF-8 text" in refusal(written(tmp_path, b"model: gpt2\n\xff\xfe"))


@pytest.mark.parametrize("data", [b"model: \x1b[31mred", b"model: gpt2\x00", b"model: gpt2\x7f", "a: \x9b1m".encode()])
def test_control_characters_are_shown_escaped(tmp_path: Path, data: bytes) -> None:
    assert "run.yaml:1: control character '\\x" in refusal(written(tmp_path, data))


@pytest.mark.parametrize(
    "text, message",
    [
        ("model: gpt2\ntrain: {lr: 1", r":3: YAML syntax: .+ \(at the end\)\. Check the colons, quotes, brackets"),
        ("model: a: b", r":1: YAML syntax: .+ \(column 9\)\. Check the colons, quotes, brackets"),
        ("train:\n\tlr: 1", r":2: YAML syntax: .+ \(column 1\)\. Indent with spaces, not with tabs\."),
        ("model: 'gpt2", r":1: YAML syntax: .+ \(at the end\)\. Check the colons, quotes, brackets"),
        ("a: 1\n---\nb: 2", r":2: a second document begins here"),
        ("- model", r"the file is a list, not a mapping"),
        ("gpt2", r"the file is text, not a mapping"),
        ("? [a, b]\n: c", r":1: a key that is not text"),
        ("model: !!python/object:os.system gpt2", r":1: tag 'tag:yaml\.org,2002:python/object:os\.system'"),
        ("model: *m", r":1: alias '\*m' has no anchor"),
        ("model: &m {layers: *m}", r":1: alias '\*m' stands inside what it repeats"),
        ("log: &l {every: 1}\neval:\n  <<: *l", r":3: merge key '<<' is not read\. Write the keys of the other"),
        ("eval: {<<: [{every: 1}]}", r":1: merge key '<<' is not read\. Write the keys of the other mapping here"),
        ("'<<': 1", r":1: unknown key '<<'"),
    ],
)
def test_yaml_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    """The parser words a syntax error; the place and the way out are ours."""
    assert re.search(message, refusal(written(tmp_path, text.encode())))


@pytest.mark.parametrize("begin", ["[", "a: [", "x: 1\na: {b: [", "a: '[' # [\nb: ["])
def test_depth_is_told_in_the_same_words_whatever_the_parser_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    """A parser may have a limit of its own, and reach it before it has told of any bracket."""

    def refuses(text: str, Loader: object) -> NoReturn:
        raise yaml.MarkedYAMLError("while counting", None, "far too deep", None)

    path = written(tmp_path, (begin + "[" * 5000).encode())
    usual = refusal(path)
    monkeypatch.setattr("yaml.parse", refuses)
    line = begin.count("\n") + 1
    told = f"{path}:{line}: more than 16 mappings and lists inside each other. Sections hold keys, and keys hold values"
    assert usual == refusal(path)
    assert usual.startswith(told)


def test_brackets_in_text_and_comments_are_not_deep(tmp_path: Path) -> None:
    brackets = "[" * 50
    text = f'model: \'{brackets}\' # {brackets}\n# {brackets}\nlog: {{"{brackets}\\"{brackets}": }}'
    assert "YAML syntax" in refusal(written(tmp_path, f"{text}\n]".encode()))


def test_every_duplicate_key_is_named(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, b"model: gpt2\ntrain:\n  lr: 1\n  lr: 2\nmodel: opt-13b\n"))
    assert ":4: key 'lr' was given in line 3 already. Keep one of them." in message
    assert ":5: key 'model' was given in line 1 already. Keep one of them." in message


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)


@pytest.mark.parametrize(
    "data, reason",
    [
        (BOMB.encode(), "more than 10,000 values, aliases expanded"),
        (b"a: 1\n" * 150_000, "more than 10,000 values"),
        (b"[" * 500_000, "more than 16 mappings and lists inside each other"),
        (b"- " * 300_000, "more than 16 mappings and lists inside each other"),
        (b"{a: " * 100_000, "more than 16 mappings and lists inside each other"),
    ],
    ids=["aliases", "keys", "lists", "dashes", "mappings"],
)
def test_bombs_are_refused_quickly(tmp_path: Path, data: bytes, reason: str) -> None:
    assert reason in refusal_at_once(written(tmp_path, data))


def test_a_file_of_100_mb_is_refused_quickly(tmp_path: Path) -> None:
    path = written(tmp_path, b"x")
    os.truncate(path, 100_000_000)  # of holes: as bytes, they would be in the memory that every test forks
    assert "is bigger than 1 MB" in refusal_at_once(path)


def test_a_depth_that_aliases_make(tmp_path: Path) -> None:
    levels = "".join(f"a{level}: &a{level} [*a{level - 1}]\n" for level in range(1, 40))
    assert "inside each other" in refusal(written(tmp_path, f"a0: &a0 [x]\n{levels}".encode()))


def test_aliases_in_moderation_are_fine(tmp_path: Path) -> None:
    path = written(tmp_path, b"eval: {batches: &n 50}\nlog: {every: *n}\n")
    config = ConfigSource.read(path).resolve()
    assert (config.eval.batches, config.log.every) == (50, 50)
