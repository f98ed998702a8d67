"""The runner of collectives that never wait, and the questions that no module asks any more."""

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import fake_torch_dist as dist
from fake_torch_dist.core.runner import InlineRunner
from fake_torch_dist.transports.dry_run import DryRunGroups
from fake_torch_dist.transports.virtual import VirtualGroups

PACKAGE = Path(dist.__file__).parent
MINUTE = timedelta(minutes=1)


async def answer(value):
    if isinstance(value, Exception):
        raise value
    return value


class Never:
    def __await__(self):
        yield self


async def waits():
    await Never()


@pytest.mark.parametrize("value", [None, 7, [1, 2]])
def test_a_coroutine_that_never_waits_ends_where_it_begins(value):
    runner, called = InlineRunner(), []
    assert runner.run(answer(value), (), MINUTE) == value
    task = runner.start(answer(value), (), MINUTE)
    runner.when_done(task, lambda: called.append(True))
    assert (task.done, task.error, task.result, called) == (True, None, value, [True])
    assert runner.wait(task, 0.0)


def test_its_error_is_raised_where_it_begins():
    for begin in (InlineRunner().run, InlineRunner().start):
        with pytest.raises(KeyError):
            begin(answer(KeyError("x")), (), MINUTE)


def test_a_coroutine_that_waits_is_an_error_instead_of_a_hang():
    with pytest.raises(RuntimeError, match="waited for a message"):
        InlineRunner().run(waits(), (), MINUTE)


def test_each_kind_of_world_says_whom_it_plays_and_how_to_dry_run():
    alone, virtual = DryRunGroups(3), VirtualGroups(8)
    assert (alone.plays_any([1, 2]), alone.plays_any([3, 4]), virtual.plays_any([7])) == (False, True, True)
    assert alone.dry_run() is alone
    with pytest.raises(ValueError, match="plays all ranks"):
        virtual.dry_run()


def test_a_work_of_the_virtual_world_is_a_work_like_any_other(virtual):
    virtual(2)
    x = dist.LocalTensor.from_ranks(np.arange(2.0))
    work = dist.all_reduce(x, async_op=True)
    assert (work.wait(), work.wait(timedelta(seconds=1)), work.is_success(), work.exception()) == (
        True,
        True,
        True,
        None,
    )
    assert work.get_future().wait()[0] is x
    with pytest.raises(RuntimeError, match="source_rank"):
        work.source_rank()


@pytest.mark.parametrize("folder", ["api", "core", "mesh"])
def test_no_module_asks_for_the_engine(folder):
    """Each difference between worlds is a method of the group's transport or runner."""
    for path in (PACKAGE / folder).glob("*.py"):
        assert not re.search(r"engine is (not )?None|\.engine is\b", path.read_text(encoding="utf-8")), path.name
