"""Everything that faults.jsonl expects of a run, held against what the run has really printed, written and made."""

from __future__ import annotations

import json
import operator
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate_sim.config.load import ConfigSource
from accelerate_sim.faults.planned import run_in_attempt
from accelerate_sim.monitoring.device_agent import DeviceAgent
from accelerate_sim.sim.run import Run
from accelerate_sim.tracking.dcgm_text import DeviceText
from tests.support.played_faults import RUN, FaultyRun

COMPARE = {"==": operator.eq, "<": operator.lt, ">": operator.gt, ">=": operator.ge}
JUST_AFTER_S = 0.01
FAILED = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+) ")
Place = tuple[int, int, str]
"""Attempt, rank and stream."""


def hold_everything(run: FaultyRun, *faults: str) -> None:
    """Fail unless each fact of each strike's ``expect`` is true of the run that played ``faults``."""
    if run.logs:
        hold_lines_of_ranks(run)
    else:
        hold_lines_of_all(run)
    hold_kernel_lines(run)
    hold_ends(run)
    hold_job(run)
    hold_metrics(run, faults)
    hold_transitions(run)


def claimed_lines(run: FaultyRun) -> Iterator[tuple[Place, dict[str, Any]]]:
    for event in run.begun:
        for claim in event["expect"]["logs"]:
            yield (event["attempt"], claim["rank"], claim["stream"]), claim


def number_of(regex: str, text: str) -> int:
    return len(re.findall(regex, text, re.MULTILINE))


def output_by_place(run: FaultyRun) -> dict[Place, str]:
    assert run.logs
    found = {}
    for path in run.logs.glob("node*/*/attempt_*/*/std*.log"):
        node, attempt, local, stream = path.parts[-5], path.parts[-3], path.parts[-2], path.stem
        rank = 2 * int(node.removeprefix("node")) + int(local)
        found[int(attempt.removeprefix("attempt_")), rank, stream] = path.read_text(errors="replace")
    return found


def hold_lines_of_ranks(run: FaultyRun) -> None:
    """Each line is in the log of its rank as often as claimed, and no rank that is silent writes an error."""
    logs, wanted = output_by_place(run), defaultdict[str, Counter[Place]](Counter)
    counted = _counted(run)
    for place, claim in claimed_lines(run):
        wanted[claim["regex"]][place] += claim.get("count", 1)
    for regex, places in wanted.items():
        found = Counter({place: number for place, text in logs.items() if (number := number_of(regex, text))})
        assert found.keys() == places.keys(), regex
        assert regex not in counted or found == places, regex
    loud = {place[:2] for regex in wanted for place in wanted[regex]}
    for event in run.begun:
        for rank in event["expect"]["silent_ranks"]:
            if (event["attempt"], rank) not in loud:
                assert f"[rank{rank}]:" not in logs[event["attempt"], rank, "stderr"], (event["id"], rank)


def hold_lines_of_all(run: FaultyRun) -> None:
    """One process prints each line as often as all ranks together; its first error is of the rank that is named."""
    wanted = Counter[tuple[str, str]]()
    for (_, _, stream), claim in claimed_lines(run):
        wanted[stream, claim["regex"]] += claim.get("count", 1)
    counted = _counted(run)
    for (stream, regex), number in wanted.items():
        found = number_of(regex, run.said(0, 0, stream))
        assert found == number or (regex not in counted and found > number), regex


def _counted(run: FaultyRun) -> set[str]:
    """Expressions all of whose claims say how often they are found."""
    claims = [claim for _, claim in claimed_lines(run)]
    return {each["regex"] for each in claims} - {each["regex"] for each in claims if "count" not in each}


def hold_kernel_lines(run: FaultyRun) -> None:
    wanted = Counter[tuple[str, str]]()
    for event in run.begun:
        for claim in event["expect"]["kernel"]:
            wanted[claim["host"], claim["regex"]] += claim.get("count", 1)
    for (host, regex), number in wanted.items():
        found = number_of(regex, run.kernel(host))
        assert found >= 1 and (found == number or number == 1), (host, regex, found, number)


def hold_ends(run: FaultyRun) -> None:
    """The launcher names an end of each attempt that a rank ends; of several at once, that which it sees first."""
    said = [(int(code), int(local)) for code, local in FAILED.findall(run.stderr)]
    ends = [event["expect"]["exit"] for event in run.begun if event["expect"]["exit"]]
    assert len(said) == len(ends), (said, ends)
    for named, possible in zip(said, ends, strict=True):
        assert named in [(end["code"], end["rank"] % 2) for end in possible], (named, possible)


