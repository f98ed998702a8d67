"""The plan's section on failures: expected and drawn ones, their cost, and the best checkpoint interval."""

from collections.abc import Iterator
from itertools import islice

from accelerate_sim.config.host_names import host_name
from accelerate_sim.display.plan.rows import Fact, Section
from accelerate_sim.display.units import duration_text
from accelerate_sim.sim.disturbances.faults import PUBLISHED_RATE, FleetFault, FleetFaults
from accelerate_sim.sim.disturbances.goodput import Reliability, young_daly_s
from accelerate_sim.sim.run import Run
from accelerate_sim.sim.whole_run import mean_checkpoint_s

FAULTS_SHOWN = 5
FAULTS_COUNTED = 1000


def faults_section(run: Run) -> Section:
    """The section for the config's failure rate; if that is 0, for the published rate, and the section states that."""
    config, every = run.config.faults, run.config.checkpoint.every
    rate = config.rate or PUBLISHED_RATE
    faults = FleetFaults(run.noise_seed, run.layout.world_size, rate)
    stall_s, run_s = mean_checkpoint_s(run), run.likely_s(run.last_step)
    found = Reliability.of(faults, run_s, run.mean_step_s, every, stall_s, 60.0 * config.restart_minutes)
    source = "faults.rate" if config.rate else "published fleets; this run has none: faults.rate is 0"
    saved = f"checkpoints every {every:,} steps" if every else "no checkpoints"
    return "Failures", [
        Fact("rate", f"{rate:.1e} per GPU-hour ({source})"),
        Fact("between failures", f"{duration_text(found.mtbf_s)} on {run.layout.world_size:,} GPUs"),
        Fact("expected", f"{_number_text(found.interruptions)} interruptions in {duration_text(run_s)} of steps"),
        *(_drawn(run, faults, run_s) if config.rate and config.drawn == "plan" else ()),
        Fact("goodput", f"{_share_text(found.goodput)} with {saved}, {config.restart_minutes:g} min to restart"),
        Fact("best interval", _best_text(run, found, stall_s)),
        Fact("stragglers", _stragglers_text(run)),
    ]


def _drawn(run: Run, faults: FleetFaults, run_s: float) -> Iterator[Fact]:
    """The first faults that fall into this run, with time counted in steps alone."""
    drawn = list(islice(faults.between(0.0, run_s), FAULTS_COUNTED + 1))
    if not drawn:
        yield Fact("drawn", "none falls into this run")
    for number, fault in enumerate(drawn[:FAULTS_SHOWN]):
        step = int(fault.second / run_s * run.last_step) + 1
        text = f"step {step:,} ({duration_text(fault.second)}): {_fault_text(run, fault)}"
        yield Fact("" if number else "drawn", text)
    more = len(drawn) - FAULTS_SHOWN
    if more > 0:
        yield Fact("", f"and {more:,} more" if len(drawn) <= FAULTS_COUNTED else f"and more than {more - 1:,} more")
    yield Fact("", "planned, not played: the run goes on without them")


def _fault_text(run: Run, fault: FleetFault) -> str:
    node, local = divmod(fault.rank, run.layout.gpus_per_node)
    gpu = "" if fault.cause.whole_node else f" GPU {local}"
    xid = "" if fault.xid is None else f", Xid {fault.xid}"
    return f"{host_name(run.config.cluster.host, node)}{gpu}, {fault.cause.name}{xid}"


def _best_text(run: Run, found: Reliability, stall_s: float) -> str:
    steps = f"{found.best_steps:,} step{'s' * (found.best_steps != 1)}"
    interval = f"{duration_text(found.best_steps * run.mean_step_s)} = {steps}"
    if found.best_steps > run.last_step:
        return f"none, as {interval} is longer than the run: {_share_text(found.best_goodput)}"
    young = max(1, round(young_daly_s(stall_s, found.mtbf_s) / run.mean_step_s))
    how = f"{stall_s:.1f} s each; Young/Daly's first approximation: {young:,}"
    return f"{interval} ({how}): {_share_text(found.best_goodput)}"


def _stragglers_text(run: Run) -> str:
    """The share of the step time that hot and slow GPUs cost, and their expected number."""
    longer = run.compute_share * (run.incidents.mean_slowdown - 1.0)
    count = run.incidents.per_step * run.last_step
    where = "" if run.config.impose.step_time_s else ", which is in the sum above"
    share = _share_text(longer / (1.0 + longer))
    return f"{share} of the step time{where}: {_number_text(count)} hot or slow GPUs expected"


def _number_text(count: float) -> str:
    return f"{count:,.0f}" if count >= 10 else f"{count:.2g}"


def _share_text(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "less than 0.1%"
