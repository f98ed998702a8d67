"""Kinds of fault of GPUs: xid, ecc, lost, slow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from accelerate_sim.faults.consequences import Death, Ending, FaultLine, SignalEnd, Truth
from accelerate_sim.faults.fault import Value
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.kinds.slow_gpu import KEYS as SLOW_KEYS
from accelerate_sim.faults.kinds.slow_gpu import expect_slow, slow_pace, slowed
from accelerate_sim.faults.kinds.xid_facts import GONE, XIDS, counted, facts_of
from accelerate_sim.faults.kinds.xid_strike import OFF_THE_BUS, XidStrike, gpu_labels, metric
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import NOTICED_S, draw_of
from accelerate_sim.faults.spans import EVER, FaultSpan
from accelerate_sim.gpu_condition import Condition, ErrorCounts

SIGKILL = 9
ECC_XIDS = {"dbe": 48, "contained": 94, "uncontained": 95}
"""The Xid of each type of memory error; single-bit errors have none."""
REMAPS = ("pending", "failed", "none")


# --- xid ----------------------------------------------------------------------------------------


def _xid(strike: Occurrence) -> XidStrike:
    code, effect, timeout = strike.fault["code"], str(strike.fault["effect"]), strike.fault["timeout"]
    assert isinstance(code, int) and isinstance(timeout, FaultSpan)
    chosen = facts_of(code).effect if effect == "auto" else effect
    body = str(strike.fault["body"])
    return XidStrike(strike, code, chosen, timeout.seconds or 0.0, body)  # type: ignore[arg-type]  # one of the key's choices


def _check_xid(keys: Mapping[str, Value]) -> str | None:
    if keys["code"] in XIDS or keys["body"]:
        return None
    return f"Xid {keys['code']} has no lines here; those that do are {', '.join(map(str, XIDS))}, or give it a body"


def _xid_telemetry(strike: Occurrence, rank: int, now: Condition, after_s: float) -> Condition:
    code = _xid(strike).code
    return facts_of(code).change(now, draw_of(strike, rank))._replace(xid=code)


def _xid_truth(strike: Occurrence) -> Truth:
    return facts_of(_xid(strike).code).truth


# --- ecc ----------------------------------------------------------------------------------------


def _ecc(strike: Occurrence) -> XidStrike | None:
    """The Xid of a memory error; None for single-bit errors, which are corrected."""
    code = ECC_XIDS.get(str(strike.fault["type"]))
    return XidStrike(strike, code, "die") if code else None


def _ecc_ending(strike: Occurrence) -> Ending | None:
    found = _ecc(strike)
    return found.ending() if found else None


def _ecc_lines(strike: Occurrence) -> Iterable[FaultLine]:
    found = _ecc(strike)
    return found.lines() if found else ()


def _ecc_counts(strike: Occurrence) -> ErrorCounts:
    count = strike.fault["count"]
    assert isinstance(count, int)
    match strike.fault["type"]:
        case "sbe":
            return ErrorCounts(dram_corrected=count)
        case "uncontained":
            return ErrorCounts(sram_secded=count)
    return ErrorCounts(dram_uncorrected=count)


def _ecc_telemetry(strike: Occurrence, rank: int, now: Condition, after_s: float) -> Condition:
    found, remap = _ecc(strike), strike.fault["remap"]
    now = counted(now, _ecc_counts(strike))
    if found is None:
        return now
    if remap == "pending":
        now = now._replace(remapping_pending=True)
    elif remap == "failed":
        now = now._replace(remapping_failed=True)
    return now._replace(xid=found.code, recovery_action=now.recovery_action if found.code == 94 else "Reset")


def _ecc_truth(strike: Occurrence) -> Truth:
    found = _ecc(strike)
    return facts_of(found.code).truth if found else Truth("gpu_memory", action="none", quiet=True)


def _ecc_expect(strike: Occurrence) -> Mapping[str, Any]:
    found = _ecc(strike)
    expected: dict[str, Any] = found.expect() if found else {"logs": [], "kernel": [], "metrics": []}
    name = f"DCGM_FI_DEV_ECC_{'DBE' if found else 'SBE'}_VOL_TOTAL"
    counts = _ecc_counts(strike)
    value = counts.uncorrected if found else counts.corrected
    expected["metrics"] += [metric(name, gpu_labels(strike, rank), ">=", value) for rank in strike.hit.ranks]
    return expected


# --- lost ---------------------------------------------------------------------------------------


def _lost_xid(strike: Occurrence) -> XidStrike | None:
    """Xid 79 where the driver notices it; None for a machine that is gone, or a GPU that goes without a line."""
    return XidStrike(strike, OFF_THE_BUS, "die") if strike.fault["xid"] and not strike.hit.nodes else None


def _lost_ending(strike: Occurrence) -> Ending:
    back = strike.fault["back"]
    assert isinstance(back, FaultSpan) and back.seconds is not None
    returns = not math.isinf(back.seconds)
    if strike.hit.nodes:
        deaths = tuple(Death(rank, SignalEnd(SIGKILL)) for rank in strike.hit.ranks)
        ending = Ending(deaths, NOTICED_S, nodes_gone=strike.hit.nodes)
    else:
        ended = XidStrike(strike, OFF_THE_BUS, "die").ending()
        assert ended
        ending = ended
    return replace(ending, restarts=returns, min_restart_s=back.seconds if returns else 0.0)


def _lost_lines(strike: Occurrence) -> Iterator[FaultLine]:
    found = XidStrike(strike, OFF_THE_BUS, "die")
    if not strike.hit.nodes:
        yield from (line for line in found.lines() if strike.fault["xid"] or line.stream != "kernel")


def _lost_telemetry(strike: Occurrence, rank: int, now: Condition, after_s: float) -> Condition:
    now = facts_of(OFF_THE_BUS).change(now, draw_of(strike, rank))
    return now._replace(xid=OFF_THE_BUS if _lost_xid(strike) else now.xid)


def _lost_expect(strike: Occurrence) -> Mapping[str, Any]:
    found = _lost_xid(strike)
    if found:
        return found.expect()
    logs = [] if strike.hit.nodes else XidStrike(strike, OFF_THE_BUS, "die").expect()["logs"]
    absent = [metric("DCGM_FI_DEV_GPU_TEMP", gpu_labels(strike, rank), "absent") for rank in strike.hit.ranks]
    return {"logs": logs, "kernel": [], "metrics": absent}


KINDS = (
    FaultKind(
        name="xid", help="the driver reports an Xid: kernel lines, the CUDA error after it, what monitoring sees",
        targets=("gpu", "rank", "node"),
        target="gpu=any",
        keys={
            "code": Key("int", OFF_THE_BUS, f"Number of the Xid: {', '.join(map(str, XIDS))}.", least=1, most=999),
            "effect": Key("word", "auto", "Fate of the process on the GPU; auto: what follows from the Xid.",
                          ("auto", "none", "die", "hang")),
            "body": Key("text", "", "Text of the kernel line after the code, in place of the driver's own."),
            "timeout": Key("span", FaultSpan(600.0), "Time of the others' watchdog, where the process hangs."),
        },
        check=_check_xid,
        ends=lambda strike: _xid(strike).ending(), lines=lambda strike: _xid(strike).lines(),
        telemetry=_xid_telemetry, truth=Truth("gpu"), truth_by=_xid_truth, expect=lambda strike: _xid(strike).expect(),
    ),
    FaultKind(
        name="ecc", help="errors in a GPU's memory: corrected, or uncorrectable with their Xid and a row to remap",
        targets=("gpu", "rank", "node"),
        target="gpu=any",
        keys={
            "type": Key("word", "dbe", "sbe is corrected; a contained error ends its own process alone.",
                        ("sbe", *ECC_XIDS)),
            "count": Key("int", 1, "Errors at once.", least=1, most=10**9),
            "remap": Key("word", "pending", "State of the row's remapping after an uncorrectable error.", REMAPS),
        },
        ends=_ecc_ending, lines=_ecc_lines, telemetry=_ecc_telemetry, truth=Truth("gpu_memory"), truth_by=_ecc_truth,
        expect=_ecc_expect,
    ),
    FaultKind(
        name="lost", help="a GPU, or a machine with all of its GPUs, is gone from the bus and from monitoring",
        targets=("gpu", "node", "rank"),
        target="gpu=any",
        keys={
            "xid": Key("switch", True, "The driver notices it and reports Xid 79."),
            "back": Key("span", FaultSpan(600.0), "Time until it is back; ever: it never is."),
        },
        ends=_lost_ending, lines=_lost_lines, telemetry=_lost_telemetry, truth=GONE, expect=_lost_expect,
    ),
    FaultKind(
        name="slow", help="a GPU computes more slowly, and all wait for it",
        targets=("gpu", "rank", "node"),
        target="gpu=any",
        keys=SLOW_KEYS, lasts=EVER, pace=slow_pace, telemetry=slowed, truth=Truth("gpu", action="none", quiet=True),
        expect=expect_slow,
    ),
)  # fmt: skip
