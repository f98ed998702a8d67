"""Puts pictures and figures of a run, or of a plan alone, on one HTML page that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from accelerate_sim.display.units import bytes_text, count_text, duration_text, energy_text, mfu_text, rate_text
from accelerate_sim.report import cluster_pictures as cluster
from accelerate_sim.report import plan_pictures as plan
from accelerate_sim.report import training_pictures as training
from accelerate_sim.report.drawing import style
from accelerate_sim.report.history import RunHistory
from accelerate_sim.sim.run import Run

USD_PER_GPU_HOUR = 2.5
"""Price of an hour of one GPU unless the caller names another; a round figure of the H100 rents of 2025."""
SIMULATED = "Everything on this page is simulated by fake-torchrun: no GPU took part."
HOSTS_NAMED = 8
"""Most hosts, or spans of ranks, that the table names for a fault."""
Facts = Iterable[tuple[str, str]]
Named = Callable[[str], str]
"""A function that replaces the names of models and products in a text."""


def run_page(history: RunHistory, usd_per_gpu_hour: float = USD_PER_GPU_HOUR, named: Named = str) -> str:
    """The page of a run that has made at least one step. Raises ValueError for one that has not."""
    if not history.steps:
        raise ValueError("the run has not made a step yet")
    with style():
        return _run_page(history, usd_per_gpu_hour, named)


def _run_page(history: RunHistory, usd_per_gpu_hour: float, named: Named) -> str:
    run = history.run
    parts = [
        _heading("Training"),
        _grid(
            [
                _figure("Loss and perplexity", training.loss_picture(history)),
                _figure("Learning rate and gradient norm", training.schedule_picture(history)),
                _figure("Throughput", training.throughput_picture(history)),
                _figure("Time of a step", training.step_time_picture(history)),
            ]
        ),
        _heading("Cluster"),
        _grid([_figure("What happened when", cluster.timeline_picture(history)), *_gpu_figures(history)]),
        *_fault_table(history),
        *_plan_parts(run),
    ]
    facts = _facts(run_facts(history, usd_per_gpu_hour), named)
    lead = f"Started {history.start['start_time']}, seed {run.seed}. "
    return _page(run, f"Run {run.number}", [facts, *parts], lead, named)


def plan_page(run: Run, named: Named = str) -> str:
    """The page of a plan alone: nothing of it has been played."""
    rate = run.layout.tokens_per_step / run.mean_step_s
    facts = [
        *_cluster_facts(run),
        ("step", f"{run.mean_step_s:,.3f} s, {rate_text(rate)}, MFU {mfu_text(run.mfu(rate))}"),
        ("steps", f"{run.last_step:,}, about {duration_text(run.expected_s(run.last_step))}"),
        ("checkpoint", bytes_text(run.checkpoint_bytes)),
        ("exported model", bytes_text(run.export_bytes)),
    ]
    with style():
        return _page(run, "Plan", [_facts(facts, named), *_plan_parts(run)], "", named)


def run_facts(history: RunHistory, usd_per_gpu_hour: float) -> Facts:
    """The figures of a run in words: how far it is, its speed, its energy and its cost."""
    run, last = history.run, history.steps[-1]
    spent_s = float(np.nansum(history.figures("step_time_s")))
    seconds = history.summary["total_time_s"] if history.summary else last["elapsed_s"] + history.start["startup_s"]
    gpu_hours = run.layout.world_size * seconds / 3600.0
    cost = gpu_hours * usd_per_gpu_hour
    rate = float(np.sum(history.figures("step_time_s") * history.figures("tokens_per_s"))) / spent_s
    yield from _cluster_facts(run)
    yield "steps", f"{int(last['step']):,} of {run.last_step:,}" + ("" if history.summary else ", not finished")
    yield "tokens", f"{count_text(int(last['tokens']))} ({int(last['tokens']):,})"
    if last["loss"] is None:
        yield "loss", "no number after the last step"
    else:
        yield "loss", f"{last['loss']:.4f} after the last step, perplexity {last['perplexity']:,.2f}"
    validated = [each for each in history.validations if each["loss"] is not None]
    if validated:
        best = min(validated, key=lambda each: float(each["loss"]))
        yield "best validation", f"{best['loss']:.4f} after step {int(best['step']):,}"
    yield "throughput", f"{rate_text(rate)}, MFU {mfu_text(run.mfu(rate))}"
    lost = len(history.steps) - len({int(step["step"]) for step in history.steps})
    if lost:
        yield "steps made again", f"{lost:,} in {int(history.attempts.max()) + 1} attempts"
    yield "time", duration_text(seconds)
    if history.summary:
        yield "energy", energy_text(history.summary["energy_j"])
    spent = f"{gpu_hours:,.{1 if gpu_hours >= 1.0 else 3}f} GPU-hours"
    yield "cost", f"{spent}, ${cost:,.{0 if cost >= 10.0 else 2}f} at ${usd_per_gpu_hour:g} each"


def _cluster_facts(run: Run) -> Facts:
    layout = run.layout
    degrees = f"DP {layout.data:,} × TP {layout.tensor} × PP {layout.pipeline} × CP {layout.context}"
    degrees += f", EP {layout.expert}" if layout.expert > 1 else ""
    yield "model", f"{run.model.title}, {count_text(run.model.architecture.parameters)} parameters"
    yield "cluster", f"{layout.world_size:,} × {run.gpu.product}, {layout.nodes:,} nodes of {layout.gpus_per_node}"
    yield "layout", degrees
    yield (
        "memory",
        f"{run.memory_per_gpu_bytes / 2**30:.1f} of {run.gpu.memory_bytes / 2**30:.1f} GiB on the fullest GPU",
    )


def _gpu_figures(history: RunHistory) -> list[str]:
    if not any(look["elapsed_s"] >= 0.0 for look in history.looks):
        return []
    per = "of every GPU" if cluster.has_every_gpu(history) else "over all GPUs"
    return [
        _figure("Memory of the fullest GPU", cluster.memory_picture(history)),
        _figure(f"Temperature {per}", cluster.heat_picture(history, "temperature_c", "°C", "inferno")),
        _figure(f"Power {per}", cluster.heat_picture(history, "power_w", "W", "viridis")),
    ]


def _fault_table(history: RunHistory) -> list[str]:
    """The faults that were played, with what is true of each; nothing for a run without any."""
    rows = []
    for each in cluster.fault_begins(history):
        truth = each.get("truth") or {}
        target = each.get("target") or {}
        where = _place(target)
        action = str(truth.get("action", ""))
        cells = (each["id"], each["kind"], f"{int(each['step']):,}", duration_text(each["elapsed"]), where, action)
        rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + "</tr>")
    if not rows:
        return []
    names = ("fault", "kind", "step", "after", "target", "right action")
    head = "<tr>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"
    table = f'<div class="facts scroll"><table>{head}{"".join(rows)}</table></div>'
    return [_heading("Faults, as they really were"), table]


def _place(target: Mapping[str, Any]) -> str:
    """The ranks and machines that a fault hits."""
    if target.get("job"):
        return "the whole job"
    ranks, hosts = target.get("ranks") or (), [str(node["host"]) for node in target.get("nodes") or ()]
    parts = [f"rank{'s' * (len(ranks) > 1)} {_spans(ranks)}"] if ranks else []
    if hosts:
        parts.append(f"on {' '.join(hosts[:HOSTS_NAMED])}" + (" ..." if len(hosts) > HOSTS_NAMED else ""))
    return " ".join(parts)


def _spans(numbers: Sequence[int]) -> str:
    """Rising numbers, those of neighbours as a span: 0-7 9."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in spans[:HOSTS_NAMED]]
    return " ".join(shown) + (" ..." if len(spans) > HOSTS_NAMED else "")


