"""The output of a run of Llama 3 70B on a pipe: the training and its GPUs.

One test for each thing that there is to see; the names in brackets are those of the requirements.
"""

import itertools
import math
import re

import pytest

from tests.support.llama_on_64 import (
    H100_NIC_BYTES_PER_S,
    H100_NVLINK_BYTES_PER_S,
    LLAMA_3_70B,
    PER_NODE,
    RANKS,
)
from tests.support.reading import Played, clock, count, power_falls, printed

# --- Training -------------------------------------------------------------------------------------


def test_bar_shows_the_step_it_stands_at(llama: Played) -> None:
    """Loss, perplexity, learning rate, tokens/s, elapsed time."""
    events = llama.of("step")
    assert len(llama.bars) >= 3 * 8
    for shown in llama.bars:
        number = (shown.epoch - 1) * 134 + shown.done
        event = events[number - 1]
        assert (shown.epochs, shown.total) == (3, 134)
        assert shown.percent == round(100 * shown.done / 134)
        assert shown.loss == f"{event['loss']:.4f}"
        assert count(shown.rate) == round(event["tokens_per_s"])
        assert printed(shown.ppl).agrees(event["perplexity"])
        assert printed(shown.lr).agrees(event["lr"])
        before = events[number - shown.done]
        assert abs(clock(shown.elapsed) - (event["elapsed_s"] - before["elapsed_s"] + before["step_time_s"])) <= 1


def test_bar_foretells_when_the_epoch_ends(llama: Played) -> None:
    """Time left is steps left at the present pace, and that comes true.

    As tqdm has it, a checkpoint counts towards the pace of the steps right after it.
    """
    steps, saving = llama.of("step"), {event["step"]: event["seconds"] for event in llama.of("checkpoint")}
    for shown in llama.bars:
        left = shown.total - shown.done
        assert abs(clock(shown.eta) - left * shown.step_s) <= 1 + left * 0.005
        number = (shown.epoch - 1) * 134 + shown.done
        if any(number - 12 < step < number for step in saving):
            continue
        really = steps[shown.epoch * 134 - 1]["elapsed_s"] - steps[number - 1]["elapsed_s"]
        pauses = sum(seconds for step, seconds in saving.items() if number <= step < shown.epoch * 134)
        assert clock(shown.eta) == pytest.approx(really - pauses, rel=0.15, abs=2)


def test_loss_falls_as_training_does(llama: Played) -> None:
    """From knowing nothing, fast at first, slower later, with noise that stays the same size."""
    losses = [event["loss"] for event in llama.of("step")]
    assert 0 < losses[0] - math.log(LLAMA_3_70B["vocab"]) < 0.9
    tenth = len(losses) // 10
    means = [sum(losses[start : start + tenth]) / tenth for start in range(0, 10 * tenth, tenth)]
    falls = [before - after for before, after in itertools.pairwise(means)]
    assert all(fall > 0 for fall in falls)
    assert falls[0] > 5 * falls[-1]
    assert 3.0 < means[-1] < 6.5  # runs that stop after some hundred steps end there
    wiggles = [losses[k] - (losses[k - 1] + losses[k + 1]) / 2 for k in range(200, len(losses) - 1)]
    spread = math.sqrt(sum(wiggle**2 for wiggle in wiggles) / len(wiggles) / 1.5)
    assert 0.01 < spread < 0.06  # 0.02 to 0.03 for a million tokens
    assert any(after > before for before, after in itertools.pairwise(losses))


def test_every_tenth_step_has_its_line(llama: Played) -> None:
    """[LOG]"""
    assert [line.step for line in llama.step_lines] == list(range(10, 403, 10))
    events = llama.of("step")
    for line in llama.step_lines:
        event = events[line.step - 1]
        assert line.loss == f"{event['loss']:.4f}"
        assert line.time.isoformat() == event["time"][:19]
        for text, figure in (
            (line.ppl, event["perplexity"]), (line.grad_norm, event["grad_norm"]), (line.lr, event["lr"]),
            (line.rate, event["tokens_per_s"]), (line.mfu.rstrip("%"), 100 * event["mfu"]),
            (line.memory, event["memory_used_bytes"] / 2**30),
        ):  # fmt: skip
            assert printed(text).agrees(figure)


def test_every_line_is_plain_and_known(llama: Played) -> None:
    """[LOG] On a pipe: whole lines without control characters, stamped, of rank 0 unless another one has a reason."""
    assert llama.text.endswith("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", llama.text)
    assert not any(line != line.rstrip() for line in llama.lines)
    assert {line.world for line in llama.log} == {RANKS}
    assert {line.level for line in llama.log} == {"INFO", "WARNING"}
    assert all(line.rank == 0 for line in llama.log if line.level == "INFO")
    times = [line.time for line in llama.log]
    assert times == sorted(times)


