"""Four pods as a container runtime makes them, by bubblewrap: own process ids, user, host name; a read-only root.

They share this machine's loopback, so root is not needed. Kubernetes and Kubeflow Trainer set their environment.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.processes import Child, Children, children_of, until
from tests.support.repository import ROOT

BWRAP = shutil.which("bwrap")
NAMESPACES = ["--unshare-user", "--uid", "10001", "--gid", "10001", "--unshare-pid", "--unshare-uts", "--unshare-ipc"]


def can_isolate() -> bool:
    """Bubblewrap is installed, and the kernel lets this user make namespaces."""
    command = [BWRAP or "bwrap", *NAMESPACES, "--ro-bind", "/", "/", "true"]
    return BWRAP is not None and subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.fixture(scope="module", autouse=True)
def isolation() -> None:
    """Skip the tests of this module where they cannot run."""
    if not can_isolate():
        pytest.skip("needs bwrap and namespaces")


pytestmark = pytest.mark.real
LIMIT_S = 180.0
DEBUG = ("-m", "accelerate_sim.train", "--config", "debug", "--no-progress", "--set", "cluster.nodes=4")
SHORT = ("--speed", "max", "--max-steps", "2")
LONG = ("--speed", "100", "--set", "train.steps_per_epoch=1000000", "--set", "checkpoint.every=500000")


FAILS_ON_RANK_5 = "import os, time; time.sleep(600 * (os.environ['RANK'] != '5')); raise SystemExit(7)"


class Pods:
    """The pods of one TrainJob with a volume that all of them have."""

    def __init__(self, children: Children, directory: Path) -> None:
        self._children, self.directory, self.runs = children, directory, directory / "runs"
        self.runs.mkdir()
        self._port = free_port()

    def start(self, *arguments: str) -> list[Child]:
        return [self._children.fork(lambda out, k=index: self._become(k, out, arguments), 1) for index in range(4)]

    def _become(self, index: int, out: int, arguments: tuple[str, ...]) -> None:
        """Become a pod's first process: the launcher, without a home or a terminal, and with two places to write to."""
        os.dup2(out, 1)
        os.dup2(out, 2)
        message = self.directory / f"message{index}"
        message.touch()
        os.setsid()
        variables = {
            "PET_NNODES": "4", "PET_NPROC_PER_NODE": "2", "PET_NODE_RANK": str(index), "PET_MASTER_ADDR": "127.0.0.1",
            "PET_MASTER_PORT": str(self._port), "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "FAKE_TORCH_DIST_TOKEN": "of the secret",
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        words = [
            "bwrap", *NAMESPACES, "--as-pid-1", "--die-with-parent", "--hostname", f"llama70b-node-0-{index}",
            "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--bind", str(message), "/dev/termination-log",
            "--bind", str(self.runs), str(self.runs), "--chdir", str(ROOT),
            "--clearenv", *(word for name, value in variables.items() for word in ("--setenv", name, value)),
            "--", sys.executable, "-m", "fake_torch_dist.run", *arguments,
        ]  # fmt: skip
        assert BWRAP
        os.execv(BWRAP, words)


def test_pods_with_the_variables_of_an_operator_are_one_job(tmp_path: Path):
    with Children(LIMIT_S) as children:
        pods = Pods(children, tmp_path).start(*DEBUG, *SHORT)
        assert children.wait() == [0] * 4, [pod.outputs for pod in pods]
    said = [pod.outputs[0].decode() for pod in pods]
    assert "train.py on 4 nodes x 2 GPUs = 8 ranks" in said[0]
    assert [text.count("Training finished successfully") for text in said] == [1, 0, 0, 0]
    assert "Process index: 7 | local process index: 1" in said[3]


def test_a_pod_that_is_deleted_ends_all_with_the_last_step_saved(tmp_path: Path):
    with Children(LIMIT_S) as children:
        pods = Pods(children, tmp_path)
        first = pods.start(*DEBUG, *LONG, "--output-dir", str(pods.runs / "run"), "--resume", "auto")
        children.read_until(lambda: b"step 10 |" in first[0].outputs[0], "step 10")
        (init,) = children_of(first[2].pid)
        os.kill(init, signal.SIGTERM)
        children.read_until(lambda: all(pod.done for pod in first), "all pods have ended")
        assert all(pod.exit_code for pod in first)
        (saved,) = (line for line in first[0].outputs[0].decode().splitlines() if line.startswith("Terminated"))
        step = saved.rpartition("checkpoint-")[2]
        again = pods.start(*DEBUG, *LONG, "--output-dir", str(pods.runs / "run"), "--resume", "auto")
        going_on = f"checkpoint-{step}".encode()
        children.read_until(lambda: b"Going on from" in again[0].outputs[0], "it goes on")
        assert going_on in again[0].outputs[0].partition(b"Going on from")[2].partition(b"\n")[0]
    until(lambda: not any(children_of(pod.pid) for pod in again), "the pods are gone")


def test_a_pod_whose_rank_fails_says_why_where_kubernetes_looks(tmp_path: Path):
    with Children(LIMIT_S) as children:
        pods = Pods(children, tmp_path)
        ended = pods.start("--no-python", sys.executable, "-c", FAILS_ON_RANK_5)
        children.wait()
    assert all(pod.exit_code == 1 for pod in ended)
    messages = [(tmp_path / f"message{index}").read_text() for index in range(4)]
    assert "rank 5" in messages[2] and "exitcode: 7" in messages[2], messages
