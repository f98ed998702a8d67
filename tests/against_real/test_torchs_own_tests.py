"""torch's own tests of torch.distributed, from its wheel, pass on fake_torch_dist; see ``run_torch_tests.py``.

The wheel's other files of tests are about rpc, sharded tensors and DistributedDataParallel, which are not here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run_torch_tests.py")


@pytest.mark.real
def test_all_that_apply_pass(capsys):
    pytest.importorskip("torch")
    pytest.importorskip("expecttest", reason="torch's test harness needs it")
    done = subprocess.run([sys.executable, str(RUNNER), "--verbose"], capture_output=True, text=True, timeout=3600)
    figure = re.search(r"^(\d+) of (\d+) of torch's tests pass$", done.stdout, re.MULTILINE)
    assert figure, done.stdout + done.stderr
    with capsys.disabled():
        print(f"\n{figure[0]}")
    assert done.returncode == 0, done.stdout
    assert int(figure[2]) > 80
