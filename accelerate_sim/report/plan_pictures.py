"""Pictures of a plan: where a step's time and a GPU's memory go, which ranks communicate, and the pipeline's bubble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from accelerate_sim.report.drawing import BLUE, GREEN, MUTED, Picture, whole_numbers
from accelerate_sim.sim.layout import Layout
from accelerate_sim.sim.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

NODES_SHOWN = 32
COLORS = 20
"""Colours of groups; of more groups every twentieth has the same one."""
MICRO_BATCHES_SHOWN = 16
NAMES = {
    "matmul": "matrix products", "attention": "attention", "elementwise": "norms, activations",
    "recompute": "recomputation", "tensor_comm": "TP communication", "context_comm": "CP communication",
    "expert_comm": "EP communication", "pipeline_comm": "PP communication", "pipeline_bubble": "pipeline bubble",
    "data_comm": "DP communication", "optimizer": "optimizer", "launch": "waiting for host",
    "other": "stragglers, rest",
}  # fmt: skip


def step_parts_picture(run: Run) -> str:
    """Milliseconds of one step by cause, the largest first."""
    parts = {NAMES.get(name, name): seconds for name, seconds in run.step_parts.parts().items() if seconds > 0.0}
    return _bars("parts", {name: 1e3 * value for name, value in parts.items()}, "milliseconds of a step")


def memory_parts_picture(run: Run) -> str:
    """GiB of the fullest GPU by use, the largest first."""
    parts = {
        name.replace("_", " "): value / 2**30
        for name, value in vars(run.memory).items()
        if isinstance(value, (int, float))
    }
    return _bars("memoryparts", {name: value for name, value in parts.items() if value > 0.005}, "GiB of a GPU")


def _bars(name: str, values: dict[str, float], unit: str) -> str:
    ordered = sorted(values.items(), key=lambda item: -item[1])
    total = sum(values.values())
    picture = Picture(name, 0.7 + 0.27 * len(ordered))
    axes = picture.axes
    axes.barh(range(len(ordered)), [value for _, value in ordered], color=BLUE, height=0.65)
    for row, (_, value) in enumerate(ordered):
        axes.text(value, row, f" {_short(value)} ({value / total:.0%})", va="center", fontsize=8.0, color=MUTED)
    axes.set_yticks(range(len(ordered)), [label for label, _ in ordered])
    axes.set_xlim(0.0, 1.3 * ordered[0][1])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(unit)
    return picture.svg()


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.3g}"


def groups_picture(layout: Layout) -> str:
    """The groups of ranks that communicate with each other: a row a node, a square a GPU, a colour a group."""
    groups = group_numbers(layout)
    nodes = min(layout.nodes, NODES_SHOWN)
    picture = Picture("groups", 0.9 + max(0.9, min(3.6, 0.18 * nodes)), columns=len(groups))
    for axes, (name, number) in zip(picture.all, groups.items(), strict=True):
        axes.imshow(
            number.reshape(layout.nodes, -1)[:nodes] % COLORS, cmap="tab20", vmin=0, vmax=COLORS - 1, aspect="auto",
            interpolation="nearest",
        )  # fmt: skip
        axes.grid(visible=False)
        size = int(np.count_nonzero(number == number[0]))
        count = int(number.max()) + 1
        axes.set_title(f"{name}\n{count:,} group{'s' * (count > 1)} of {size:,}", fontsize=7.0)
        axes.set_xlabel("GPU")
        whole_numbers(axes.xaxis, axes.yaxis)
    picture.axes.set_ylabel("node" if nodes == layout.nodes else f"node (first {nodes} of {layout.nodes:,})")
    return picture.svg()


def group_numbers(layout: Layout) -> dict[str, NDArray[np.int64]]:
    """The number of the group of every rank, for each kind of group that has more than one rank: [ranks]."""
    rank = np.arange(layout.world_size)
    inner = layout.tensor * layout.context
    kinds = {
        "tensor": (layout.tensor, rank // layout.tensor),
        "context": (layout.context, rank // inner * layout.tensor + rank % layout.tensor),
        "expert": (layout.expert, rank // layout.expert),
        "data": (layout.data, rank // layout.stage_stride * inner + rank % inner),
        "pipeline": (layout.pipeline, rank % layout.stage_stride),
    }
    several = {name: number for name, (size, number) in kinds.items() if size > 1}
    return several or {"data": rank * 0}


def bubble_picture(run: Run) -> str | None:
    """Forward and backward passes of one pipeline over time, one after the other as 1F1B orders them.

    None for a model that is not cut into stages. The order is that of Narayanan et al. 2021, without virtual stages; a
    backward pass takes twice as long as a forward pass.
    """
    stages, count = run.layout.pipeline, min(run.layout.accumulation, MICRO_BATCHES_SHOWN)
    if stages == 1:
        return None
    picture = Picture("bubble", 0.9 + min(3.0, 0.22 * stages))
    axes = picture.axes
    for stage, passes in enumerate(one_f_one_b(stages, count)):
        for forward in (True, False):
            spans = [(begin, length) for is_forward, begin, length in passes if is_forward is forward]
            color = BLUE if forward else GREEN
            axes.broken_barh(spans, (stage - 0.4, 0.8), facecolors=color, edgecolors="none", alpha=0.8)
    axes.set_yticks(range(stages) if stages <= 16 else range(0, stages, stages // 8))
    axes.invert_yaxis()
    axes.set_ylabel("stage")
    more = f", first {count} of {run.layout.accumulation:,} micro-batches" if count < run.layout.accumulation else ""
    axes.set_xlabel(f"time in forward passes{more}")
    axes.grid(visible=False)
    return picture.svg()


def one_f_one_b(stages: int, micro_batches: int) -> list[list[tuple[bool, float, float]]]:
    """(is forward, begin, length) of each pass of every stage, in units of a forward pass."""
    ends: dict[tuple[bool, int, int], float] = {}
    orders = [_order(stage, stages, micro_batches) for stage in range(stages)]
    free, place = [0.0] * stages, [0] * stages
    passes: list[list[tuple[bool, float, float]]] = [[] for _ in range(stages)]
    while any(place[stage] < len(orders[stage]) for stage in range(stages)):
        for stage in range(stages):
            while place[stage] < len(orders[stage]):
                forward, batch = orders[stage][place[stage]]
                before = _waits_for(forward, stage, stages, batch)
                if before is not None and before not in ends:
                    break
                begin = max(free[stage], ends[before] if before else 0.0)
                length = 1.0 if forward else 2.0
                free[stage] = ends[forward, stage, batch] = begin + length
                passes[stage].append((forward, begin, length))
                place[stage] += 1
    return passes


def _order(stage: int, stages: int, count: int) -> list[tuple[bool, int]]:
    """The passes of a stage: a few forward ones, then one forward and one backward by turns, then the rest."""
    warm = min(count, stages - stage - 1)
    order = [(True, batch) for batch in range(warm)]
    for batch in range(count - warm):
        order += [(True, warm + batch), (False, batch)]
    return order + [(False, batch) for batch in range(count - warm, count)]


def _waits_for(forward: bool, stage: int, stages: int, batch: int) -> tuple[bool, int, int] | None:
    """The pass that must have ended before this one begins; None for the first forward pass."""
    if forward:
        return (True, stage - 1, batch) if stage else None
    return (False, stage + 1, batch) if stage < stages - 1 else (True, stage, batch)
