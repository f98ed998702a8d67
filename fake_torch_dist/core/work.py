"""``Work``: the handle to a collective that may still be under way, and the functions that begin one.

In the virtual world a collective is done when the call returns, which torch permits and code that waits cannot tell.
What it does not do: streams (``block_current_stream``), boxing.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeAlias

from fake_torch_dist import errors
from fake_torch_dist.core.argument_kinds import wrong_kind
from fake_torch_dist.core.checks import as_duration
from fake_torch_dist.core.future import Future
from fake_torch_dist.core.local_tensor import LocalTensor
from fake_torch_dist.core.reduction import Array
from fake_torch_dist.core.row_collectives import RowCollectives
from fake_torch_dist.core.runner import Runner
from fake_torch_dist.core.task import Task
from fake_torch_dist.torch_names import no_such_attribute

_NO_LIMIT: Final = timedelta(0)

Tensor: TypeAlias = "LocalTensor | Array"


class Work:
    """A collective that is under way, or done. ``result`` lists the tensors it writes."""

    __slots__ = ("_runner", "_task", "_tensors")

    def __init__(self, tensors: list[Any], task: Task, runner: Runner) -> None:
        self._tensors = tensors
        self._task = task
        self._runner = runner

    def wait(self, timeout: timedelta | float = _NO_LIMIT) -> bool:
        """Wait until it is done and return True, every time; raises the collective's error. A float is seconds.

        RuntimeError when ``timeout`` (0: none of its own) is over before; the collective itself goes on until the
        group's timeout.
        """
        limit_s = None if timeout is _NO_LIMIT else as_duration(timeout).total_seconds() or None
        if not self._runner.wait(self._task, limit_s):
            raise RuntimeError(errors.WAIT_TIMED_OUT)
        if self._task.error:
            raise self._task.error
        return True

    def synchronize(self) -> None:
        """As ``wait``."""
        self.wait()

    def is_completed(self) -> bool:
        """True if it is done, with or without an error; handles what has arrived, without waiting."""
        if not self._task.done:
            self._runner.look()
        return self._task.done

    def is_success(self) -> bool:
        """True if it is done without an error."""
        return self.is_completed() and self.exception() is None

    def exception(self) -> BaseException | None:
        """The collective's error, or None."""
        return self._task.error

    def result(self) -> list[Any]:
        """The tensors that the collective writes, as the caller gave them."""
        return self._tensors

    def source_rank(self) -> int:
        """Global rank of the sender of a finished receive; RuntimeError for other works."""
        if not isinstance(self._task.result, int):
            raise RuntimeError(errors.NO_SOURCE_RANK)
        return self._task.result

    _source_rank = source_rank

    def __getattr__(self, name: str) -> NoReturn:
        raise no_such_attribute("Work", name)

    def get_future(self) -> Future:
        """A future whose value is ``result()``."""
        if self._task.done:
            return Future(self._tensors, None if self._task.error is None else self)
        future = Future(self._tensors, self)
        self._runner.when_done(self._task, future.call_back)
        return future


def begin(
    group: RowCollectives,
    coroutine: Coroutine[Any, Any, Any],
    tensors: list[Any],
    timeout: timedelta | None = None,
    *,
    members: Sequence[int] | None = None,
    moves: bool = True,
) -> Work:
    """Start a collective and return its ``Work``, which will list ``tensors``.

    ``members`` are given for point to point, which barriers do not wait for. ``moves``: the work goes on while no
    thread waits for it; pass False if the caller waits at once.
    """
    runner, limit = group.runner, group.timeout if timeout is None else timeout
    if members is None:
        task = runner.start(coroutine, group.ranks, limit, group.number)
    else:
        task = runner.start(coroutine, members, limit)
    if moves and not task.done:
        runner.keep_moving(task)
    return Work(tensors, task, runner)


def finish(
    group: RowCollectives,
    coroutine: Coroutine[Any, Any, Any],
    timeout: timedelta | None = None,
    members: Sequence[int] | None = None,
) -> Any:
    """Run a collective to its end and return its result. ``members`` as in ``begin``."""
    limit = group.timeout if timeout is None else timeout
    if members is None:
        return group.runner.run(coroutine, group.ranks, limit, group.number)
    return group.runner.run(coroutine, members, limit)


def rows_of_list(group: RowCollectives, tensors: object, name: str, *, written: bool = False) -> list[Array]:
    """The arrays behind each tensor of a list; TypeError for anything but a list. Errors as ``Transport.rows_of``."""
    transport = group.transport
    if not isinstance(tensors, list | tuple):
        raise wrong_kind(name, f"List[{transport.tensor_type}]", tensors)
    return [transport.rows_of(tensor, name, written=written) for tensor in tensors]
