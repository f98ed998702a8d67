"""The end of a rank, forked or not, is Python's own: its report of an error, its exit code, and what it still does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.as_python import same
from tests.support.launched import Jobs

HOOKS = {
    "a hook that fails": "def hook(*_): raise OSError('in the hook')\nsys.excepthook = hook",
    "a hook that ends the program": "def hook(*_): sys.exit(7)\nsys.excepthook = hook",
    "a hook that ends it with a text": "def hook(*_): sys.exit('a text')\nsys.excepthook = hook",
    "no hook": "del sys.excepthook",
    "a hook that is no function": "sys.excepthook = 5",
    "no stderr": "sys.stderr = None",
    "deleted stderr": "del sys.stderr",
    "a stderr that fails": "class Broken:\n    def write(self, text): raise OSError('broken')\nsys.stderr = Broken()",
    "a hook that fails, and a stderr that does": (
        "class Broken:\n    def write(self, text): raise OSError('broken')\nsys.stderr = Broken()\nsys.excepthook = 5"
    ),
}
EXIT_CODES = (
    "2**70", "-2**70", "2**40", "-1", "256", "True", "-2**63", "2**63 - 1", "None", "3.5", "[1]", "''", "b'x'",
    "type('Wordless', (), {'__str__': lambda self: 1 / 0})()",
)  # fmt: skip
LEFT_OPEN = """
import functools, io, os, sys, zipfile, shelve, gzip
class Metrics:
    file = open("class", "w")
def note(text, file=open("default", "w")): file.write(text)
@functools.lru_cache
def cached(): return open("cache", "w")
def closing_over():
    file = open("closure", "w")
    return lambda text: file.write(text)
say = closing_over()
class Cyclic: pass
cyclic = Cyclic(); cyclic.itself = cyclic; cyclic.file = open("cycle", "w")
io.held_by_a_module = open("module", "w")
sys.held_by_sys = open("sys", "w")
archive = zipfile.ZipFile("zip", "w"); archive.writestr("member", "text")
packed = gzip.open("gzip", "wt")
Metrics.packed = packed
for write in (Metrics.file.write, note, cached().write, say, cyclic.file.write, io.held_by_a_module.write,
              sys.held_by_sys.write, packed.write):
    write("to the last byte")
def lines(file):
    try:
        yield 1
    finally:
        file.write("to the last byte")
suspended = lines(open("generator", "w")); next(suspended)
"""
C_LIBRARY = """
import ctypes, os
libc = ctypes.CDLL(None)
libc.printf(b"from C\\n")
"""
RECURSION = """
import sys
def depth(n=1):
    try: return depth(n + 1)
    except RecursionError: return n
print(depth())
"""
ENDS = {
    "recursion": RECURSION,
    "text that C has kept": C_LIBRARY,
    "a function of C's exit": "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.on_exit(libc.abort, None)",
    "a function of Py_AtExit": "import ctypes\nctypes.pythonapi.Py_AtExit(ctypes.CDLL(None).abort)",
    "interrupted with a file open": "kept = open('kept', 'w')\nkept.write('x')\nraise KeyboardInterrupt",
    "exit functions that fail": "import atexit\natexit.register(lambda: 1 / 0)\natexit.register(print, 'first')",
    "a full disk": "import sys\nsys.stdout = open('/dev/full', 'w')\nprint('lost')",
    "a closed file": "import os\nkept = open('kept', 'w')\nkept.write('x')\nos.close(kept.fileno())",
    "completion": "import rlcompleter, __main__\nprint(rlcompleter.__main__ is __main__)",
    "the last error": "import atexit, sys\natexit.register(lambda: print(repr(sys.last_value)))\n1 / 0",
    "context of an error": "import sys\nsys.excepthook = lambda *_: [][0]\ntry: 1 / 0\nfinally: {}['k']",
    "executors": "from concurrent.futures import ThreadPoolExecutor as E\nE(1).submit(print, 'in a thread')",
    "daemons": "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()\nprint(1)",
    "forks that return": "import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)\nkept = open('kept', 'w')\nprint(1)",
}


@pytest.mark.parametrize("name", HOOKS)
def test_an_error_is_reported_as_python_does(tmp_path: Path, name: str) -> None:
    (tmp_path / "job.py").write_text(f"import sys\n{HOOKS[name]}\nraise ValueError('in the script')")
    same(tmp_path, "job.py")


def test_exit_codes_are_pythons(tmp_path: Path) -> None:
    for code in EXIT_CODES:
        (tmp_path / "job.py").write_text(f"import sys\nsys.exit({code})")
        same(tmp_path, "job.py")


@pytest.mark.parametrize("name", ENDS)
def test_what_is_left_to_do_at_the_end_is_done(tmp_path: Path, name: str) -> None:
    (tmp_path / "job.py").write_text(ENDS[name])
    same(tmp_path, "job.py")


@pytest.mark.parametrize("name", ["recursion", "text that C has kept", "interrupted with a file open"])
def test_fresh_interpreters_end_in_the_same_way(tmp_path: Path, name: str) -> None:
    (tmp_path / "job.py").write_text(ENDS[name])
    same(tmp_path, "job.py", start_method="auto")


def test_a_module_fails_with_the_same_traceback(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "job.py").write_text("def fail(): raise ValueError('in the module')\nfail()")
    for start_method in ("fork", "auto"):
        same(tmp_path, "-m", "pack.job", start_method=start_method)


@pytest.mark.parametrize("start_method", ["fork", "auto"])
def test_every_file_that_is_left_open_is_written(jobs: Jobs, start_method: str) -> None:
    ended = jobs.run(LEFT_OPEN, "--start-method", start_method)
    assert (ended.code, ended.err) == (0, "")
    import gzip
    import zipfile

    for name in ("class", "default", "cache", "closure", "cycle", "module", "sys", "generator"):
        assert (jobs.directory / name).read_text() == "to the last byte", name
    assert gzip.decompress((jobs.directory / "gzip").read_bytes()) == b"to the last byte"
    assert zipfile.ZipFile(jobs.directory / "zip").read("member") == b"text"


def test_a_rank_is_called_as_its_interpreter_is(jobs: Jobs) -> None:
    ended = jobs.run("print(open('/proc/self/comm').read())", "--start-method", "fork", "--nnodes", "2")
    assert set(ended.out.split()) == {os.path.basename(sys.executable)[:15]}
