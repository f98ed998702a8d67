"""A rank, forked or not, is what ``python -u SCRIPT`` would be: the same output, exit code and traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.as_python import same
from tests.support.launched import Jobs

MULTIPROCESSING = """
import multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
def square(x): return x * x
class Pair:
    def __init__(self, a): self.a = a
def first(pair): return pair.a
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with mp.get_context(method).Pool(2) as pool:
            print(method, pool.map(square, range(4)), pool.map(first, [Pair(1), Pair(2)]))
    with ProcessPoolExecutor(2) as processes, ThreadPoolExecutor(2) as threads:
        print(list(processes.map(square, range(3))), list(threads.map(square, range(3))))
    print(mp.current_process().name, mp.parent_process())
"""
MAIN = """
import collections, dataclasses, inspect, pickle, typing
import __main__
@dataclasses.dataclass
class A:
    x: int = 1
    y: "list[int]" = dataclasses.field(default_factory=list)
Row = collections.namedtuple("Row", "a b")
print(pickle.loads(pickle.dumps([A(2, [3]), Row(1, 2)])), A.__module__, __main__.A is A)
print(inspect.getsource(A), typing.get_type_hints(A), inspect.getmodule(A).__name__)
print(sorted(name for name in globals() if name.startswith("__")), __file__, __spec__, __package__, __doc__)
print(__loader__.get_source("__main__")[:20], __builtins__)
"""
INTERPRETER = """
import asyncio, os, signal, sys, threading, warnings
print(sys.argv, sys.path, sys.flags, sys.orig_argv[1:], sys.executable, sys.warnoptions, warnings.filters)
for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.fileno())
print(sys.stdout.write_through, type(sys.stdout.buffer), sys.stdout is sys.__stdout__)
print(threading.active_count(), threading.get_native_id() == os.getpid(), sys.excepthook, sys.breakpointhook)
print([signal.getsignal(number) for number in (1, 2, 3, 13, 15, 17, 25, 28)], signal.pthread_sigmask(0, []))
print(len(os.listdir("/proc/self/fd")), os.getcwd(), asyncio.run(asyncio.sleep(0, 3)))
warnings.warn("shown once")
warnings.warn("shown in main", DeprecationWarning)
"""
ENDS = """
import atexit, os, sys, threading, time
def bye(): print("bye", os is not None); raise ValueError("in an exit function")
atexit.register(bye)
def fail(): raise RuntimeError("in a thread")
for target in (lambda: sys.exit(9), fail):
    thread = threading.Thread(target=target, name="T"); thread.start(); thread.join()
threading.Thread(target=lambda: (time.sleep(0.1), print("late"))).start()
class D:
    def __del__(self): print("finalized", os is not None)
kept, cyclic = D(), D()
cyclic.itself = cyclic
sys.exit(5)
"""
HELD = """
import os, signal
class D:
    def __del__(self): print("finalized", os is not None)
kept = D()
signal.signal(signal.SIGUSR1, lambda *_: kept)
"""
CHAINED = """
import sys
def fail():
    try: 1 / 0
    except ArithmeticError as error: raise KeyError("k") from error
def hook(kind, *rest):
    print("hooked", kind)
    sys.__excepthook__(kind, *rest)
sys.excepthook = hook
fail()
"""
SCRIPTS = {
    "multiprocessing": MULTIPROCESSING,
    "main": MAIN,
    "interpreter": INTERPRETER,
    "ends": ENDS,
    "held by a handler": HELD,
    "chained exceptions": CHAINED,
    "text as exit code": "raise SystemExit('some text')",
    "interrupt": "raise KeyboardInterrupt",
    "exception group": "raise ExceptionGroup('group', [ValueError(1), TypeError(2)])",
    "os._exit": "import atexit, os; atexit.register(lambda: os._exit(7))",
    "closed output": "import sys; sys.stdout.close()",
    "no output": "import os; os.close(1)",
    "other output": "import io, sys; sys.stdout = io.StringIO(); print('lost'); sys.stderr.write('x' + chr(10))",
    "coding": b"# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))",
    "byte order mark": b"\xef\xbb\xbfprint('bom')\r\nprint('crlf')\r\n",
    "site's names": "print(help, copyright); exit(4)",
    "subprocess": "import subprocess as s; print(s.run(['sh', '-c', 'kill -INT $$; sleep 9']).returncode)",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_rank_does_what_python_does(tmp_path: Path, name: str) -> None:
    script = SCRIPTS[name]
    (tmp_path / "job.py").write_bytes(script if isinstance(script, bytes) else script.encode())
    same(tmp_path, "job.py")


@pytest.mark.parametrize("name", ["interpreter", "main", "ends", "multiprocessing"])
def test_so_does_one_in_an_interpreter_of_its_own(tmp_path: Path, name: str) -> None:
    (tmp_path / "job.py").write_text(str(SCRIPTS[name]))
    same(tmp_path, "job.py", start_method="auto")


def test_modules_beside_the_script_go_before_pythons(tmp_path: Path) -> None:
    directory = tmp_path / "mine"
    (directory / "fractions").mkdir(parents=True)
    for file in ("random.py", "queue.py", "heapq.py", "fractions/__init__.py"):
        (directory / file).write_text("print(__file__)")
    (directory / "job.py").write_text("import random, queue, heapq, fractions, signal, os.path, socket")
    same(tmp_path, "mine/job.py")


@pytest.mark.parametrize(
    "variable", ["PYTHONSAFEPATH=1", "PYTHONDEVMODE=1", "PYTHONWARNINGS=error::UserWarning", "PYTHONOPTIMIZE=2"]
)
def test_pythons_own_variables_mean_the_same(tmp_path: Path, variable: str) -> None:
    name, _, value = variable.partition("=")
    (tmp_path / "job.py").write_text("import sys, warnings\nassert sys.path\nprint(sys.path)\nwarnings.warn('w')")
    same(tmp_path, "job.py", **{name: value})


def test_a_script_is_found_as_python_finds_it(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "beside.py").write_text("x = 5")
    (real / "noextension").write_text(
        "import os, sys, beside\nos.chdir('/')\n"
        "print(sys.path[0], __file__, open(__file__).readline(), beside.__file__)"
    )
    (tmp_path / "link").symlink_to("real/noextension")
    for target in ("real/noextension", "link", str(tmp_path / "link"), "./real/../link"):
        same(tmp_path, target)


def test_a_file_that_a_script_leaves_open_is_written(jobs: Jobs) -> None:
    script = "import signal\nkept = open('kept', 'w')\nkept.write('all')\nsignal.signal(10, lambda *_: kept)"
    assert jobs.run(script, "--start-method", "fork").code == 0
    assert (jobs.directory / "kept").read_text() == "all"
