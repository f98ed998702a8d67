"""The kind of fault of a link between nodes: link."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from accelerate_sim.faults.consequences import Death, Ending, FaultLine, SignalEnd, Truth
from accelerate_sim.faults.fault import Value
from accelerate_sim.faults.kind import FaultKind, Key
from accelerate_sim.faults.kinds.link_lines import carrier_lines, lost_link, port_events
from accelerate_sim.faults.occurrence import Occurrence
from accelerate_sim.faults.rank_lines import MOST_LOGGING_RANKS, NOTICED_S, SIGABRT, torch_of, waiter_of
from accelerate_sim.faults.spans import EVER, FaultSpan
from accelerate_sim.faults.words import nccl, nccl_error
from accelerate_sim.faults.words.torch_release import watchdog_lines
from accelerate_sim.sim.timeline import BLOCK

LOSS_COST = 20.0
"""Share of the bandwidth that each share of lost packets costs, as a window is sent again for each."""


def _number(strike: Occurrence, name: str) -> float:
    value = strike.fault[name]
    assert isinstance(value, (int, float))
    return float(value)


def _links(strike: Occurrence) -> list[tuple[int, int]]:
    """(node, link) of each link that is hit; all of a node's where the node is."""
    per_node = strike.run.layout.gpus_per_node
    return list(strike.hit.links) or [(node, link) for node in strike.hit.nodes for link in range(per_node)]


def _ends_of_link(strike: Occurrence, node: int, link: int) -> tuple[int, int] | None:
    """The rank whose adapter it is, and its peer on the next node; None in a job of one node, which does not use it."""
    layout = strike.run.layout
    if layout.nodes == 1:
        return None
    return node * layout.gpus_per_node + link, (node + 1) % layout.nodes * layout.gpus_per_node + link


def _down_s(strike: Occurrence) -> float:
    """Seconds for which a link that flaps is away each time."""
    return strike.fault.lasts.length_s(strike.run.mean_step_s)


def _is_cut(strike: Occurrence) -> bool:
    """True if the link is away for longer than the adapters retry."""
    if strike.fault["action"] == "down":
        return True
    return strike.fault["action"] == "flap" and _down_s(strike) > nccl.retries_s()


def _victims(strike: Occurrence) -> list[tuple[int, int, int]]:
    """(rank, peer, link) of each rank whose requests are not answered, the owners of the links first."""
    pairs = [(link, ends) for node, link in _links(strike) if (ends := _ends_of_link(strike, node, link))]
    found = {rank: (rank, peer, link) for link, (rank, peer) in pairs}
    found |= {peer: (peer, rank, link) for link, (rank, peer) in pairs if peer not in found}
    return list(found.values())


def _link_ending(strike: Occurrence) -> Ending | None:
    victims = _victims(strike) if _is_cut(strike) else []
    if not victims:
        return None
    ended_s = nccl.retries_s() + watchdog_lines(torch_of(strike)).wait_s
    deaths = [
        Death(rank, SignalEnd(SIGABRT), ended_s + waiter_of(strike, rank).noticed_s) for rank, _, _ in victims
    ]  # fmt: skip
    return Ending(tuple(sorted(deaths, key=lambda death: death.after_s)), ended_s + NOTICED_S)


