"""Colours and glyphs of all drawn text, with plain forms for terminals that have neither."""

from collections.abc import Iterable
from dataclasses import dataclass

from fake_torch_dist.terminal.width import columns as character_columns

_SGR = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
GLYPHS = {
    # name: (Unicode, ASCII)
    "bar": ("│", "|"),
    "rule": ("─", "-"),
    "top_left": ("╭", "+"),
    "top_right": ("╮", "+"),
    "bottom_left": ("╰", "+"),
    "bottom_right": ("╯", "+"),
    "tee_right": ("├", "+"),
    "tee_left": ("┤", "+"),
    "dot": ("·", "-"),
    "times": ("×", "x"),
    "to": ("–", "-"),
    "degree": ("°", "C"),
    "celsius": ("°C", "C"),
    "square": ("²", "^2"),
    "ellipsis": ("…", "~"),
    "arrow": ("→", "->"),
    "up": ("↑", "^"),
    "down": ("↓", "v"),
    "block": ("█", "#"),
    "heights": ("▁▂▃▄▅▆▇█", "_.-:=+*#"),
    "eighths": (" ▏▎▍▌▋▊▉", " "),
}


_PLAIN = str.maketrans({ours: plain for ours, plain in GLYPHS.values() if len(ours) == 1} | {"µ": "u"})


@dataclass(frozen=True)
class Style:
    """The look of one output: ``color`` allows ANSI colours, ``ascii`` forbids everything beyond ASCII.

    Text is painted last, because widths are counted in unpainted text.
    """

    color: bool = False
    ascii: bool = False

    def paint(self, text: str, name: str) -> str:
        """Text in ``green yellow red cyan bold dim``, or several of them (``"bold red"``)."""
        if not self.color or not name or not text:
            return text
        return f"\x1b[{';'.join(_SGR[part] for part in name.split())}m{text}\x1b[0m"

    def glyph(self, name: str) -> str:
        """The character called ``name``, or what stands for it in ASCII."""
        return GLYPHS[name][self.ascii]

    def text(self, text: str) -> str:
        """Return any text, such as a sentence or a name, in characters that the output has."""
        return text.translate(_PLAIN).encode("ascii", "replace").decode() if self.ascii else text

    def line(self, pieces: Iterable[tuple[str, str]], width: int) -> str:
        """(text, colour) pieces painted and joined, cut after ``width`` columns."""
        kept, room = [], width
        for text, name in pieces:
            if columns(text) > room:
                kept.append(self.paint(cut(text, room, self), name))
                break
            kept.append(self.paint(text, name))
            room -= columns(text)
        return "".join(kept)

    def bar(self, share: float, width: int) -> str:
        """A horizontal bar of at most ``width`` columns, in eighths of one where the output has them."""
        eighths = self.glyph("eighths")
        units = round(min(1.0, max(0.0, share)) * width * len(eighths))
        whole, rest = divmod(units, len(eighths))
        return (self.glyph("block") * whole + (eighths[rest] if rest else "")).rstrip()


def columns(text: str) -> int:
    """Terminal columns of unpainted text: East Asian wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(character_columns(character) for character in text)


def cut(text: str, width: int, style: Style) -> str:
    """Text in at most ``width`` columns; what is cut off leaves an ellipsis."""
    if columns(text) <= width:
        return text
    if width < 1:
        return ""
    kept, room = "", width - 1
    for character in text:
        room -= character_columns(character)
        if room < 0:
            break
        kept += character
    return kept.rstrip() + style.glyph("ellipsis")


def padded(text: str, width: int) -> str:
    """Text with spaces after it up to ``width`` columns."""
    return text + " " * (width - columns(text))
