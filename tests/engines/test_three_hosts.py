"""Three hosts on one Ethernet: network namespaces that a bridge connects, in namespaces that end with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import Children
from tests.support.repository import CONFIGS, ROOT

NAMESPACES = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"])]
NAMESPACES += ["--net", "--mount", "--pid", "--fork", "--mount-proc"]
HOSTS = """
set -eu
mount -t tmpfs tmpfs /run
mkdir /run/netns
ip link add bridge type bridge
ip link set bridge up
printf '127.0.0.1 localhost\\n10.77.0.10 h0\\n10.77.0.11 h1\\n10.77.0.12 h2\\n' > /run/hosts
sed 's/.* h0/127.0.1.1 h0/' /run/hosts > /run/hosts-of-h0
for i in 0 1 2; do
    ip netns add h$i
    ip link add port$i type veth peer name eth0 netns h$i
    ip link set port$i master bridge
    ip link set port$i up
    ip -n h$i link set lo up
    ip -n h$i addr add 10.77.0.1$i/24 dev eth0
    ip -n h$i link set eth0 up
done
on() { # on INDEX FILE COMMAND...: run a command on a host that has this file as /etc/hosts
    index=$1 names=$2
    shift 2
    ip netns exec h$index unshare --mount --uts bash -c \
        'mount --bind "$1" /etc/hosts; hostname "$2"; shift 2; exec "$@"' bash "$names" h$index "$@"
}
"""
LAUNCH = """
for i in 2 1 0; do
    names=/run/hosts
    if [ $i = 0 ]; then names=$OWN_NAMES; fi
    case $MODE in
        static) where="--node-rank $i --master-addr h0 --master-port 29500" ;;
        c10d) where="--rdzv-backend c10d --rdzv-id job --rdzv-endpoint h0:29400" ;;
    esac
    on $i $names "$PYTHON" -m fake_torch_dist.run --nnodes 3 --nproc-per-node 2 $where "$@" &
    pids[$i]=$!
done
"""
WAIT = """
for i in 0 1 2; do
    code=0
    wait ${pids[$i]} || code=$?
    echo "host $i ended with $code"
done
"""
LOSE_H2 = """
until [ -e "$REACHED" ]; do sleep 0.1; done
ip -n h2 link set eth0 down
"""
NAMES_COME_LATE = """
cp /run/hosts /run/whole
sed -i '/ h0$/d' /run/hosts
"""
NAMES_COME = """
until grep -q "can't be resolved yet" output || [ $MODE = static ]; do sleep 0.1; done
sleep 3
cat /run/whole > /run/hosts
"""
FORWARD_TO_H0 = """
ip -n h1 addr add 10.77.0.99/24 dev eth0
sed -i 's/10.77.0.10 h0/10.77.0.99 h0/' /run/hosts
on 1 /run/hosts "$PYTHON" forward.py 29400 &
forward=$!
"""
FORWARD = """
import socket, sys, threading

def carry(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()

port = int(sys.argv[1])
listener = socket.create_server(("10.77.0.99", port))
while True:
    outside, _ = listener.accept()
    try:
        inside = socket.create_connection(("10.77.0.10", port))
    except OSError:
        outside.close()
        continue
    for ends in ((outside, inside), (inside, outside)):
        threading.Thread(target=carry, args=ends, daemon=True).start()
"""
WITHOUT_LAUNCHER = """
for rank in 0 1 2 3 4 5; do
    on $((rank / 2)) /run/hosts env RANK=$rank LOCAL_RANK=$((rank % 2)) WORLD_SIZE=6 LOCAL_WORLD_SIZE=2 \\
        MASTER_ADDR=10.77.0.10 MASTER_PORT=29500 "$PYTHON" "$@" &
    pids[$rank]=$!
done
"""
SLOW_SWITCH = """
"$PYTHON" "$SWITCH" 100 h0 h1 h2 > switch &
switch=$!
until grep -q up switch || ! kill -0 $switch; do sleep 0.1; done
"""
LAST_MESSAGE = """
import numpy as np
import fake_torch_dist as dist
dist.init_process_group("gloo")
x = np.full(4, 1.0 + dist.get_rank())
dist.broadcast(x, 0)
assert x[0] == 1.0
dist.destroy_process_group()
"""
WAIT_FOR_RANKS = """
for rank in 0 1 2 3 4 5; do
    code=0
    wait ${pids[$rank]} || code=$?
    echo "rank $rank ended with $code"
done
"""
TRAIN = [str(ROOT / "train.py"), "--config", str(CONFIGS / "debug.yaml"), "--set", "cluster.nodes=3"]
TRAIN += ["--set", "train.global_batch=48"]
SUMS = """
import os, pathlib, time
import numpy as np
import fake_torch_dist as dist
dist.init_process_group("gloo")
for number in range(100_000):
    dist.all_reduce(np.ones(3))
    if number == 3 and dist.get_rank() == 0:
        pathlib.Path(os.environ["REACHED"]).touch()
    time.sleep(0.05)
"""
LIMIT_S = 270.0


def can_isolate() -> bool:
    """The kernel lets this user make hosts."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    words = [*NAMESPACES, "bash", "-c", HOSTS + "on 0 /run/hosts true"]
    return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.fixture(scope="module", autouse=True)
def isolation() -> None:
    """Skip the tests of this module where they cannot run."""
    if not can_isolate():
        pytest.skip("needs unshare, ip and namespaces")


pytestmark = pytest.mark.real


def on_three_hosts(program: str, *words: str, cwd: Path, **variables: str) -> str:
    """Run a job on three hosts; its output on all of them, and a line about the end of each launcher."""
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "FAKE_TORCH_DIST_TOKEN": "secret"}
    environment |= {"PYTHON": sys.executable, "OWN_NAMES": "/run/hosts"} | variables

    def body(out: int) -> None:
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(cwd)
        command = [*NAMESPACES, "--kill-child", "bash", "-c", HOSTS + program, "bash", *words]
        os.execvpe("unshare", command, os.environ | environment)

    with Children(LIMIT_S) as children:
        child = children.fork(body, pipes=1)
        children.wait()
    return child.outputs[0].decode()