def _plan_parts(run: Run) -> list[str]:
    bubble = plan.bubble_picture(run)
    share = run.step_parts.pipeline_bubble / run.step_parts.total
    figures = [
        _figure("Where the time of a step goes", plan.step_parts_picture(run)),
        _figure("Where the memory goes", plan.memory_parts_picture(run)),
        _figure("Who talks to whom", plan.groups_picture(run.layout), _groups_note(run)),
    ]
    if bubble:
        note = f"Blue forward, green backward, gaps idle: the bubble is {share:.1%} of a step."
        if (chunks := run.layout.virtual_stages) > 1:
            note += f" Drawn without the {chunks} virtual stages of each GPU, which divide the idle time by {chunks}."
        figures.append(_figure("The pipeline", bubble, note))
    return [_heading("Plan"), _grid(figures)]


def _groups_note(run: Run) -> str:
    note = "Ranks of one colour form a group."
    most = max(int(number.max()) + 1 for number in plan.group_numbers(run.layout).values())
    return note if most <= plan.COLORS else f"{note} Of more than {plan.COLORS} groups some share a colour."


def _page(run: Run, what: str, parts: Iterable[str], lead: str, named: Named) -> str:
    title = f"{what}: {run.model.title} on {run.layout.world_size:,} × {run.gpu.product}"
    template = Template(files("accelerate_sim.report").joinpath("page.html").read_text("utf-8"))
    return template.substitute(title=escape(named(title)), lead=escape(lead + SIMULATED), body="\n".join(parts))


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _grid(figures: Iterable[str]) -> str:
    return f'<div class="grid">{"".join(figures)}</div>'


def _figure(title: str, svg: str, note: str = "") -> str:
    caption = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    labelled = svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    return f"<figure><strong>{escape(title)}</strong>{labelled}{caption}</figure>"


def _facts(facts: Facts, named: Named) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(named(text))}</dd>" for name, text in facts)
    return f'<dl class="facts">{rows}</dl>'