def _link_pace(strike: Occurrence) -> float:
    """Step time over the usual."""
    run, action = strike.run, strike.fault["action"]
    if run.layout.nodes == 1 or _is_cut(strike):
        return 1.0
    if action == "flap":
        times, offset = run.timeline.block((strike.step - 1) // BLOCK), (strike.step - 1) % BLOCK
        return 1.0 + _number(strike, "flaps") * _down_s(strike) / float(times.step_s[offset])
    traffic = 1.0 - run.compute_share
    if action == "loss":
        return 1.0 + traffic * LOSS_COST * _number(strike, "loss") / 100.0
    if action == "bandwidth":
        usual_gbps = run.network.nic_bytes_per_s * 8e-9
        return 1.0 + traffic * max(0.0, usual_gbps / _number(strike, "gbps") - 1.0)
    return 1.0 + 2.0 * (run.layout.nodes - 1) * _number(strike, "ms") / 1000.0 / run.mean_step_s


def _link_lines(strike: Occurrence) -> Iterator[FaultLine]:
    action, warns = strike.fault["action"], strike.fault["debug"] == "WARN"
    if action not in ("down", "flap"):
        return
    per_node, cut = strike.run.layout.gpus_per_node, _is_cut(strike)
    for node, link in _links(strike):
        ranks = [node * per_node + local for local in range(per_node)]
        times = 1 if cut else int(_number(strike, "flaps"))
        for number in range(times):
            begin_s = 2.0 * number * _down_s(strike) if number else 0.0
            yield from carrier_lines(strike, node, link, down=True, after_s=begin_s)
            if warns:
                yield from port_events(strike, ranks, link, "port error", begin_s)
            if action == "flap" and not math.isinf(_down_s(strike)):
                back_s = begin_s + _down_s(strike)
                yield from carrier_lines(strike, node, link, down=False, after_s=back_s)
                if warns and not cut:
                    yield from port_events(strike, ranks, link, "port active", back_s)
    if cut:
        for rank, peer, link in _victims(strike)[:MOST_LOGGING_RANKS]:
            yield from lost_link(strike, rank, peer, link, warns=warns)


def _link_expect(strike: Occurrence) -> Mapping[str, Any]:
    if strike.fault["action"] not in ("down", "flap"):
        return {"kernel": [], "logs": []}
    per_node = strike.run.layout.gpus_per_node
    is_infiniband = strike.run.config.cluster.fabric == "infiniband"
    kernels = [
        {
            "host": strike.host(node * per_node), "within_s": 1.0,
            "regex": f"mlx5_{link}: Port: 1 Link DOWN" if is_infiniband else r"mlx5_core \S+ \S+: Link down",
        }
        for node, link in _links(strike)
    ]  # fmt: skip
    retried_s = nccl.retries_s()
    logs: list[dict[str, Any]] = []
    if _is_cut(strike):
        logs = [
            {"rank": rank, "stream": "stderr", "regex": nccl_error.async_error_sign(rank), "after_s": retried_s,
             "within_s": 1.0, "count": 1}
            for rank, _, _ in _victims(strike)[:MOST_LOGGING_RANKS]
        ]  # fmt: skip
    return {"kernel": kernels, "logs": logs}


def _link_truth(strike: Occurrence) -> Truth:
    node, link = _links(strike)[0]
    root = node * strike.run.layout.gpus_per_node + link
    if strike.fault["action"] == "down":
        return Truth("network", transient=False, action="replace_node", root=root)
    if _is_cut(strike):
        return Truth("network", root=root)
    return Truth("network", action="none", quiet=strike.fault["action"] != "flap", root=root)


def _link_lasts(keys: Mapping[str, Value]) -> FaultSpan:
    return FaultSpan(8.0) if keys["action"] == "flap" else EVER


KINDS = (
    FaultKind(
        name="link", help="a link between nodes is down, flaps, loses packets, or is slow",
        targets=("link", "node"),
        target="link=any",
        keys={
            "action": Key("word", "flap", "What it does; 'for' is the time for which a flap takes it away.",
                          ("down", "flap", "loss", "bandwidth", "delay")),
            "flaps": Key("int", 1, "Flaps, one after the other.", least=1, most=1000),
            "loss": Key("float", 1.0, "Lost packets in per cent.", least=0.0, most=100.0),
            "gbps": Key("float", 100.0, "Bandwidth that is left, in Gbit/s.", least=0.001, most=1e6),
            "ms": Key("float", 1.0, "Delay of each message in milliseconds.", least=0.0, most=1e6),
            "debug": Key("word", "WARN", "NCCL_DEBUG of the job; with NONE NCCL's warnings are not printed.",
                         ("WARN", "NONE")),
        },
        lasts=EVER, lasts_by=_link_lasts, ends=_link_ending, pace=_link_pace, lines=_link_lines,
        truth=Truth("network"), truth_by=_link_truth, expect=_link_expect,
    ),
)  # fmt: skip