@pytest.mark.parametrize("mode", ["static", "c10d"])
@pytest.mark.parametrize(
    "names", ["/run/hosts", "/run/hosts-of-h0"], ids=["h0 has its address", "h0 is 127.0.1.1 there"]
)
def test_they_are_one_job(mode: str, names: str, tmp_path: Path):
    said = on_three_hosts(LAUNCH + WAIT, *TRAIN, "--speed", "max", cwd=tmp_path, MODE=mode, OWN_NAMES=names)
    assert [line for line in said.splitlines() if " ended with " in line] == [
        f"host {i} ended with 0" for i in range(3)
    ], said
    assert "train.py on 3 nodes x 2 GPUs = 6 ranks" in said
    assert said.count("Training finished successfully") == 1


def assert_one_job(said: str) -> None:
    ends = [line for line in said.splitlines() if " ended with " in line]
    assert ends == [f"host {i} ended with 0" for i in range(3)], said
    assert said.count("Training finished successfully") == 1


@pytest.mark.parametrize("mode", ["static", "c10d"])
def test_the_name_of_host_0_may_come_late(mode: str, tmp_path: Path):
    """As in Kubernetes, where it follows the pod; host 0 does not know it, either."""
    program = "exec > >(tee output) 2>&1\ntee=$!\n" + NAMES_COME_LATE + LAUNCH + NAMES_COME + WAIT
    program += "exec >&- 2>&-\nwait $tee\n"
    assert_one_job(on_three_hosts(program, *TRAIN, "--speed", "max", cwd=tmp_path, MODE=mode))


def test_the_address_of_host_0_may_be_a_services(tmp_path: Path):
    """It is none of host 0's own: another host forwards to host 0 what comes there."""
    (tmp_path / "forward.py").write_text(FORWARD)
    launch = LAUNCH.replace("--rdzv-id job", "--rdzv-id job --rdzv-conf is_host=$((i == 0))")
    program = FORWARD_TO_H0 + launch + WAIT + "kill $forward\n"
    assert_one_job(on_three_hosts(program, *TRAIN, "--speed", "max", cwd=tmp_path, MODE="c10d"))


def test_a_lost_link_ends_ranks_without_a_launcher(tmp_path: Path):
    (tmp_path / "sums.py").write_text(SUMS)
    program = WITHOUT_LAUNCHER + LOSE_H2 + WAIT_FOR_RANKS
    said = on_three_hosts(program, "sums.py", cwd=tmp_path, REACHED=str(tmp_path / "reached"))
    ends = [line for line in said.splitlines() if " ended with " in line]
    assert ends == [f"rank {rank} ended with 1" for rank in range(6)], said
    assert "ranks 4, 5 are gone" in said


@pytest.mark.skipif(not os.path.exists("/dev/net/tun") or os.geteuid() != 0, reason="needs root and /dev/net/tun")
def test_a_rank_that_ends_in_peace_is_heard_to_its_last_message(tmp_path: Path):
    """The data of host 0 is on its way for longer than the end of its connections."""
    (tmp_path / "last.py").write_text(LAST_MESSAGE)
    started = WITHOUT_LAUNCHER.replace("10.77.0.10", "10.78.0.10")
    program = SLOW_SWITCH + (started + WAIT_FOR_RANKS) * 3 + "kill $switch\n"
    said = on_three_hosts(program, "last.py", cwd=tmp_path, SWITCH=str(ROOT / "tests" / "support" / "slow_switch.py"))
    ends = [line for line in said.splitlines() if " ended with " in line]
    assert ends == [f"rank {rank} ended with 0" for rank in range(6)] * 3, said


def test_a_lost_link_ends_all_and_is_named(tmp_path: Path):
    (tmp_path / "sums.py").write_text(SUMS)
    reached = str(tmp_path / "reached")
    said = on_three_hosts(LAUNCH + LOSE_H2 + WAIT, "sums.py", cwd=tmp_path, MODE="c10d", REACHED=reached)
    assert [line for line in said.splitlines() if " ended with " in line] == [
        f"host {i} ended with 1" for i in range(3)
    ], said
    # The hosts notice the loss in any order, so their reports come in any order.
    assert said.count("fake-torchrun: error: h2 (pid ") == 2, said
    assert said.count("fake-torchrun: error: the node that hosts the job at h0:29400 is gone") == 1, said
