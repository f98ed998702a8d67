"""A line is typed beside the bars: changed, ended, or left."""

from accelerate_sim.session.typed_line import TypedLine


def typed(*keys: str, text: str = "") -> tuple[TypedLine | None, list[str]]:
    """The line after groups of keys, and the lines that its reader was given."""
    given: list[str] = []
    line: TypedLine | None = TypedLine("fault: ", text, given.append)
    for group in keys:
        assert line
        before, line = line, line.type(group)
        if line is None:
            before.end(group)
    return line, given


def test_characters_are_added_and_taken_away():
    line, given = typed("kil", "x\x7f", "l rank=1", text="")
    assert line and line.shown == "fault: kill rank=1_"
    assert given == []
    line, _ = typed("\x15", "hang", text="kill rank=any")
    assert line and line.text == "hang"


def test_enter_gives_the_line_to_its_reader():
    assert typed("\x7f4\r", text="kill rank=3") == (None, ["kill rank=4"])
    assert typed("\n", text="kill") == (None, ["kill"])


def test_escape_leaves_it_and_an_arrow_does_not():
    assert typed("\x1b", text="kill") == (None, [])
    line, given = typed("\x1b[A", text="kill")
    assert line and line.text == "kill" and given == []


def test_an_empty_line_asks_for_nothing():
    assert typed("\x15\r", text="kill") == (None, [])
