"""Pictures of a run: the cells are those of a terminal emulator, and the SVG says that it is simulated."""

from __future__ import annotations

import io
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pyte
import pytest

from accelerate_sim.web.__main__ import main
from accelerate_sim.web.cell_screen import CellScreen
from accelerate_sim.web.downloads import HERE, BuildError
from accelerate_sim.web.intros import intro_frames
from accelerate_sim.web.picture import picture
from accelerate_sim.web.preview import preview


@pytest.mark.parametrize("size", [(120, 40), (44, 34)])
def test_cells_are_those_of_a_terminal(size: tuple[int, int]):
    ours, theirs = CellScreen(*size), pyte.Screen(*size)
    stream = pyte.Stream(theirs)
    for second, text in intro_frames("llama70b", *size):
        ours.feed(text)
        stream.feed(text)
        if second > 8.0:
            break
    assert ["".join(cell.text for cell in row) for row in ours.cells] == theirs.display
    bold = {(x, y) for y, row in enumerate(ours.cells) for x, cell in enumerate(row) if 1 in cell.attributes}
    assert bold == {(x, y) for y in range(size[1]) for x in range(size[0]) if theirs.buffer[y][x].bold}
    assert bold


def test_a_picture_shows_the_run_and_says_that_it_is_simulated():
    drawn = picture("debug", 5.0)
    text = "\n".join("".join(element.itertext()) for element in ElementTree.fromstring(drawn))
    assert "simulated" in text.splitlines()[0]
    assert "python train.py --config debug" in text and "Epoch" in text
    assert picture("debug", 5.0) == drawn


def test_the_preview_image_of_the_page_is_drawn_from_the_run():
    image = pytest.importorskip("matplotlib.image")
    drawn = preview("debug", 1.0)
    pixels = image.imread(io.BytesIO(drawn), format="png")
    assert pixels.shape[:2] == (630, 1200)
    text = pixels[60:600, 110:1090, :3]
    assert (text.max(axis=2) > 0.5).mean() > 0.02, "light text on a dark window"
    assert preview("debug", 1.0) == drawn


def test_a_preview_image_without_matplotlib_names_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(BuildError, match=r"pip install 'fake-torchrun\[web\]'"):
        preview()


def test_the_picture_of_the_front_page_is_that_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "picture.svg"
    assert main(["picture", str(path)]) == 0 and capsys.readouterr().out == f"{path}\n"
    shown = HERE / "page" / "picture.svg"
    assert path.read_text(encoding="utf-8") == shown.read_text(encoding="utf-8"), (
        "the run looks different: python -m accelerate_sim.web picture accelerate_sim/web/page/picture.svg"
    )
