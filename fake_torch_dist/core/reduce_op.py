"""``ReduceOp``: the reductions by name, as torch's constants, which are numbers, too; ``reduction`` computes them."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from fake_torch_dist.core.argument_kinds import wrong_kind

_Constant: TypeAlias = "RedOpType"
"""The class below; ``ReduceOp`` has an attribute of its name."""


class ReduceOp:
    """A reduction, as ``ReduceOp.SUM`` or, as torch's C++ options hold it, ``ReduceOp(ReduceOp.SUM)``."""

    __slots__ = ("factor", "name", "value")

    RedOpType: ClassVar[type[_Constant]]
    SUM: ClassVar[_Constant]
    AVG: ClassVar[_Constant]
    PRODUCT: ClassVar[_Constant]
    MIN: ClassVar[_Constant]
    MAX: ClassVar[_Constant]
    BAND: ClassVar[_Constant]
    BOR: ClassVar[_Constant]
    BXOR: ClassVar[_Constant]
    PREMUL_SUM: ClassVar[_Constant]

    def __init__(self, op: _Constant) -> None:
        """Raise TypeError for anything but one of the constants."""
        if not isinstance(op, ReduceOp.RedOpType):
            raise TypeError(f"ReduceOp takes one of its constants, such as ReduceOp.SUM, not {op!r}")
        self.name: str = op.name
        self.value: int = op.value
        """torch's number of the reduction."""
        self.factor: float | None = None
        """PREMUL_SUM multiplies every shard by it before adding; None in all other reductions."""

    @property
    def op(self) -> _Constant:
        """The constant that this one was made of."""
        return ReduceOp.RedOpType(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReduceOp) and (self.value, self.factor) == (other.value, other.factor)

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return f"RedOpType.{self.name}"

    def __repr__(self) -> str:
        return f"<ReduceOp {self} x {self.factor}>" if self.factor is not None else f"<ReduceOp {self}>"


class RedOpType(ReduceOp):
    """One of the constants ``ReduceOp.SUM`` and so on, which is a number, too: ``int(ReduceOp.AVG)`` is 1."""

    __slots__ = ()

    __members__: ClassVar[dict[str, RedOpType]] = {}

    def __new__(cls, value: int) -> RedOpType:
        """The constant of this number. ValueError if there is none."""
        for constant in cls.__members__.values():
            if constant.value == value:
                return constant
        raise ValueError(f"{value!r} is not the number of a reduction; there are 0 to {len(cls.__members__) - 1}")

    def __init__(self, value: int) -> None:
        """There is nothing to do: every constant exists once."""

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return self.value == other if isinstance(other, int) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"<{self}: {self.value}>"

    def __copy__(self) -> RedOpType:
        return self

    def __deepcopy__(self, memo: object) -> RedOpType:
        return self

    def __reduce__(self) -> tuple[type[RedOpType], tuple[int]]:
        return RedOpType, (self.value,)


def _constant(name: str, value: int) -> RedOpType:
    made: RedOpType = object.__new__(RedOpType)
    made.name, made.value, made.factor = name, value, None
    return made


for _value, _name in enumerate(("SUM", "AVG", "PRODUCT", "MIN", "MAX", "BAND", "BOR", "BXOR", "PREMUL_SUM")):
    RedOpType.__members__[_name] = _constant(_name, _value)
    setattr(ReduceOp, _name, RedOpType.__members__[_name])
ReduceOp.RedOpType = RedOpType


def _make_nccl_premul_sum(factor: float) -> ReduceOp:
    """PREMUL_SUM with its factor."""
    made = ReduceOp(ReduceOp.PREMUL_SUM)
    try:
        made.factor = float(factor)
    except (TypeError, ValueError):
        raise wrong_kind("factor", "float", factor) from None
    return made
