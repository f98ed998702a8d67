"""Bars at any width, with any figures."""

import re
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tqdm import tqdm as std_tqdm

from accelerate_sim.display.screen import Screen
from accelerate_sim.display.style import Style
from accelerate_sim.process.clock import Clock
from accelerate_sim.process.signals import Signals
from accelerate_sim.progress import PIPE_WIDTH, short_figures, tqdm
from accelerate_sim.session.session import Session

STDOUT = 1
"""Never written to."""


class PlainScreen(Screen):
    """Keeps what would be written."""

    def __init__(self, *, live: bool) -> None:
        super().__init__(STDOUT, live=live, monotonic=lambda: 0.0)
        self.written: list[str] = []

    def _emit(self, text: str) -> None:
        self.written.append(text)


def session_on(screen: Screen) -> Session:
    clock = Clock(datetime(2026, 1, 1))
    return Session(screen=screen, clock=clock, style=Style(), signals=Signals())


def written(session: Session) -> list[str]:
    """Texts that the screen of a session has written, one for each frame."""
    assert isinstance(session.screen, PlainScreen)
    return session.screen.written


@pytest.fixture
def session() -> Iterator[Session]:
    """A session on a terminal of 80 columns."""
    entered = session_on(PlainScreen(live=True))
    entered.enter()
    yield entered
    entered.leave()


@pytest.fixture(autouse=True)
def no_bar_is_left_open() -> Iterator[None]:
    """tqdm has one list of them for the whole process, and draws a new bar below those."""
    yield
    tqdm._instances.clear()


def postfix(loss: float, perplexity: float, lr: float, rate: float) -> str:
    """As the training script writes it."""
    return f"loss={loss:.4f}, ppl={perplexity:.2f}, lr={lr:.2e}, tok/s={rate:,.0f}"


def step_bar(session: Session, done: int, total: int, elapsed_s: float, text: str, epoch: str = "1/3") -> tqdm:
    bar = tqdm(total=total, desc=f"Epoch {epoch}", unit="step", leave=False)
    session.clock.now_s += elapsed_s
    bar.n = bar.last_print_n = done
    bar.set_postfix_str(text, refresh=False)
    return bar


LONG = postfix(12.0463, 170472.79, 1.5e-4, 1_074_449)
USUAL = postfix(2.4103, 11.14, 1.49e-4, 59_632)


@pytest.mark.parametrize(
    "width, shown",
    [
        (
            150,
            "Epoch 1/3:  14%|██████                                     | 140/1000 "
            "[41:40<4:15:57, 17.86s/step, loss=2.4103, ppl=11.14, lr=1.49e-04, tok/s=59,632]",
        ),
        (
            120,
            "Epoch 1/3:  14%|█▊           | 140/1000 "
            "[41:40<4:15:57, 17.86s/step, loss=2.4103, ppl=11.14, lr=1.49e-04, tok/s=59,632]",
        ),
        (
            110,
            "Epoch 1/3:  14%|██▏             | 140/1000 "
            "[41:40<4:15:57, loss=2.4103, ppl=11.14, lr=1.49e-04, tok/s=59,632]",
        ),
        (80, "|█       | 140/1000 41:40<4:15:57 loss=2.4103 ppl=11.14 lr=1.49e-04 tok/s=59.6k"),
        (70, "140/1000 41:40<4:15:57 loss=2.4103 ppl=11.14 lr=1.49e-04 tok/s=59.6k"),
        (65, "41:40<4:15:57 loss=2.4103 ppl=11.14 lr=1.49e-04 tok/s=59.6k"),
        (50, "41:40<4:15:57 loss=2.4103 ppl=11.14 lr=1.49e-04"),
        (20, "41:40<4:15:57"),
    ],
)
def test_narrower_bars_say_the_same_in_fewer_columns(session: Session, width: int, shown: str):
    assert step_bar(session, 140, 1000, 2500.0, USUAL).render(width) == shown


def test_the_longest_figures_still_fit_80_columns(session: Session):
    bar = step_bar(session, 11_000, 15_000, 102 * 3600 + 40 * 60 + 10, LONG)
    assert bar.render(80) == "102:40:10<37:20:03 loss=12.0463 ppl=170472.79 lr=1.50e-04 tok/s=1.07M"


@given(
    width=st.integers(20, 250),
    total=st.integers(1, 99_999),
    share=st.floats(0, 1),
    elapsed_s=st.floats(0, 1e7),
    loss=st.floats(0, 15),
    perplexity=st.floats(1, 999_999),
    rate=st.floats(0, 99_999_999),
)
def test_no_bar_is_wider_than_its_terminal(
    width: int, total: int, share: float, elapsed_s: float, loss: float, perplexity: float, rate: float
):
    session = session_on(PlainScreen(live=True))
    session.enter()
    try:
        bar = step_bar(session, int(share * total), total, elapsed_s, postfix(loss, perplexity, 1.5e-4, rate), "12/40")
        text = bar.render(width)
    finally:
        session.leave()
    assert len(text) < width
    assert text == text.rstrip()
    if width >= 90:
        assert re.search(
            r"\d+:\d\d<(\d+:\d\d|\?).*loss=\d+\.\d{4},? ppl=\d+\.\d\d,? lr=1\.50e-04,? tok/s=[\d,.]+[kM]?\]?$", text
        )
    for figure in re.findall(r"[a-z/]+=\S+", text):
        assert figure.rstrip(",]") in short_figures(bar.postfix) + " " + bar.postfix, "a figure is whole or absent"


