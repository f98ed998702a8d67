"""Docstrings and imports are found in every kind of block, and an import is known for where it stands."""

from __future__ import annotations

from tests.support.module_facts import Import, facts_of

SOURCE = '''"""A module."""

import a, b

if TYPE_CHECKING:
    from c import d
else:
    from .. import e


class Class:
    field: int = 0
    """A field."""

    def method(self):
        """A method,
        in two lines.
        """
        try:
            import f
        except ValueError:
            from .g import h
        match self.field:
            case 1:
                import i
        while True:
            if typing.TYPE_CHECKING:
                import j
        ("no docstring",)
'''


def test_an_import_stands_in_a_function_for_types_or_neither() -> None:
    assert facts_of(SOURCE).imports == (
        Import(("a", "b"), None, 0, in_function=False, for_types=False),
        Import(("d",), "c", 0, in_function=False, for_types=True),
        Import(("e",), "", 2, in_function=False, for_types=False),
        Import(("f",), None, 0, in_function=True, for_types=False),
        Import(("h",), "g", 1, in_function=True, for_types=False),
        Import(("i",), None, 0, in_function=True, for_types=False),
        Import(("j",), None, 0, in_function=True, for_types=True),
    )


def test_a_docstring_has_its_lines() -> None:
    found = [(each.first_line, each.last_line, each.text.split(",")[0]) for each in facts_of(SOURCE).docstrings]
    assert found == [(1, 1, "A module."), (13, 13, "A field."), (16, 18, "A method")]
