"""Runs torch's own tests of torch.distributed, out of its installed wheel, on fake_torch_dist.

    python tests/against_real/run_torch_tests.py             # prints "N of M of torch's tests pass"
    python tests/against_real/run_torch_tests.py --side torch --only broadcast

Needs torch 2.13 and expecttest. Every test is a fork of its own with a time limit, and its ranks are forks of that.
``not_applicable.csv`` lists the tests that are left out, each with its reason; with ``--all`` they run as well.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import traceback
import unittest
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
WORLD_SIZE = 4
LARGE_WORLD_SIZE = 8
"""Ranks of the tests that torch skips in smaller worlds."""
TOO_SMALL = "Skipped due to small world size."
LIMIT_S = 90


class Result(NamedTuple):
    """The outcome of a test: "ok", "skip", "fail" or "time", and the text that goes with it."""

    status: str
    text: str


def not_applicable() -> dict[str, str]:
    """Reasons by name of the test."""
    with open(HERE / "not_applicable.csv", newline="", encoding="utf-8") as file:
        return {row["test"]: row["reason"] for row in csv.DictReader(file)}


def load(side: str) -> Any:
    """torch's module of tests, with ``side`` "ours" or "torch" behind it."""
    directory = tempfile.mkdtemp(prefix="torchs-tests-")
    os.environ.update(
        BACKEND="gloo", WORLD_SIZE=str(WORLD_SIZE), TEMP_DIR=directory, MASTER_ADDR="127.0.0.1", OMP_NUM_THREADS="1",
        DISTRIBUTED_TESTS_DEFAULT_TIMEOUT=str(LIMIT_S - 10),
    )  # fmt: skip
    import torch
    from torch.testing._internal import common_distributed, common_utils

    torch.set_num_threads(1)
    if side == "ours":
        sys.path.insert(0, str(HERE))
        import torch_redirect

        torch_redirect.install()
    _lift_skips_of_mpi(common_utils)
    _fork_ranks(common_distributed)
    from torch.testing._internal.distributed import distributed_test

    for backends in ("PROFILING_SUPPORTED", "SEND_RECV_PROFILING_SUPPORTED", "CUDA_PROFILING_SUPPORTED"):
        getattr(distributed_test, f"{backends}_BACKENDS").clear()
    return distributed_test


def _lift_skips_of_mpi(common_utils: Any) -> None:
    """gloo has learnt since what some tests are skipped for without MPI."""
    skip = common_utils.skip_but_pass_in_sandcastle_if
    common_utils.skip_but_pass_in_sandcastle_if = lambda condition, reason: skip(
        condition and "MPI" not in reason, reason
    )


def _fork_ranks(common_distributed: Any) -> None:
    """Ranks have the redirected names by being forked, and nothing to import."""
    import torch

    start = torch.multiprocessing.get_context("fork").Process
    common_distributed.MultiProcessTestCase._spawn_processes = lambda self: self._start_processes(start)


def test_class(module: Any) -> type[unittest.TestCase]:
    """torch's tests as a class that can be run."""

    class TestOfTorch(module.TestDistBackend, module.DistributedTest._DistTestBase):
        def setUp(self) -> None:
            super().setUp()
            self._spawn_processes()

    return TestOfTorch


def run(case: type[unittest.TestCase], name: str) -> Result:
    """Run a test in the smallest world that it takes."""
    found = run_in_world(case, name, WORLD_SIZE)
    return run_in_world(case, name, LARGE_WORLD_SIZE) if found == Result("skip", TOO_SMALL) else found


def run_in_world(case: type[unittest.TestCase], name: str, world_size: int) -> Result:
    """Run a test in a fork of its own, which is ended with all its ranks."""
    report = tempfile.NamedTemporaryFile("r", suffix=".json", delete=False)  # noqa: SIM115 - a child writes it
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.environ["WORLD_SIZE"] = str(world_size)
        _report(case, name, report.name)
    ended = os.pidfd_open(child)
    if not select.select([ended], [], [], LIMIT_S)[0]:
        os.kill(child, signal.SIGKILL)
    os.close(ended)
    os.waitpid(child, 0)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with report:
        text = report.read()
    os.unlink(report.name)
    return Result(*json.loads(text)) if text else Result("time", f"no result within {LIMIT_S} s")


def _report(case: type[unittest.TestCase], name: str, path: str) -> None:
    try:
        with open(os.devnull, "w") as null, tempfile.TemporaryFile("w+") as said:
            for fd in (1, 2):
                os.dup2(said.fileno(), fd)
            result = unittest.TextTestRunner(stream=null, verbosity=0).run(unittest.TestSuite([case(name)]))
            said.seek(0)
            printed = said.read()
        if result.errors or result.failures:
            found = Result("fail", (result.errors + result.failures)[0][1] + printed[-6000:])
        elif result.skipped:
            found = Result("skip", result.skipped[0][1])
        else:
            found = Result("ok", "")
        Path(path).write_text(json.dumps(found))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def main() -> int:
    """Print one line per test that does not pass, and the figure; the exit code is 0 if all do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=("ours", "torch"), default="ours")
    parser.add_argument("--only", default="", help="regular expression of names")
    parser.add_argument("--all", action="store_true", help="run those that are listed as not applicable, too")
    parser.add_argument("--verbose", action="store_true", help="print the texts of failures, and what is skipped")
    options = parser.parse_args()
    case = test_class(load(options.side))
    left_out = {} if options.all else not_applicable()
    names = [name for name in unittest.TestLoader().getTestCaseNames(case) if re.search(options.only, name)]
    results = {}
    for name in names:
        if name in left_out:
            continue
        results[name] = found = run(case, name)
        if found.status != "ok":
            print(f"{name}: {found.status} {found.text if options.verbose else ''}".rstrip(), flush=True)
    passed = sum(found.status == "ok" for found in results.values())
    counted = sum(found.status != "skip" for found in results.values())
    shutil.rmtree(os.environ["TEMP_DIR"], ignore_errors=True)
    print(f"{passed} of {counted} of torch's tests pass")
    return 0 if passed == counted else 1


if __name__ == "__main__":
    sys.exit(main())
