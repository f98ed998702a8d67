"""A process that a signal ends says little; its shell and its peers say more."""

from __future__ import annotations

import signal

import pytest

from accelerate_sim.faults.words import signals
from accelerate_sim.faults.words.draw import Draw


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGBUS])
def test_most_signals_leave_no_words(number: int) -> None:
    assert signals.own_words(number, Draw(1)) == []


def test_an_interrupt_leaves_a_traceback_and_faulthandler_a_stack() -> None:
    assert signals.own_words(signal.SIGINT, Draw(1))[-1].text == "KeyboardInterrupt"
    texts = [line.text for line in signals.own_words(signal.SIGSEGV, Draw(1), faulthandler=True)]
    assert texts[:2] == ["Fatal Python error: Segmentation fault", ""]
    assert texts[2].startswith("Current thread 0x00007f") and texts[2].endswith(" (most recent call first):")
    assert texts[3].startswith('  File "') and texts[-1].endswith(" in <module>")
    assert signals.own_words(signal.SIGTERM, Draw(1), faulthandler=True) == []


def test_a_shell_pads_the_word_and_tells_of_a_core() -> None:
    assert signals.shell_line("run.sh", 9, 77, signal.SIGKILL, "python train.py") == (
        "run.sh: line 9: 77 Killed                  python train.py"
    )
    assert signals.shell_line("run.sh", 9, 77, signal.SIGABRT, "python train.py") == (
        "run.sh: line 9: 77 Aborted                 (core dumped) python train.py"
    )


def test_peers_name_the_address_or_the_time() -> None:
    for text in (signals.gloo_closed("10.0.0.4", 7), signals.gloo_reset("10.0.0.4", 7)):
        assert "[10.0.0.4]:7" in text and text.endswith("GLHF! \N{BEACH WITH UMBRELLA}\ufe0f")
    assert signals.gloo_timeout(4000).endswith(
        "unbound_buffer.cc:78] Timed out waiting 4000ms for recv operation to complete"
    )
    assert "129] Timed out waiting 9ms for send" in signals.gloo_timeout(9, sends=True)
    assert signals.damaged_heap(Draw(1))[0].text in signals.HEAP
