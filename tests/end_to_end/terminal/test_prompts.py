"""``fake-torchrun`` on a terminal: whoever is asked something sees it, and answers where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.emulator import CTRL_C, CTRL_Z, SHELL_SAYS, Terminal, warm_launcher
from tests.support.repository import ROOT

OTHER = """
else:
    for number in range(10_000):
        print(f"other {number}"); time.sleep(0.05)
"""
BEGIN = """
import os, sys, time
if os.environ["RANK"] == "0":
"""
SAYS_ANSWER = "    print(f'answer: {answer}')\n"
"""In one write, so a line of another rank that comes at this moment does not part it."""


class Launched(Terminal):
    """``fake-torchrun FLAGS SCRIPT`` on a terminal."""

    def __init__(self, directory: Path, script: str, *flags: str, columns: int = 80, lines: int = 24) -> None:
        path = directory / "job.py"
        path.write_text(script)
        variables = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "INPUTRC": "/dev/null"}
        super().__init__(warm_launcher(*flags, str(path)), columns, lines, variables)

    def last_line_is(self, text: str) -> None:
        self.wait_until(lambda: self.used_lines and self.used_lines[-1] == text, f"{text!r} in the last line")


RANKS = [("--nproc-per-node", "1"), ("--nproc-per-node", "2")]


@pytest.fixture(params=RANKS, ids=["one rank", "two ranks"])
def flags(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    yield request.param


@pytest.mark.parametrize(
    "ask",
    [
        "answer = input('go on? ')",
        "import readline; answer = input('go on? ')",
        "print('go on? ', end='', flush=True); answer = sys.stdin.readline().strip()",
        "print('go on? ', end='', flush=True, file=sys.stderr); answer = sys.stdin.readline().strip()",
        "import subprocess; answer = subprocess.run("
        "['bash', '-c', 'read -p \"go on? \" answer; echo $answer'], stdout=subprocess.PIPE, text=True).stdout.strip()",
    ],
    ids=["input", "readline", "print", "stderr", "bash"],
)
def test_a_question_is_seen_and_answered(tmp_path: Path, flags: tuple[str, ...], ask: str) -> None:
    script = BEGIN + f"    {ask}\n" + SAYS_ANSWER
    with Launched(tmp_path, script, *flags) as terminal:
        terminal.last_line_is("go on?")
        terminal.press("yes\r")
        terminal.wait_for("answer: yes")
        assert terminal.exit_code() == 0
        assert terminal.used_lines[-2:] == ["go on? yes", "answer: yes"]


def test_a_secret_is_asked_for_and_not_shown(tmp_path: Path, flags: tuple[str, ...]) -> None:
    script = BEGIN + "    import getpass\n    print('length', len(getpass.getpass('secret: ')))\n"
    with Launched(tmp_path, script, *flags) as terminal:
        terminal.last_line_is("secret:")
        terminal.press("abcd\r")
        terminal.wait_for("length 4")
        assert terminal.exit_code() == 0
        assert "abcd" not in terminal.everything


def test_a_debugger_while_other_ranks_go_on(tmp_path: Path) -> None:
    script = BEGIN + "    loss = 0.25\n    breakpoint()\n    print('after it')\n    sys.exit(3)\n" + OTHER
    with Launched(tmp_path, script, "--nproc-per-node", "3") as terminal:
        terminal.last_line_is("(Pdb)")
        terminal.wait_for("other 30")
        terminal.last_line_is("(Pdb)")
        terminal.press("p losx")
        terminal.last_line_is("(Pdb) p losx")
        terminal.press("\x7fs")
        terminal.last_line_is("(Pdb) p loss")
        terminal.press("\r")
        terminal.wait_for("0.25")
        terminal.last_line_is("(Pdb)")
        terminal.press("c\r")
        terminal.wait_for("after it")
        assert terminal.exit_code() == 1
        assert "(Pdb) p lossother" not in terminal.everything


def test_a_question_above_a_bar(tmp_path: Path) -> None:
    script = (
        BEGIN
        + "    from tqdm import tqdm\n    bar = tqdm(total=10, desc='bar')\n    bar.update(3)\n    bar.refresh()\n"
        + "    answer = input('go on? ')\n"
        + SAYS_ANSWER
        + "    time.sleep(60)\n"
        + OTHER
    )
    with Launched(tmp_path, script, "--nproc-per-node", "2") as terminal:
        terminal.wait_until(lambda: "go on?" in terminal.used_lines, "the question on a line of its own")
        terminal.wait_for("other 20")
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("bar:  30%"), "the bar in the last line")
        assert terminal.used_lines[-2] == "go on?"
        terminal.press("yes\r")
        terminal.wait_for("answer: yes")
        terminal.wait_until(lambda: terminal.used_lines[-1].startswith("bar:  30%"), "the bar in the last line")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1


@pytest.mark.parametrize("more", [(), ("--prefix",)])
def test_every_rank_has_a_terminal_of_the_right_size(tmp_path: Path, more: tuple[str, ...]) -> None:
    script = """
