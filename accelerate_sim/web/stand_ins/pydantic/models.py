"""``BaseModel``: a class whose annotations are its fields, checked when an object is made."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self, dataclass_transform, get_type_hints

from .checks import Check, check_of
from .errors import Refused, ValidationError, error_at, own_error
from .fields import MISSING, Field, FieldInfo
from .markers import SerializationInfo

NO_FIELDS = {"model_config", "model_fields_set"}


class ModelClass(type):
    """The class of models: collects defaults and validators, and reads the annotations when they are first needed."""

    model_config: dict[str, Any]
    defaults: dict[str, Any]
    validators: dict[str, list[Callable[[Any, Any], Any]]]
    model_validators: list[Callable[[Any], Any]]
    model_serializers: list[Callable[..., dict[str, Any]]]
    _fields: dict[str, FieldInfo] | None
    _checks: dict[str, Check] | None

    def __new__(meta, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> ModelClass:
        annotated = _annotated_names(namespace)
        own = {key: namespace.pop(key) for key in list(namespace) if key in annotated}
        declared = own.pop("model_config", namespace.get("model_config", {}))
        cls = super().__new__(meta, name, bases, namespace)
        parents = [base for base in cls.__mro__[1:] if isinstance(base, ModelClass)]
        inherited = parents[0] if parents else None
        cls.model_config = {**(inherited.model_config if inherited else {}), **declared}
        cls.defaults = {**(inherited.defaults if inherited else {}), **own}
        cls._fields = cls._checks = None
        methods = [value for base in reversed(cls.__mro__) for value in vars(base).values()]
        cls.model_validators = [method for method in methods if getattr(method, "validates_model", False)]
        cls.model_serializers = [method for method in methods if getattr(method, "serializes_model", False)]
        cls.validators = {}
        for method in methods:
            for field in getattr(method, "validated_fields", ()):
                cls.validators.setdefault(field, []).append(method)
        return cls

    @property
    def model_fields(cls) -> dict[str, FieldInfo]:
        """The fields, those of the bases first."""
        if cls._fields is None:
            hints = get_type_hints(cls, include_extras=True)
            names = [name for name in hints if name not in NO_FIELDS and not name.startswith("_")]
            cls._fields = {
                name: FieldInfo.of(hints[name], cls.defaults.get(name, MISSING))
                for name in names
                if "ClassVar" not in str(hints[name])
            }
        return cls._fields

    @property
    def checks(cls) -> dict[str, Check]:
        """The check of each field."""
        if cls._checks is None:
            cls._checks = {name: check_of(field.annotation, field.metadata) for name, field in cls.model_fields.items()}
        return cls._checks


def _annotated_names(namespace: dict[str, Any]) -> set[str]:
    """The names that a class itself annotates. From Python 3.14 on annotations are evaluated on request."""
    if sys.version_info >= (3, 14):
        import annotationlib

        if annotate := annotationlib.get_annotate_from_class_namespace(namespace):
            return set(annotationlib.call_annotate_function(annotate, annotationlib.Format.FORWARDREF))
    return set(namespace.get("__annotations__", ()))


@dataclass_transform(field_specifiers=(Field,))
class BaseModel(metaclass=ModelClass):
    """A model. Raises ValidationError for data that do not fit."""

    model_config: ClassVar[dict[str, Any]] = {}

    def __init__(self, /, **data: Any) -> None:
        try:
            self._fill(data)
        except Refused as refusal:
            raise ValidationError(type(self).__name__, list(refusal.errors)) from None

    @classmethod
    def model_validate(cls, data: Any) -> Self:
        """A model of a mapping, or ``data`` itself if it is one."""
        try:
            return cls.validated(data)
        except Refused as refusal:
            raise ValidationError(cls.__name__, list(refusal.errors)) from None

    @classmethod
    def model_validate_json(cls, text: str) -> Self:
        """A model of a JSON object."""
        return cls.model_validate(json.loads(text))

    @classmethod
    def validated(cls, data: Any) -> Self:
        """As ``model_validate``, but raises ``Refused``."""
        if isinstance(data, cls):
            return data
        if not isinstance(data, dict):
            raise Refused(error_at((), "model_type", data, "", {"class_name": cls.__name__}))
        self = cls.__new__(cls)
        self._fill(data)
        return self

    def _fill(self, data: dict[str, Any]) -> None:
        cls = type(self)
        values: dict[str, Any] = {}
        errors: list[dict[str, Any]] = []
        for name, field in cls.model_fields.items():
            try:
                if name in data:
                    values[name] = self._checked(name, data[name])
                else:
                    _add_default(values, name, field, data, incomplete=bool(errors))
            except Refused as refusal:
                errors += refusal.below(name).errors
        if cls.model_config.get("extra") == "forbid":
            extra = [name for name in data if name not in cls.model_fields]
            errors += [
                error_at((name,), "extra_forbidden", data[name], "Extra inputs are not permitted") for name in extra
            ]
        if errors:
            raise Refused(*errors)
        self.__dict__.update(values, model_fields_set={name for name in data if name in values})
        for validator in cls.model_validators:
            try:
                validator(self)
            except ValueError as error:
                raise own_error(error, data) from None

    def _checked(self, name: str, value: Any) -> Any:
        cls = type(self)
        result = cls.checks[name](value)
        for validator in cls.validators.get(name, ()):
            try:
                result = validator(cls, result)
            except ValueError as error:
                raise own_error(error, value) from None
        return result

    def __setattr__(self, name: str, value: Any) -> None:
        if self.model_config.get("frozen"):
            raise ValidationError(type(self).__name__, [error_at((name,), "frozen_instance", value)])
        self.__dict__[name] = value

    def model_copy(self, *, update: dict[str, Any] | None = None) -> Self:
        """A copy with other values, which are not checked."""
        changes = update or {}
        copy = type(self).__new__(type(self))
        copy.__dict__.update({name: self.__dict__[name] for name in type(self).model_fields})
        copy.__dict__.update(changes, model_fields_set={*self.__dict__["model_fields_set"], *changes})
        return copy

    def model_dump(
        self,
        *,
        mode: str = "python",
        include: set[str] | None = None,
        exclude: set[str] | None = None,
        exclude_unset: bool = False,
    ) -> dict[str, Any]:
        """The fields as a dictionary; in mode ``json`` of what JSON has."""
        given = self.__dict__["model_fields_set"]
        dumped = {}
        for name, field in type(self).model_fields.items():
            if (include and name not in include) or name in (exclude or ()) or (exclude_unset and name not in given):
                continue
            value = getattr(self, name)
            if (serialize := field.serializer) and value is not None:
                value = serialize(value)
            dumped[name] = _dumped(value, mode, exclude_unset)
        for serialize in type(self).model_serializers:
            dumped = serialize(self, lambda _, dumped=dumped: dumped, SerializationInfo(mode))
        return dumped

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter([(name, getattr(self, name)) for name in type(self).model_fields])

    def _values(self) -> tuple[Any, ...]:
        return tuple(value for _, value in self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, BaseModel) and self._values() == other._values()

    def __hash__(self) -> int:
        if not self.model_config.get("frozen"):
            raise TypeError(f"unhashable type: {type(self).__name__!r}")
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self)})"


def _add_default(
    values: dict[str, Any], name: str, field: FieldInfo, data: dict[str, Any], *, incomplete: bool
) -> None:
    """Set the default of a field that the data do not have; ``incomplete``: a field before it has been refused."""
    if field.default_factory is None:
        if field.default is MISSING:
            raise Refused(error_at((), "missing", data, "Field required"))
        values[name] = field.default
    elif not field.factory_takes_data:
        values[name] = field.default_factory()
    elif incomplete:
        raise Refused(error_at((), "default_factory_not_called", data))
    else:
        values[name] = field.default_factory(dict(values))


def _dumped(value: Any, mode: str, exclude_unset: bool) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode=mode, exclude_unset=exclude_unset)
    if isinstance(value, list | tuple):
        items = [_dumped(each, mode, exclude_unset) for each in value]
        return items if mode == "json" or isinstance(value, list) else tuple(items)
    return value
