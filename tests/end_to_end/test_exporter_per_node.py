"""An exporter on each node of a job: its GPUs, its answers to probes, and its end when a rank is lost."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.free_ports import free_port
from tests.support.http_answers import fetched
from tests.support.launched import Jobs, RunningJob, jobs_in
from tests.support.processes import until
from tests.support.repository import ROOT
from tests.support.train_ranks import Job
from tests.support.warm_train import WarmTrain

LIMIT_S = 120.0
SCRAPE_S = 0.05
"""Time between two scrapes, in which the job has the processor."""
RUN = (
    "--config", str(ROOT / "configs/debug.yaml"), "--no-progress", "--set", "run.startup_speed=max",
    "--set", "train.epochs=10000", "--set", "checkpoint.every=0", "--set", "checkpoint.shards=tiny",
    "--log-with", "prometheus", "--set", "log.prometheus_per=node",
)  # fmt: skip
"""A run that does not end by itself, on nodes that each have an exporter."""
NODES = ("--set", "cluster.nodes=2", "--set", "cluster.gpus_per_node=2")
ANY_PORT = ("--set", "log.prometheus_address=127.0.0.1:0")
PACE = ("--speed", "60")
ADDRESS = re.compile(r"\[Rank (\d+)/4\] INFO Metrics for Prometheus: (http://\S+)/metrics\n")
TEMPERATURE = re.compile(r'^DCGM_FI_DEV_GPU_TEMP\{gpu="(\d)",UUID="([^"]+)".*Hostname="(\w+)"', re.MULTILINE)


def addresses(text: str) -> dict[int, str]:
    """Addresses of the exporters by the ranks that have said them last."""
    return {int(rank): url for rank, url in ADDRESS.findall(text)}


def said(job: Job) -> dict[int, str]:
    return addresses("".join(rank.stdout for rank in job.ranks))


def page(url: str) -> str:
    """The metrics of an exporter, asked for until it answers."""
    found = [(0, "")]
    until(lambda: found.append(fetched(f"{url}/metrics")) or found[-1][0] == 200, f"{url} answers", LIMIT_S, SCRAPE_S)
    return found[-1][1]


def healths(urls: dict[int, str]) -> set[int]:
    return {fetched(f"{url}/healthz")[0] for url in urls.values()}


def reasons(urls: dict[int, str]) -> set[str]:
    """The reasons that the exporters give to probes, without the step."""
    return {fetched(f"{url}/healthz")[1].strip().rpartition(": ")[2] for url in urls.values()}


def base_port() -> int:
    """A port after which another one is free, too."""
    while True:
        port = free_port()
        with suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
            return port


def test_the_first_rank_of_each_node_serves_the_gpus_of_its_node() -> None:
    port = base_port()
    words = [*RUN, *NODES, *PACE, "--set", f"log.prometheus_address=127.0.0.1:{port}"]
    with Job(words, size=4, per_node=2) as job:
        job.read_until(" step 5 |")
        assert said(job) == {0: f"http://127.0.0.1:{port}", 2: f"http://127.0.0.1:{port + 1}"}
        first, second = (page(url) for url in said(job).values())
        gpus = TEMPERATURE.findall(first), TEMPERATURE.findall(second)
        assert [(gpu, host) for gpu, _, host in gpus[0]] == [("0", "node0"), ("1", "node0")]
        assert [(gpu, host) for gpu, _, host in gpus[1]] == [("0", "node1"), ("1", "node1")]
        assert len({uuid for each in gpus for _, uuid, _ in each}) == 4
        assert "training_loss{" in first and "training_loss{" not in second
        for name, kind in re.findall(r"# TYPE (DCGM_\w+) (\w+)", first):
            assert f"# TYPE {name} {kind}\n" in second
        used = [float(value) for value in re.findall(r"^DCGM_FI_DEV_FB_USED\{.* (\d+)$", second, re.MULTILINE)]
        assert min(used) > 5000
        until(lambda: healths(said(job)) == {200}, "both say that they go on", LIMIT_S, SCRAPE_S)


def test_counters_of_a_further_node_grow_with_the_clock() -> None:
    def energy() -> int:
        return sum(map(int, re.findall(r"CONSUMPTION\{.* (\d+)$", page(url), re.MULTILINE)))

    with Job([*RUN, *NODES, *PACE, *ANY_PORT], size=4, per_node=2) as job:
        job.read_until(" step 5 |")
        url = said(job)[2]
        before = energy()
        until(lambda: energy() > before > 0, "the GPUs of node 1 have used more energy", LIMIT_S, SCRAPE_S)


def test_probes_fail_while_a_rank_does_not_go_on() -> None:
    with Job([*RUN, *NODES, *PACE, *ANY_PORT], size=4, per_node=2) as job:
        job.read_until(" step 5 |")
        urls = said(job)
        job.kill(signal.SIGSTOP, 3)
        until(lambda: healths(urls) == {503}, "both nodes notice that rank 3 is late", LIMIT_S, SCRAPE_S)
        until(lambda: "other ranks are" in fetched(f"{urls[2]}/healthz")[1], "the reason", LIMIT_S, SCRAPE_S)
        assert TEMPERATURE.search(page(urls[2]))
        job.kill(signal.SIGCONT, 3)
        until(lambda: healths(urls) == {200}, "both nodes go on", LIMIT_S, SCRAPE_S)


def test_exporters_end_with_their_processes() -> None:
    with Job([*RUN, *NODES, *PACE, *ANY_PORT], size=4, per_node=2) as job:
        job.read_until(" step 5 |")
        urls = said(job)
        job.kill(signal.SIGTERM)
        assert set(job.wait()) == {143}
        assert healths(urls) == {0}


def test_a_port_that_is_in_use_on_a_further_node_is_a_mistake() -> None:
    port = base_port()
    with socket.create_server(("127.0.0.1", port + 1)):
        words = [*RUN, *NODES, *PACE, "--set", f"log.prometheus_address=127.0.0.1:{port}"]
        with Job(words, size=4, per_node=2) as job:
            assert job.wait() == [2, 2, 2, 2]
            assert f"can't listen on 127.0.0.1:{port + 1} for node 1: Address already in use" in job.ranks[0].stderr
            assert "log.prometheus_per=job" in job.ranks[0].stderr
            assert "Traceback" not in "".join(rank.stderr for rank in job.ranks)


def test_one_process_serves_the_gpus_of_all_nodes(tmp_path: Path) -> None:
    with WarmTrain([*RUN, *NODES, *PACE, *ANY_PORT], dict(os.environ), tmp_path) as process:
        process.read_until(" step 5 |")
        (url,) = addresses(process.stdout).values()
        assert len(TEMPERATURE.findall(page(url))) == 4
        until(lambda: fetched(f"{url}/healthz") == (200, "ok\n"), "it says that it goes on", LIMIT_S, SCRAPE_S)


# --- Faults -----------------------------------------------------------------------------------------


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    yield from jobs_in(tmp_path, training=True)


def start(jobs: Jobs, *words: str) -> RunningJob:
    """``train.py`` on two nodes of two ranks, started again once. Ranks get what the script imports first."""
    return jobs.start(
        "from accelerate_sim import Accelerator\n"
        f"import runpy; runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')",
        *("--nnodes", "2", "--nproc-per-node", "2", "--max-restarts", "1"), arguments=(*RUN, *words),
    )  # fmt: skip


def test_the_exporters_of_the_next_attempt_serve_at_the_same_ports(jobs: Jobs) -> None:
    port = base_port()
    address = ("--set", f"log.prometheus_address=127.0.0.1:{port}")
    soon = ("--set", "faults.restart_minutes=0.5")
    job = start(jobs, *PACE, *address, *soon, "--fault", "kill rank=3 at=step:8")
    job.wait_for(" step 5 |")
    urls = addresses(job.out)
    until(lambda: healths(urls) == {200}, "the first attempt goes on", LIMIT_S, SCRAPE_S)
    job.wait_for("Attempt 2: the launcher has restarted the job")
    job.wait_for(" step 10 |")
    assert addresses(job.out) == urls == {0: f"http://127.0.0.1:{port}", 2: f"http://127.0.0.1:{port + 1}"}
    until(lambda: healths(urls) == {200}, "the second attempt goes on", LIMIT_S, SCRAPE_S)
    assert TEMPERATURE.search(page(urls[2]))


def test_probes_fail_while_the_job_hangs(jobs: Jobs) -> None:
    """The watchdog's ten minutes take 20 s here."""
    job = start(jobs, "--speed", "30", *ANY_PORT, "--fault", "hang rank=1 at=step:8")
    job.wait_for(" step 5 |")
    urls = addresses(job.out)
    until(
        lambda: reasons(urls) == {"the job has stopped"}, "both nodes say that the job has stopped", LIMIT_S, SCRAPE_S
    )