def hold_job(run: FaultyRun) -> None:
    """Restarts, the step after which the job goes on, and the lost steps are those of metrics.jsonl."""
    made = defaultdict[int, list[int]](list)
    for line in run.metrics.splitlines():
        record = json.loads(line)
        if record["event"] == "step":
            made[record["attempt"]].append(record["step"])
    for event in run.begun:
        if (job := event["expect"].get("job")) is None:
            continue
        number = event["attempt"]
        assert job["restarts"] == number
        if job["resume_step"] is None:
            assert max(made, default=0) <= number
            continue
        completed = max(made[number], default=event["step"] - 1)
        assert job["lost_steps"] == completed - job["resume_step"], event["id"]
        if made[number + 1]:
            assert made[number + 1][0] == job["resume_step"] + 1, event["id"]


def hold_metrics(run: FaultyRun, faults: tuple[str, ...]) -> None:
    """Each sample is what an exporter writes at its time, in the attempt that is played then."""
    changes = [RUN[place + 1] for place, word in enumerate(RUN) if word == "--set"]
    source = ConfigSource.read(Path(RUN[1]), changes).with_faults(faults, "--fault")
    config = source.resolve()
    attempts = 1 + max((event["attempt"] for event in run.begun), default=0)
    limit = config.faults.model_copy(update={"restarts": 100})
    whole = Run(config.model_copy(update={"faults": limit}))
    played = {}
    for event in run.begun:
        for claim in event["expect"]["metrics"]:
            if "labels" not in claim:
                assert _is_in_file(claim, event, run), (event["id"], claim)
                continue
            second = event["elapsed"] + claim.get("after_s", 0.0) + JUST_AFTER_S
            number = event["attempt"]
            job = event["expect"].get("job")
            if job and job["resume_step"] is not None and claim.get("after_s", 0.0) > 0 and number + 1 < attempts + 1:
                number += 1
            if number not in played:
                played[number] = run_in_attempt(whole, number)
            assert _is_true(claim, _scrape(played[number], second)), (event["id"], claim)


def _scrape(run: Run, second: float) -> list[str]:
    record = DeviceAgent(run).read(second, {"startup": 10.0}, 1000.0, 10**6)
    assert record
    return list(DeviceText().lines(record))


def _is_true(claim: dict[str, Any], lines: list[str]) -> bool:
    labels = [f'{name}="{value}"' for name, value in claim["labels"].items()]
    values = [
        float(line.rpartition(" ")[2]) for line in lines
        if line.startswith(claim["name"] + "{") and all(label in line for label in labels)
    ]  # fmt: skip
    if claim["op"] == "absent":
        return not values
    return len(values) == 1 and COMPARE[claim["op"]](values[0], claim["value"])


def _is_in_file(claim: dict[str, Any], event: dict[str, Any], run: FaultyRun) -> bool:
    """True if metrics.jsonl has the figure; that of one rank is not there."""
    records = [json.loads(line) for line in run.metrics.splitlines()]
    if claim["name"] == "checkpoint.seconds":
        seconds = [record["seconds"] for record in records if record["event"] == "checkpoint"]
        return bool(max(seconds) > 0.7 * claim["value"] * min(seconds))
    steps = {each["step"]: each for each in records if each["event"] == "step" and each["attempt"] == event["attempt"]}
    first, last = claim.get("steps", [event["step"]] * 2)
    found = [steps[step].get(claim["name"]) for step in range(first, last + 1)]
    match claim["op"]:
        case "is_nan":
            return found == [None] * len(found)
        case "eq":
            return found == [claim["value"]] * len(found)
        case "rises_by":
            before = steps.get(first - 1, {}).get(claim["name"])
            return before is None or found[0] > before
    return claim["of"] == "rank"


def hold_transitions(run: FaultyRun) -> None:
    """Each strike has its changes in their order: begin, symptom, detected, end, and recovered if the job goes on."""
    changes = defaultdict[tuple[str, int], dict[str, float]](dict)
    for event in run.events:
        if event.get("state") not in ("planned", "skipped") and "id" in event:
            changes[event["id"], event["occurrence"]][event["state"]] = event["elapsed"]
    order = ["begin", "symptom", "detected", "end", "recovered"]
    for event in run.begun:
        found = changes[event["id"], event["occurrence"]]
        assert list(found) == [state for state in order if state in found], event["id"]
        times = list(found.values())
        assert times == sorted(times), event["id"]
        if job := event["expect"].get("job"):
            assert {"detected", "end"} <= set(found)
            assert ("recovered" in found) == (job["resume_step"] is not None), event["id"]