import os, signal, sys, time
def size(*_): print("rank", os.environ["RANK"], sys.stdout.isatty(), sys.stderr.isatty(), *os.get_terminal_size(1))
signal.signal(signal.SIGWINCH, size)
size()
time.sleep(60)
"""
    taken = len("[default0]:") if more else 0
    with Launched(tmp_path, script, "--nproc-per-node", "3", *more, columns=100, lines=30) as terminal:
        for rank in range(3):
            terminal.wait_for(f"rank {rank} True True {100 - taken} 30")
        terminal.resize(60, 20)
        for rank in range(3):
            terminal.wait_for(f"rank {rank} True True {60 - taken} 20")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1


def test_print_and_log_of_a_rank_are_in_order_on_a_terminal(tmp_path: Path) -> None:
    script = """
import os
for number in range(0, 300, 2):
    os.write(1, b"%s:%03d\\n" % (os.environb[b"RANK"], number))
    os.write(2, b"%s:%03d\\n" % (os.environb[b"RANK"], number + 1))
"""
    with Launched(tmp_path, script, "--nproc-per-node", "2") as terminal:
        assert terminal.exit_code() == 0
        for rank in "01":
            own = [line[2:] for line in terminal.everything.split("\n") if line.startswith(f"{rank}:")]
            assert own == [f"{number:03d}" for number in range(300)]


def test_a_rank_cannot_reach_beyond_its_lines(tmp_path: Path) -> None:
    script = r"""
import os
os.write(1, b"a\x1b]0;title\x07b\x1b]52;c;eA==\x07c\xc2\x9b2Jd\x1b[3;4He \x1b[31mred\x1b[0m\n")
os.write(1, b"\x1b]0;in a prompt\x07prompt ")
raise SystemExit("\x1b]0;last words\x07")
"""
    with Launched(tmp_path, script, "--nproc-per-node", "2") as terminal:
        assert terminal.exit_code() == 1
        assert "abcde red" in terminal.everything
        assert b"\x1b]" not in terminal.raw and b"\xc2\x9b" not in terminal.raw and b"\x1b[3;4H" not in terminal.raw
        assert b"\x1b[31mred" in terminal.raw


def test_ctrl_z_stops_the_only_rank_too(tmp_path: Path) -> None:
    script = "import time\nfor number in range(10_000):\n    print('number', number); time.sleep(0.02)\n"
    with Launched(tmp_path, script) as terminal:
        terminal.wait_for("number 5")
        terminal.press(CTRL_Z)
        terminal.wait_for(SHELL_SAYS)
        terminal.read_for(0.3)
        assert terminal.used_lines[-2].endswith(SHELL_SAYS), "nothing more has come"
        before = terminal.everything.count("number")
        terminal.foreground()
        terminal.wait_until(lambda: terminal.everything.count("number") > before + 5, "it goes on")
        terminal.press(CTRL_C)
        assert terminal.exit_code() == 1