def test_collectives_are_timed_now_and_then(llama: Played) -> None:
    """[NCCL] Every 50 to 100 steps; time, bytes and bandwidths agree, and no link carries more than it can."""
    steps = [event["step"] for event in llama.of("nccl")]
    assert all(50 <= after - before <= 100 for before, after in itertools.pairwise(steps))
    timed = list(
        llama.matches(
            r"NCCL (\w+) \((\w+) parallel\) \| ([\d.]+ [kMG]B) over (\d+) ranks, (\d+) nodes? \| "
            r"(?:Ring|NVLS)/(?:LL128|Simple) \| ([\d.]+) ms \| "
            r"algbw ([\d.]+) GB/s \| busbw ([\d.]+) GB/s"
        )
    )
    assert len(timed) == len(steps) >= 4
    for name, axis, size, ranks_text, nodes, ms, algbw, busbw in (each.groups() for each in timed):
        ranks, factor = int(ranks_text), 2.0 if name == "all_reduce" else 1.0
        assert (printed(size) / (printed(ms) * 1e-3)).agrees(printed(algbw) * 1e9)
        assert (printed(algbw) * (factor * (ranks - 1) / ranks)).agrees(printed(busbw))
        if axis == "tensor":
            assert (ranks, nodes) == (8, "1")
            # In a switch that adds up, a GPU sends and receives each byte once.
            assert printed(algbw).high * 1e9 < H100_NVLINK_BYTES_PER_S
        else:
            assert (ranks, nodes) == (8, "8")  # one rank of each node, with a NIC of its own
            assert 0.4 < printed(busbw).high * 1e9 / H100_NIC_BYTES_PER_S < 0.85


def test_warnings_come_from_the_rank_concerned_and_agree_with_the_grid(llama: Played) -> None:
    """[WARN]"""
    warnings = [line for line in llama.log if line.level == "WARNING"]
    assert warnings
    for line, event in zip(warnings, llama.of("warning"), strict=True):
        place = re.match(r"node(\d+) GPU (\d+) ", line.message)
        assert place
        assert line.rank == event["rank"] == PER_NODE * int(place[1]) + int(place[2])
        grid = min(llama.grids, key=lambda grid: abs(grid.step - event["step"]))
        if hot := re.search(r"is at (\d+) C: SM clock lowered to (\d+) of 1980 MHz", line.message):
            celsius = [cell[3] for cell in grid.cells]
            assert int(hot[1]) >= 83  # where Hopper begins to lower its clock
            assert celsius[line.rank] == max(celsius) > sorted(celsius)[-2] + 3
            assert 1980 * 0.85 < int(hot[2]) < 1980
        elif "is slow" in line.message:
            # Those who wait for it are as busy to the eye; its power is the honest signal.
            watts = {grid.step: [cell[4] for cell in grid.cells] for grid in llama.grids}
            assert power_falls(watts, line.rank, event["step"])


def test_warned_of_trouble_slows_everyone(llama: Played) -> None:
    """[WARN] A GPU with a lower clock makes the step longer, by no more than the clock is lower."""
    events = llama.of("step")
    median = sorted(event["step_time_s"] for event in events)[len(events) // 2]
    hot = [event for event in llama.of("warning") if event["kind"] == "hot"]
    for warning in hot:
        step = warning["step"]
        near = sorted(event["step_time_s"] for event in events[step - 3 : step + 4])[3]
        assert 1.005 < near / median < 1980 / warning["figures"]["sm_clock_mhz"] + 0.01


# --- GPUs -----------------------------------------------------------------------------------------


def test_grid_shows_every_gpu_by_node(llama: Played) -> None:
    assert [grid.step for grid in llama.grids] == list(range(10, 403, 10))
    for grid, event in zip(llama.grids, llama.stepping_gpus, strict=True):
        assert len(grid.cells) == RANKS
        assert [label.split()[0] for label in grid.labels if label.startswith("node")] == [f"node{n}" for n in range(8)]
        for cell, util, used, celsius, watts in zip(
            grid.cells, event["utilization_pct"], event["memory_used_bytes"], event["temperature_c"], event["power_w"],
            strict=True,
        ):  # fmt: skip
            shown = (cell[0], cell[1], cell[3], cell[4])
            for figure, value, half in zip(
                shown, (util, used / 2**30, celsius, watts), (0.5, 0.05, 0.5, 0.5), strict=True
            ):
                assert abs(figure - value) <= half + 1e-9
        total = re.search(r"([\d.]+) kW", grid.header)
        assert total
        assert printed(total[1]).agrees(sum(event["power_w"]) / 1e3)


def test_gpus_differ_and_stay_what_they_are(llama: Played) -> None:
    """No two are alike; who is warm at one look is warm at the next; memory stands still."""
    first, second, last = llama.grids[4], llama.grids[5], llama.grids[-1]
    assert len(set(first.cells)) >= RANKS - 2
    celsius = [[cell[3] for cell in grid.cells] for grid in (first, second, last)]
    assert len(set(celsius[0])) >= 6
    assert sorted(abs(a - b) for a, b in zip(celsius[0], celsius[1], strict=True))[-3] <= 2
    warmest, coolest = (sorted(range(RANKS), key=celsius[0].__getitem__)[16 * k : 16 * k + 16] for k in (3, 0))
    assert min(celsius[2][gpu] for gpu in warmest) > sum(celsius[2][gpu] for gpu in coolest) / 16
    memory = [[cell[1] for cell in grid.cells] for grid in (first, last)]
    assert max(abs(a - b) for a, b in zip(*memory, strict=True)) <= 0.1
    assert all(90 <= cell[0] <= 100 for cell in first.cells)
