"""The cells of a row of measurements as numbers, and the errors of cells that are none."""

MOST = 1e15


class RefusedRow(ValueError):
    """A row that the model cannot express; the text says why."""


class BadCell(ValueError):
    """A cell that is no number where one belongs, or holds an unknown name."""


class Cells(dict[str, str]):
    """A row's cells by column, read as numbers on demand."""

    def number(self, name: str) -> float:
        try:
            value = float(self[name])
        except ValueError:
            raise BadCell(f"{name} = {self[name]!r} is not a number; write digits, e.g. 8 or 0.5") from None
        if not 0 <= value < MOST:
            raise BadCell(f"{name} = {self[name]!r} is not between 0 and {MOST:g}")
        return value

    def rate(self, name: str) -> float:
        value = self.number(name)
        if not value:
            raise BadCell(f"{name} = {self[name]!r} is not above 0")
        return value

    def count(self, name: str) -> int:
        value = self.number(name)
        if not value.is_integer():
            raise BadCell(f"{name} = {self[name]!r} is not a whole number")
        return int(value)

    def positive(self, name: str) -> int:
        value = self.count(name)
        if not value:
            raise BadCell(f"{name} = {self[name]!r} is not 1 or more")
        return value

    def flag(self, name: str) -> bool:
        return self[name] not in ("0", "")
