"""``ValidationError``, and the exception that carries the errors of one value to the model around it."""

from __future__ import annotations

from typing import Any


class ValidationError(ValueError):
    """Raised when data do not fit a model. ``errors()`` lists each error as pydantic does: type, loc, msg, ctx."""

    def __init__(self, title: str, details: list[dict[str, Any]]) -> None:
        super().__init__(title, details)
        self.title = title
        self._details = details

    def errors(
        self, *, include_url: bool = True, include_input: bool = True, include_context: bool = True
    ) -> list[dict[str, Any]]:
        """The errors, in the order of the fields."""
        hidden = set() if include_input else {"input"}
        return [{key: value for key, value in details.items() if key not in hidden} for details in self._details]

    def error_count(self) -> int:
        """Number of errors."""
        return len(self._details)

    def __str__(self) -> str:
        count = len(self._details)
        lines = [f"{count} validation error{'s' if count != 1 else ''} for {self.title}"]
        for details in self._details:
            lines += [".".join(map(str, details["loc"])), f"  {details['msg']} [type={details['type']}]"]
        return "\n".join(lines)


class Refused(Exception):
    """A value that does not fit its type, with the errors found in it; each ``loc`` begins below the value."""

    def __init__(self, *errors: dict[str, Any]) -> None:
        super().__init__(*errors)
        self.errors = errors

    def below(self, *location: Any) -> Refused:
        """The same errors, seen from the value that holds this one at ``location``."""
        return Refused(*({**error, "loc": (*location, *error["loc"])} for error in self.errors))


def refused(kind: str, value: Any, message: str = "", context: dict[str, Any] | None = None) -> Refused:
    """An error of ``value`` itself."""
    return Refused(error_at((), kind, value, message, context))


def error_at(
    location: tuple[Any, ...], kind: str, value: Any, message: str = "", context: dict[str, Any] | None = None
) -> dict[str, Any]:
    """An error at ``location`` below a value, as ``ValidationError.errors`` lists it."""
    details = {"type": kind, "loc": location, "msg": message or kind, "input": value}
    return {**details, "ctx": context} if context else details


def own_error(error: ValueError, value: Any) -> Refused:
    """The error that a validator of the model's own has raised."""
    return refused("value_error", value, f"Value error, {error}", {"error": error})
