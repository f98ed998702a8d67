"""Under an editor's debugger, ranks are children of the launcher, and agents are not seen."""

from __future__ import annotations

import os
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import pytest

from fake_torch_dist.launcher.workers import debugger


@pytest.fixture
def pydevd(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """As much of it as is used."""
    module, constants = ModuleType("pydevd"), ModuleType("pydevd_constants")
    vars(module).update(SetupHolder=SimpleNamespace(setup={"port": 5678}), debugger="a debugger")
    vars(constants).update(ARGUMENT_PPID="ppid", set_global_debugger=partial(setattr, module, "debugger"))
    monkeypatch.setitem(sys.modules, "pydevd", module)
    monkeypatch.setitem(sys.modules, "_pydevd_bundle.pydevd_constants", constants)

    def followed() -> int:
        raise AssertionError("the debugger follows this fork")

    monkeypatch.setattr(os, "original_fork", os.fork, raising=False)
    monkeypatch.setattr(os, "fork", followed)
    return module


def test_a_fork_is_not_followed_and_its_programs_belong_to_the_launcher(pydevd: ModuleType) -> None:
    pid = debugger.fork()
    if pid == 0:
        setup = pydevd.SetupHolder.setup
        os._exit(5 if (pydevd.debugger, setup) == (None, {"port": 5678, "ppid": debugger._launcher}) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    assert pydevd.debugger == "a debugger" and pydevd.SetupHolder.setup == {"port": 5678}


def test_without_a_debugger_it_is_an_ordinary_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydevd", raising=False)
    pid = debugger.fork()
    if pid == 0:
        os._exit(6)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
