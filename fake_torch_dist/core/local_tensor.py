"""``LocalTensor``: the tensor of a process that plays several ranks, one shard for each.

Arithmetic is per rank: ``a + b`` adds rank 3's shard of ``a`` to rank 3's shard of ``b``. A number or an ndarray on the
other side is the same value for every rank. torch keeps the same idea privately (``torch.distributed._local_tensor``).

What it does not do: autograd, devices, numpy functions (``np.exp(t)`` raises; write
``LocalTensor.from_ranks(np.exp(t.shards))``), and every tensor method that is not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import kind_of, whole_number
from fake_torch_dist.core.numpy_by_rank import function_by_rank, ufunc_by_rank
from fake_torch_dist.core.tensor_methods import TensorMethods

Array: TypeAlias = npt.NDArray[Any]
Operand: TypeAlias = "LocalTensor | npt.ArrayLike"


class LocalTensor(TensorMethods):
    """One ndarray, ``shards``, with a leading axis of the ranks that this process plays: shape (ranks, \\*shape)."""

    __slots__ = ("shards",)

    # numpy leaves `array + tensor` to __radd__ instead of adding along the wrong axis, and refuses np.exp(tensor).
    __array_ufunc__: ClassVar[Any] = None
    if TYPE_CHECKING:
        __array_function__: ClassVar[Any]

    shards: Array

    acting_rank: ClassVar[int | None] = None
    """Rank whose number ``item()`` gives where the ranks disagree; None: that is an error."""

    def __init__(self, shards: Array) -> None:
        """Wrap an ndarray as it is, without a copy: shape (ranks, \\*shape). TypeError for anything else."""
        if not isinstance(shards, np.ndarray) or not shards.ndim:
            raise TypeError(
                f"LocalTensor() needs an ndarray with a leading axis of ranks, got {kind_of(shards)}: make a tensor "
                "with LocalTensor.from_ranks(values), where values[k] is rank k's value"
            )
        self.shards = shards

    @classmethod
    def from_ranks(cls, array: npt.ArrayLike) -> LocalTensor:
        """Make a tensor of ``array``, whose element k is rank k's value: shape (ranks, \\*shape).

        An ndarray is not copied: the tensor is a view, and collectives write into it. ValueError if there is no axis
        of ranks or no rank in it, or if the ranks' values differ in shape.
        """
        try:
            shards = np.asarray(array)
        except ValueError as error:
            raise ValueError(f"from_ranks needs one value per rank, all of one shape: {error}") from None
        if shards.ndim == 0 or len(shards) == 0:
            raise ValueError(f"from_ranks needs one value per rank along axis 0; got shape {shards.shape}")
        return cls(shards)

    @classmethod
    def act_as_rank(cls, rank: int | None) -> None:
        """Make tensors of all ranks usable in code for one rank: a script that one process runs for all of them.

        ``item()`` then gives ``rank``'s number where the ranks disagree, and numpy's functions act on each rank's
        shard, also ``np.exp(tensor)`` and ``array @ tensor``; ``np.asarray(tensor)`` is ``rank``'s shard.
        None: as before.
        """
        cls.acting_rank = rank
        if rank is None:
            cls.__array_ufunc__ = None
            if "__array_function__" in vars(cls):
                del cls.__array_function__
        else:
            cls.__array_ufunc__ = ufunc_by_rank
            cls.__array_function__ = function_by_rank

    # -- attributes and values -----------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one rank's shard."""
        return self.shards.shape[1:]

    @property
    def ndim(self) -> int:
        """Axes of one rank's shard."""
        return self.shards.ndim - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy's dtype, the same on every rank."""
        return self.shards.dtype

    @property
    def num_ranks(self) -> int:
        """Ranks that have a shard here."""
        return len(self.shards)

    def rank(self, rank: int) -> Array:
        """The shard of ``rank`` as a view, shape ``shape``; IndexError for a rank that is not here."""
        if not 0 <= whole_number("rank", rank) < len(self.shards):
            raise IndexError(f"rank {rank} has no shard here; there are ranks 0 to {len(self.shards) - 1}")
        return self.shards[rank, ...]

    def item(self) -> Any:
        """The one number that every rank holds, as a Python number.

        RuntimeError if a shard is not one element, ValueError if the ranks disagree: the caller then has to choose
        one value, with a reduction, with ``rank(r)``, or for a whole program with ``act_as_rank``.
        """
        flat = self.shards.reshape(len(self.shards), -1)
        if flat.shape[1] != 1:
            raise RuntimeError(f"a Tensor with {flat.shape[1]} elements cannot be converted to Scalar")
        first = flat[0, 0]
        same = flat == first
        if not np.logical_and.reduce(same, axis=None):  # as all(), which is written in Python
            same |= (flat != flat) & (first != first)  # NaN agrees with NaN
            rank = int(same.argmin())
            if not same[rank, 0]:
                if self.acting_rank is not None:
                    return flat[self.acting_rank, 0].item()
                raise ValueError(
                    f"item() needs one value, but the ranks disagree: rank 0 has {first}, rank {rank} has "
                    f"{flat[rank, 0]}. Reduce it first (all_reduce), or ask for one rank's value: rank({rank})"
                )
        return first.item()

    # -- copies and views ----------------------------------------------------------------------------------------------

    def detach(self) -> LocalTensor:
        """A tensor on the same memory, as torch's; there is no graph to leave."""
        return LocalTensor(self.shards)

    def clone(self) -> LocalTensor:
        """A tensor on its own memory."""
        return LocalTensor(self.shards.copy())

    copy = clone

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        """All shards, shape (ranks, \\*shape); the acting rank's alone if there is one."""
        if self.acting_rank is not None:
            return np.array(self.rank(self.acting_rank), dtype=dtype)
        return np.array(self.shards, dtype=dtype, copy=True) if copy else np.asarray(self.shards, dtype=dtype)

    def __getitem__(self, index: Any) -> LocalTensor:
        """Index every rank's shard alike; the axis of ranks cannot be indexed this way."""
        return LocalTensor(self.shards[:, *index] if isinstance(index, tuple) else self.shards[:, index])

    def __repr__(self) -> str:
        return f"LocalTensor({len(self.shards)} ranks, shape={self.shape}, dtype={self.dtype})\n{self.shards!r}"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    # -- arithmetic: written out, because a generic dispatch would cost as much as adding 64 numbers -------------------

    def __add__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine + theirs)

    def __sub__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine - theirs)

    def __mul__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine * theirs)

    def __truediv__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine / theirs)

    def __rsub__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(theirs - mine)

    def __rtruediv__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(theirs / mine)

    __radd__ = __add__
    __rmul__ = __mul__

    def __iadd__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        mine += theirs
        return self

    def __isub__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        mine -= theirs
        return self

    def __imul__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        mine *= theirs
        return self

    def __itruediv__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        mine /= theirs
        return self

    def __neg__(self) -> LocalTensor:
        return LocalTensor(-self.shards)

    # -- comparison: elementwise, as torch's; so tensors hash by identity ----------------------------------------------

    def __lt__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine < theirs)

    def __le__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine <= theirs)

    def __gt__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine > theirs)

    def __ge__(self, other: Operand) -> LocalTensor:
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine >= theirs)

    def __eq__(self, other: object) -> LocalTensor:  # type: ignore[override]  # elementwise, no bool
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine == theirs)

    def __ne__(self, other: object) -> LocalTensor:  # type: ignore[override]  # elementwise
        mine, theirs = _pair(self.shards, other)
        return LocalTensor(mine != theirs)

    __hash__ = object.__hash__


