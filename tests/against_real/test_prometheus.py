"""Prometheus itself scrapes a running job, and its tools and its client's parser read the answer."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import until
from tests.support.repository import ROOT

LIMIT_S = 60.0
pytestmark = pytest.mark.real
JOB = (
    *("--config", str(ROOT / "configs/debug.yaml"), "--output-dir", "out", "--log-with", "prometheus"),
    *("--set", "log.prometheus_address=127.0.0.1:0", "--set", "train.epochs=500", "--set", "run.speed=0.5"),
    *("--set", "run.startup_speed=max", "--set", "log.every=1", "--set", "checkpoint.every=0"),
)
"""Far more steps than any test waits for, each of a part of a second."""
LINT_OF_DCGM = re.compile(
    r"DCGM_\w+ (counter metrics should have \"_total\" suffix|metric name should not include type 'counter'|"
    r"label names should be written in 'snake_case' not 'camelCase')"
)
"""Complaints of promtool about names that are dcgm-exporter's own."""


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def url_of(process: subprocess.Popen[str]) -> str:
    """Address at which the run can be scraped, once it has made its first steps."""
    assert process.stdout
    url = ""
    for line in process.stdout:
        if found := re.search(r"Metrics for Prometheus: (http://\S+)", line):
            url = found[1]
        if " step 2 |" in line:
            return url
    raise AssertionError("the job has ended")


@pytest.fixture
def job(tmp_path: Path) -> Iterator[str]:
    """The address of a running job below ``tmp_path/out``."""
    command = [sys.executable, str(ROOT / "train.py"), *JOB]
    with ended(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)) as process:
        yield url_of(process)


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        return str(answer.read().decode())


def steps(directory: Path) -> dict[int, dict[str, Any]]:
    # The last line is being written, perhaps.
    events = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines()[:-1])
    return {event["step"]: event for event in events if event["event"] == "step"}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_accepts_the_scrape(job: str) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=fetched(job), capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode in (0, 3)  # 3: there are remarks on style
    remarks = (done.stdout + done.stderr).splitlines()
    assert [remark for remark in remarks if not LINT_OF_DCGM.fullmatch(remark)] == []


def test_prometheus_client_reads_it(job: str) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    text = fetched(job)
    families = {family.name: family for family in parser.text_string_to_metric_families(text)}
    values = [sample for family in families.values() for sample in family.samples]
    assert len(values) == sum(not line.startswith("#") for line in text.splitlines())
    temperatures = families["DCGM_FI_DEV_GPU_TEMP"].samples
    assert [sample.labels["device"] for sample in temperatures] == ["nvidia0", "nvidia1"] * 2
    assert families["training_loss"].samples[0].labels == {"run": "1", "model": "gpt2", "seed": "42"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def asked(server: str, query: str) -> list[dict[str, Any]]:
    """Result of a query now; empty while the server has not started."""
    words = urllib.parse.urlencode({"query": query})
    try:
        answer = json.loads(fetched(f"{server}/api/v1/query?{words}"))
    except (urllib.error.URLError, ConnectionError):
        return []
    return list(answer["data"]["result"])


@contextmanager
def scraping(targets: list[str], directory: Path) -> Iterator[str]:
    """The address of a Prometheus that scrapes these targets each second."""
    (directory / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [{"job_name": "training", "static_configs": [{"targets": targets}]}],
            }
        )
    )
    port = free_port()
    command = [
        "prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed")
def test_prometheus_has_the_loss_of_the_metrics_file(job: str, tmp_path: Path) -> None:
    target = urllib.parse.urlsplit(job).netloc
    with scraping([target], tmp_path) as server:
        query = '{__name__=~"training_step|training_loss|training_tokens_total"}'
        until(lambda: len(asked(server, query)) == 3, "prometheus has scraped the run", LIMIT_S)
        found = asked(server, query)
        values = {each["metric"]["__name__"]: float(each["value"][1]) for each in found}
        step = int(values["training_step"])
        until(lambda: step in steps(tmp_path / "out"), "the file has that step", LIMIT_S)
        event = steps(tmp_path / "out")[step]
        assert (values["training_loss"], values["training_tokens_total"]) == (event["loss"], event["tokens"])
        # As the dashboard asks: a variable of its GPUs, and a sum over them.
        dashboard = asked(server, f'DCGM_FI_DEV_GPU_TEMP{{instance="{target}", gpu=~"0|1"}}')
        assert len(dashboard) == 4
        [total] = asked(server, f'sum(DCGM_FI_DEV_POWER_USAGE{{instance="{target}"}})')
        assert 4 * 50 < float(total["value"][1]) < 4 * 700
        for metric in ("SM_CLOCK", "GPU_UTIL", "FB_USED"):
            assert len(asked(server, f"DCGM_FI_DEV_{metric}")) == 4
        assert len(asked(server, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE")) == 4
        [up] = asked(server, "up")
        assert up["value"][1] == "1"


@contextmanager
def launched(directory: Path, *words: str) -> Iterator[list[str]]:
    """A job of two nodes of two ranks that has made three steps, as the lines that it has printed so far."""
    command = [
        sys.executable, "-m", "fake_torch_dist.run", "--nnodes", "2", "--nproc-per-node", "2",
        str(ROOT / "train.py"), *JOB, *words,
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout
            said = []
            for line in process.stdout:
                said.append(line)
                if " step 3 |" in line:
                    break
            yield said
        finally:
            process.terminate()
            process.communicate(timeout=LIMIT_S)


def urls_in(lines: list[str]) -> list[str]:
    return re.findall(r"Metrics for Prometheus: (http://\S+)", "".join(lines))


def test_one_rank_of_a_launched_job_answers(tmp_path: Path) -> None:
    with launched(tmp_path) as said:
        urls = urls_in(said)
        assert len(urls) == 1, "".join(said)
        text = fetched(urls[0])
        assert text.count("DCGM_FI_DEV_GPU_TEMP{") == 4
        assert 'training_loss{run="1"' in text


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed")
def test_prometheus_scrapes_an_exporter_on_each_node(tmp_path: Path) -> None:
    with launched(tmp_path, "--set", "log.prometheus_per=node") as said:
        targets = [urllib.parse.urlsplit(url).netloc for url in urls_in(said)]
        assert len(targets) == 2, "".join(said)
        with scraping(targets, tmp_path) as server:
            until(lambda: len(asked(server, "DCGM_FI_DEV_GPU_TEMP")) == 4, "both nodes are scraped", LIMIT_S)
            assert sorted(each["value"][1] for each in asked(server, "up")) == ["1", "1"]
            found = asked(server, "DCGM_FI_DEV_GPU_TEMP")
            assert {each["metric"]["Hostname"] for each in found} == {
                "node0", "node1"
            }  # fmt: skip
            for host in ("node0", "node1"):
                assert len({each["metric"]["instance"] for each in found if each["metric"]["Hostname"] == host}) == 1
            assert len(asked(server, "training_loss")) == 1
            assert len(asked(server, "sum by (Hostname) (DCGM_FI_DEV_POWER_USAGE)")) == 2
