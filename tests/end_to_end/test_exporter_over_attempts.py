"""The exporter of a job that fails and starts again: its GPUs are empty meanwhile, and are in use afterwards.

The run is slow until it has been looked at, and is given its fault and made fast then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.http_answers import fetched
from tests.support.live_control import ctl, user_in
from tests.support.played_faults import RUN
from tests.support.warm_train import WarmTrain

ENDLESS = (
    *RUN, "--log-with", "prometheus", "--set", "log.prometheus_address=127.0.0.1:0", "--set", "faults.asked=true",
    "--set", "faults.restart_minutes=2", "--set", "run.startup_speed=max", "--set", "train.epochs=10000",
    "--set", "impose.step_time_s=[5, 5]",
)  # fmt: skip
SLOW, FAST = "10", "2000"
SCRAPE_S = 0.05
"""Time between two scrapes, in which the run has the processor."""


@pytest.fixture
def user(tmp_path: Path) -> dict[str, str]:
    return user_in(tmp_path)


@pytest.fixture
def run(user: dict[str, str], tmp_path: Path) -> Iterator[WarmTrain]:
    """A run that makes two steps a second and can be given a fault."""
    with WarmTrain([*ENDLESS, "--speed", SLOW], user, tmp_path) as process:
        process.read_until("/metrics")
        yield process


def url_of(run: WarmTrain) -> str:
    found = re.search(r"http://\S+/metrics", run.stdout)
    assert found
    return found[0]


def memory_and_use(url: str) -> dict[str, list[float]]:
    """Memory in use and utilization of each GPU, as one scrape says; of none if there is no answer."""
    _, text = fetched(url)
    return {
        name: [float(value) for value in re.findall(rf"^DCGM_FI_DEV_{name}\{{.* (\S+)$", text, re.MULTILINE)]
        for name in ("FB_USED", "GPU_UTIL")
    }


def test_gpus_are_empty_between_two_attempts_and_used_in_both(run: WarmTrain, user: dict[str, str]) -> None:
    url = url_of(run)

    def are_used() -> bool:
        seen = memory_and_use(url)
        return min(seen["FB_USED"], default=0.0) > 5000 and min(seen["GPU_UTIL"], default=0.0) > 80

    def are_empty() -> bool:
        seen = memory_and_use(url)
        return max(seen["FB_USED"], default=math.inf) < 100 and max(seen["GPU_UTIL"], default=math.inf) < 5

    run.wait_until(are_used, "the first attempt's steps", SCRAPE_S)
    assert ctl(user, "fault", "kill rank=2 at=now").returncode == 0
    run.wait_until(are_empty, "the pause before the second attempt", SCRAPE_S)
    ctl(user, "speed", FAST)
    run.read_until("Attempt 2: the launcher has restarted the job")
    run.wait_until(are_used, "the second attempt's steps", SCRAPE_S)


def health(url: str) -> tuple[int, str]:
    """Status and text of the answer to a probe; status 0 if there is none."""
    return fetched(url.replace("/metrics", "/healthz"))


def test_probes_fail_from_a_fault_on_until_the_next_attempt(run: WarmTrain, user: dict[str, str]) -> None:
    url = url_of(run)
    run.wait_until(lambda: health(url) == (200, "ok\n"), "steps", SCRAPE_S)
    assert ctl(user, "fault", "hang rank=2 at=now").returncode == 0
    run.wait_until(lambda: "the job has stopped" in health(url)[1], "the hang", SCRAPE_S)
    ctl(user, "speed", FAST)
    run.wait_until(lambda: health(url) == (200, "ok\n"), "the second attempt's steps", SCRAPE_S)
