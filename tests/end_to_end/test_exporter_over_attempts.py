"""The exporter of a job that fails and starts again: its GPUs are empty meanwhile, and are in use afterwards."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from tests.support.http_answers import fetched
from tests.support.played_faults import arguments
from tests.support.warm_train import WarmTrain

EXPORTER = ("--log-with", "prometheus", "--set", "log.prometheus_address=127.0.0.1:0")
SCRAPE_S = 0.05
"""Time between two scrapes, in which the run has the processor."""
PACE = ("--speed", "20", "--set", "run.startup_speed=200", "--set", "faults.restart_minutes=2", "--max-steps", "200000")


def memory_and_use(url: str) -> dict[str, list[float]]:
    """Memory in use and utilization of each GPU, as one scrape says; of none if there is no answer."""
    _, text = fetched(url)
    return {
        name: [float(value) for value in re.findall(rf"^DCGM_FI_DEV_{name}\{{.* (\S+)$", text, re.MULTILINE)]
        for name in ("FB_USED", "GPU_UTIL")
    }


def test_gpus_are_empty_between_two_attempts_and_used_in_both(tmp_path: Path) -> None:
    long_enough = ("--set", "impose.step_time_s=[5, 5]")  # a scrape comes before the fault
    words = [*arguments("kill rank=2 at=step:12"), *EXPORTER, *PACE, *long_enough]
    with WarmTrain(words, dict(os.environ), tmp_path) as process:
        process.read_until("/metrics")
        found = re.search(r"http://\S+/metrics", process.stdout)
        assert found
        url = found[0]

        def are_used() -> bool:
            seen = memory_and_use(url)
            return min(seen["FB_USED"], default=0.0) > 5000 and min(seen["GPU_UTIL"], default=0.0) > 80

        def are_empty() -> bool:
            seen = memory_and_use(url)
            return max(seen["FB_USED"], default=math.inf) < 100 and max(seen["GPU_UTIL"], default=math.inf) < 5

        process.wait_until(are_used, "the first attempt's steps", SCRAPE_S)
        process.wait_until(are_empty, "the pause before the second attempt", SCRAPE_S)
        process.read_until("Attempt 2: the launcher has restarted the job")
        process.wait_until(are_used, "the second attempt's steps", SCRAPE_S)


def health(url: str) -> tuple[int, str]:
    """Status and text of the answer to a probe; status 0 if there is none."""
    return fetched(url.replace("/metrics", "/healthz"))


def test_probes_fail_from_a_fault_on_until_the_next_attempt(tmp_path: Path) -> None:
    pace = ("--speed", "60", "--set", "run.startup_speed=max", "--set", "faults.restart_minutes=2")
    words = [*arguments("hang rank=2 at=step:12"), *EXPORTER, *pace, "--set", "train.epochs=10000"]
    with WarmTrain(words, dict(os.environ), tmp_path) as process:
        process.read_until("/metrics")
        found = re.search(r"http://\S+/metrics", process.stdout)
        assert found
        url = found[0]
        process.wait_until(lambda: health(url) == (200, "ok\n"), "steps", SCRAPE_S)
        process.wait_until(lambda: "the job has stopped" in health(url)[1], "the hang", SCRAPE_S)
        process.wait_until(lambda: health(url) == (200, "ok\n"), "the second attempt's steps", SCRAPE_S)