@given(width=st.integers(1, 250), elapsed_s=st.floats(0, 1e7), done=st.floats(1e-6, 3))
def test_the_bar_of_epochs_fits_too(width: int, elapsed_s: float, done: float):
    session = session_on(PlainScreen(live=True))
    session.enter()
    try:
        bar = tqdm(total=3, desc="Training", bar_format="{l_bar}{bar}| {elapsed}<{remaining}", leave=False)
        session.clock.now_s += elapsed_s
        bar.update(done)
        assert len(bar.render(width)) <= max(width - 1, 0)
    finally:
        session.leave()


@given(
    width=st.integers(60, 250),
    total=st.integers(1, 9_999) | st.none(),
    done=st.integers(0, 12_000),
    desc=st.sampled_from(["", "Work", "Work: ", "Größe", "進捗", "a\0b", "{bar}"]),
    ascii_=st.sampled_from([True, False, " .#"]),
    unit_scale=st.sampled_from([False, True, 8]),
)
def test_a_bar_that_fits_is_tqdms_own(
    width: int,
    total: int | None,
    done: int,
    desc: str,
    ascii_: bool | str,
    unit_scale: bool | int,
):
    session = session_on(PlainScreen(live=True))
    session.enter()
    try:
        bar = tqdm(total=total, desc=desc, unit_scale=unit_scale)
        session.clock.now_s += 30.0
        bar.n, bar.ascii = done, ascii_
        figures = dict(bar.format_dict)
        bare = std_tqdm.format_meter(**figures | {"bar_format": "{l_bar}{r_bar}", "ncols": None})
        assume(len(bare) + 4 < width and bare.isascii())
        sized = f"{{l_bar}}{{bar:{width - 1 - len(bare)}}}{{r_bar}}"
        whole = std_tqdm.format_meter(**figures | {"bar_format": sized, "ncols": None})
        assert bar.render(width) == whole.rstrip()[: width - 1]
    finally:
        session.leave()


def test_figures_get_shorter():
    assert short_figures("loss=2.4103, ppl=11.14, tok/s=1,074,449") == "loss=2.4103 ppl=11.14 tok/s=1.07M"
    assert short_figures("tok/s=512") == "tok/s=512"
    assert short_figures("") == ""


def test_elapsed_time_and_rate_are_simulated(session: Session):
    bar = tqdm(total=100, desc="Work", unit="step")
    for _ in range(50):
        session.clock.advance(20.0)
        bar.update()
    assert "| 50/100 [16:40<16:39, 20.00s/step]" in bar.render(100)


def test_a_bar_is_drawn_as_soon_as_it_is_made(session: Session):
    tqdm(total=10, desc="Loading")
    session.signals.wait(0.0)
    assert "Loading:   0%|" in written(session)[-1]


def test_a_finished_bar_stays_above_and_an_unfinished_one_does_not(session: Session):
    for done in (10, 4):
        with tqdm(total=10, desc=f"Work to {done}") as bar:
            bar.update(done)
    session.screen.close()
    text = "".join(written(session))
    assert re.search(r"Work to 10: 100%\|█+\| 10/10 [^\r\n]*\x1b\[K\r\n", text)
    assert not re.search(r"Work to 4:[^\r\n]*\r\n", text)


def test_on_a_pipe_a_bar_is_a_line_at_each_part_of_its_way():
    session = session_on(PlainScreen(live=False))
    session.enter()
    try:
        for _ in tqdm(range(250), desc="Ten"):
            session.clock.advance(1.0)
        for _ in tqdm(range(250), desc="One", parts=1):
            session.clock.advance(1.0)
        session.flush()
    finally:
        session.leave()
    lines = "".join(written(session)).splitlines()
    assert [line[:9] for line in lines] == [f"Ten: {part * 10:3}%" for part in range(1, 11)] + ["One: 100%"]
    assert all(len(line) < PIPE_WIDTH for line in lines)


def test_without_progress_nothing_is_shown(session: Session):
    session.progress = False
    for _ in tqdm(range(10), desc="Silent"):
        pass
    session.flush()
    assert written(session) == []


def test_no_thread_watches_the_bars(session: Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(std_tqdm, "monitor", None)  # another test of this process may have had a bar of tqdm's own
    tqdm(total=10).close()
    assert tqdm.monitor is None


@pytest.mark.parametrize("desc", ["Epoch 1/3", "訓練"])
@pytest.mark.parametrize("total", [1000, None])
def test_a_bar_is_as_long_as_tqdm_measures_it(session: Session, desc: str, total: int | None):
    bar = tqdm(total=total, desc=desc, unit="step", leave=False)
    for done, width in ((0, 80), (37, 90), (999, 133), (1000, 101)):
        bar.n = done
        figures = dict(bar.format_dict) | {"figures": "", "bar_format": "{l_bar}{bar}{r_bar}", "ncols": width - 1}
        measured = tqdm.format_meter(**figures).rstrip()
        assert bar.render(width) == measured
