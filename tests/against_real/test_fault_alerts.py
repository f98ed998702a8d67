"""Readers of real clusters meet a run with faults: Prometheus and Alertmanager, gpucm, and the restart agent of nvrx.

Prometheus and Alertmanager (Debian has both), ``health_checks`` of gpucm, and nvidia-resiliency-ext 0.7 are looked for
on PATH and PYTHONPATH; a test is skipped without its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.against_real.test_prometheus import JOB, asked, ended, fetched, free_port, url_of
from tests.support.played_faults import play_alone
from tests.support.processes import until
from tests.support.reading import Train
from tests.support.repository import ROOT

LIMIT_S = 90.0
SCRAPE_S, FOR_S = 1.0, 2.0
pytestmark = pytest.mark.real
RULES = {
    "Xid": "DCGM_FI_DEV_XID_ERRORS > 0",
    "MemoryError": "increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[1m]) > 0",
    "Throttled": "increase(DCGM_FI_DEV_THERMAL_VIOLATION[10s]) > 0",
    "GpuIsHot": "DCGM_FI_DEV_GPU_TEMP > 85",
    "GpuIsGone": "count(DCGM_FI_DEV_GPU_TEMP) < 4",
}
"""Rules that are in use, as published by users of the exporter."""


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """The address of a running Alertmanager."""
    if not shutil.which("prometheus-alertmanager") or not shutil.which("prometheus"):
        pytest.skip("needs prometheus and prometheus-alertmanager on PATH")
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    (tmp_path / "alertmanager.yml").write_text(json.dumps(config))
    port = free_port()
    command = [
        "prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/alerts",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    with ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)):
        yield f"127.0.0.1:{port}"


def prometheus(stack: ExitStack, tmp_path: Path, target: str, alertmanager: str) -> str:
    """Start a Prometheus that scrapes ``target`` and evaluates the rules; its address."""
    rules = [{"alert": name, "expr": expr, "for": f"{FOR_S:g}s"} for name, expr in RULES.items()]
    (tmp_path / "rules.yml").write_text(
        json.dumps({"groups": [{"name": "gpus", "interval": f"{SCRAPE_S:g}s", "rules": rules}]})
    )
    config = {
        "global": {"scrape_interval": f"{SCRAPE_S:g}s", "evaluation_interval": f"{SCRAPE_S:g}s"},
        "rule_files": [str(tmp_path / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [{"job_name": "training", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    command = [
        "prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    stack.enter_context(
        ended(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True))
    )
    return f"http://127.0.0.1:{port}"


def alerts(alertmanager: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(fetched(f"http://{alertmanager}/api/v2/alerts")))
    except OSError:
        return []


def names(alertmanager: str) -> set[str]:
    return {each["labels"]["alertname"] for each in alerts(alertmanager)}


FAULTS = {
    "a row to remap": (("xid gpu=1:0 code=63 at=step:8",), {"Xid"}, True),
    "heat": (("slow gpu=0:1 why=thermal factor=1.4 at=step:8",), {"Throttled", "GpuIsHot"}, True),
    "a GPU off the bus": (("xid gpu=1:0 code=79 at=step:8",), {"Xid", "GpuIsGone"}, True),
    "none": ((), set(), False),
}


@pytest.mark.parametrize("case", FAULTS)
def test_the_alerts_that_are_meant_come_and_no_others(tmp_path: Path, alertmanager: str, case: str) -> None:
    faults, expected, comes = FAULTS[case]
    words = [word for text in faults for word in ("--fault", text)]
    command = [sys.executable, str(ROOT / "train.py"), *JOB, *words]
    with ExitStack() as stack:
        job = stack.enter_context(ended(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)))
        target = urllib.parse.urlsplit(url_of(job)).netloc
        # The job goes on for as long as something reads its output.
        stack.enter_context(ended(subprocess.Popen(["cat"], stdin=job.stdout, stdout=subprocess.DEVNULL, text=True)))
        server = prometheus(stack, tmp_path, target, alertmanager)
        until(lambda: len(asked(server, "DCGM_FI_DEV_XID_ERRORS")) == 4, "the job is scraped", LIMIT_S)
        if comes:
            until(lambda: names(alertmanager) == expected, f"the alerts are {expected}", LIMIT_S)
            if "Xid" in expected:
                [alert] = [each for each in alerts(alertmanager) if each["labels"]["alertname"] == "Xid"]
                assert alert["labels"]["Hostname"] == "node1"
                assert alert["labels"]["err_code"] in case + "63 79"
        else:
            scrapes = "sum(count_over_time(up[5m]))"
            enough = 3 * (SCRAPE_S + FOR_S)
            until(
                lambda: bool(found := asked(server, scrapes)) and float(found[0]["value"][1]) > enough,
                "the job is scraped often",
            )
            assert names(alertmanager) == set()


@pytest.mark.parametrize("code, status", [(79, 2), (94, 2), (48, 2), (13, 1), (31, 1), (63, 1)])
def test_gpucm_judges_a_played_kernel_log(train: Train, tmp_path: Path, code: int, status: int) -> None:
    checks = shutil.which("health_checks")
    if not checks:
        pytest.skip("needs health_checks of gpucm on PATH")
    run = play_alone(train, tmp_path / "run", f"xid gpu=1:0 code={code} at=step:12")
    log = run.directory / "nodes/node1/kern.log"
    dmesg = tmp_path / "dmesg"
    dmesg.write_text(f"#!/bin/sh\ncat {log}\n")
    dmesg.chmod(0o755)
    command = [checks, "check-syslogs", "xid", "fair_cluster", "prolog", "--sink=do_nothing", "--verbose-out"]
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    judged = subprocess.run(
        [*command, f"--log-folder={tmp_path}"], env=environment, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert judged.returncode == status, judged.stdout + judged.stderr
    assert f"XID error: {code}," in judged.stdout


AGENT = "nvidia_resiliency_ext.attribution.restart_agent"
TIMEOUT = "observed_distributed_operation_timeout"


def primary_failure(log: str, tmp_path: Path) -> dict[str, Any]:
    """The failure that the restart agent takes for the first cause in a log."""
    pytest.importorskip(f"{AGENT}.l0.registry")
    path, result = tmp_path / "job.log", tmp_path / "result.json"
    path.write_text(log)
    command = [sys.executable, "-m", f"{AGENT}.cli", str(path), "--disable-l1", "--job-id", "1", "--cycle-id", "0"]
    judged = subprocess.run(
        [*command, "--deterministic-json-out", str(result)], capture_output=True, text=True, timeout=LIMIT_S
    )
    if "No module named" in judged.stderr:
        pytest.skip("the restart agent lacks a package of its own")
    assert judged.returncode == 0, judged.stderr
    return json.loads(result.read_text())["candidate"]["result"]["primary_failure"] or {}


@pytest.mark.parametrize("code", [48, 79])
def test_the_restart_agent_finds_the_rank_and_the_gpu(train: Train, tmp_path: Path, code: int) -> None:
    run = play_alone(train, tmp_path / "run", f"xid gpu=1:0 code={code} at=step:12", restarts=0)
    found = primary_failure(run.stdout + run.stderr, tmp_path)
    assert "CUDA error: " in found["signature"]
    assert found["rank"] == "2"
    assert primary_failure(run.kernel("node1"), tmp_path)["failure_class"] == "gpu_hardware_fault"


def test_the_restart_agent_finds_access_to_memory_that_is_damaged(train: Train, tmp_path: Path) -> None:
    run = play_alone(train, tmp_path / "run", "xid gpu=1:0 code=94 at=step:12", restarts=0)
    found = primary_failure(run.stdout + run.stderr, tmp_path)
    assert found["signature"].startswith("Invalid access of peer GPU memory")


@pytest.mark.parametrize("words", ["xid gpu=1:0 code=119 at=step:12", "partition node=1 at=step:12"])
def test_the_restart_agent_finds_what_was_waited_for(train: Train, tmp_path: Path, words: str) -> None:
    run = play_alone(train, tmp_path / "run", words, restarts=0)
    assert primary_failure(run.stdout + run.stderr, tmp_path)["failure_class"] == TIMEOUT


def test_the_restart_agent_finds_nothing_where_nothing_fails(train: Train, tmp_path: Path) -> None:
    run = play_alone(train, tmp_path / "run", restarts=0)
    assert primary_failure(run.stdout + run.stderr, tmp_path) == {}