def _pair(mine: Array, other: Any) -> tuple[Array, Any]:
    """Both operands of an elementwise operation, their axes lined up: ranks with ranks, shape with shape.

    ValueError if ``other`` is a LocalTensor of another number of ranks; shapes are numpy's to check.
    """
    if isinstance(other, LocalTensor):
        theirs = other.shards
        if len(theirs) != len(mine):
            raise ValueError(f"cannot combine a LocalTensor of {len(mine)} ranks with one of {len(theirs)} ranks")
        return (mine, theirs) if mine.ndim == theirs.ndim else (_deepen(mine, theirs), _deepen(theirs, mine))
    if isinstance(other, float | int | np.number):
        return mine, other
    same_everywhere = np.asarray(other)[np.newaxis]
    return _deepen(mine, same_everywhere), same_everywhere


def _deepen(shards: Array, like: Array) -> Array:
    """A view of ``shards`` with at least as many axes as ``like``: broadcasting then never touches the ranks."""
    missing = (1,) * (like.ndim - shards.ndim)
    return shards.reshape(shards.shape[:1] + missing + shards.shape[1:]) if missing else shards


def shards_of(tensor: object, name: str = "tensor") -> Array:
    """The array behind ``tensor``, shape (ranks, \\*shape), which collectives read and write.

    TypeError, torch's with the way out added, if ``tensor`` is anything but a LocalTensor; ``name`` is the parameter's.
    """
    if isinstance(tensor, LocalTensor):
        return tensor.shards
    raise TypeError(
        f"{errors.INVALID_ARGUMENT.format(name=name, wanted='LocalTensor')}, got {kind_of(tensor)}. In the virtual "
        "world one process plays all ranks, so a tensor has a leading axis of ranks: make one with "
        "LocalTensor.from_ranks(array), array.shape == (world_size, *shape)."
    )
