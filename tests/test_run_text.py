"""What a viewer reads, from the first line to the last, in a run of Llama 3 70B whose output is a pipe.

One test for each thing that there is to see; the names in brackets are those of the requirements.
"""

import itertools
import math
import re
from datetime import timedelta

import pytest
from reading import Play, Played, clock, count, printed

LLAMA_3_70B = {
    "layers": 80, "hidden": 8192, "heads": 64, "kv heads": 8, "ffn": 28672, "vocab": 128256, "context": 8192,
}  # fmt: skip
PARAMETERS = 70_553_706_496
H100_NIC_BYTES_PER_S = 400e9 / 8
H100_NVLINK_BYTES_PER_S = 450e9
RANKS, NODES, PER_NODE = 64, 8, 8


def bar(run: Played, name: str) -> re.Match[str]:
    """The line that a finished bar leaves behind: (done, total, elapsed)."""
    found = [re.fullmatch(rf"{name}: 100%\|█+\| (\d+)/(\d+) \[([\d:]+)<00:00,.*\]", line) for line in run.lines]
    lines = [line for line in found if line]
    assert lines, f"no finished bar {name!r}"
    assert all(line[1] == line[2] for line in lines)
    return lines[0]


# --- Start-up -------------------------------------------------------------------------------------


def test_model_is_loaded(llama: Played) -> None:
    """[INIT-01] Its figures are Meta's, and its parameters are what they add up to."""
    assert llama.said("Loading model").message == "Loading model meta-llama/Meta-Llama-3-70B (LlamaForCausalLM)"
    shape = llama.architecture()
    assert shape == LLAMA_3_70B
    head = shape["hidden"] // shape["heads"]
    attention = 2 * shape["hidden"] * head * (shape["heads"] + shape["kv heads"])
    layer = attention + 3 * shape["hidden"] * shape["ffn"] + 2 * shape["hidden"]
    total = shape["layers"] * layer + 2 * shape["vocab"] * shape["hidden"] + shape["hidden"]
    said = llama.match(r"Parameters: ([\d,]+) \(([\d.]+B)\) \| weights ([\d.]+ GB) in bf16")
    assert count(said[1]) == total == PARAMETERS
    assert printed(said[2]).agrees(total)
    assert printed(said[3]).agrees(2 * total)


def test_loading_takes_as_long_as_it_says(llama: Played) -> None:
    """[INIT-01]"""
    seconds = float(llama.match(r"Model loaded in ([\d.]+) s\b.*")[1])
    passed = llama.said("Model loaded").time - llama.said("Loading model").time
    assert abs(passed.total_seconds() - seconds) <= 1
    loading = bar(llama, "Loading weights")
    assert int(loading[2]) == 80 * 9 + 3  # a layer has nine matrices and norms; embedding, last norm, head
    assert abs(clock(loading[3]) - seconds) <= 1


def test_tokenizer_is_the_models(llama: Played) -> None:
    """[INIT-02]"""
    said = llama.match(r"Tokenizer: (\S.*?) \| vocabulary ([\d,]+) tokens")
    assert "Llama-3" in said[1]
    assert count(said[2]) == LLAMA_3_70B["vocab"]


def test_batch_and_steps_follow_from_the_layout(llama: Played) -> None:
    """[INIT-03]"""
    dataset = llama.match(r"Dataset: (.+?) \| ([\d,]+) samples \| ([\d,]+) tokens")
    assert dataset[1] == "FineWeb-Edu"
    batch = llama.match(
        r"Batch: global ([\d,]+) sequences = micro batch (\d+) x DP (\d+) x accumulation (\d+) \| "
        r"sequence length ([\d,]+) \| ([\d,]+) tokens a step"
    )
    sequences, micro, replicas, accumulation, length, tokens = map(count, batch.groups())
    assert sequences == micro * replicas * accumulation
    assert tokens == sequences * length
    steps = llama.match(
        r"Steps: ([\d,]+) an epoch x (\d+) epochs \| ([\d,]+) tokens an epoch \| the run reads ([\d.]+) % of .*"
    )
    assert count(steps[1]) == 134
    assert count(steps[3]) == 134 * tokens
    share = 100 * int(steps[2]) * 134 * tokens / count(dataset[3])
    assert printed(steps[4]).agrees(share)


def test_distributed_environment_adds_up(llama: Played) -> None:
    """[INIT-04]"""
    said = llama.match(
        r"Distributed environment: backend (\w+) \| NCCL version (\d+\.\d+\.\d+) \| world size (\d+) \| "
        r"(\d+) nodes x (\d+) GPUs"
    )
    assert said[1] == "nccl"
    assert int(said[3]) == int(said[4]) * int(said[5]) == RANKS
    layout = llama.match(r"Parallel layout: (.*) \((\w+)\)")
    degrees = {name: int(size) for name, size in (each.split() for each in layout[1].split(" x "))}
    assert math.prod(degrees.values()) == RANKS
    assert {"DP", "TP"} <= degrees.keys()
    assert layout[2] == "FSDP"


def test_all_reduce_test_is_what_the_links_allow(llama: Played) -> None:
    """[INIT-04] Time and bandwidths agree; the NICs carry no more than they can, and are not idle either."""
    said = llama.match(
        r"All-reduce test: ([\d.,]+ MB) over (\d+) ranks in ([\d.]+) ms \| "
        r"\w+/\w+ \| algbw ([\d.]+) GB/s \| busbw ([\d.]+) GB/s"
    )
    size, ranks, ms, algbw, busbw = printed(said[1]), int(said[2]), *map(printed, said.groups()[2:])
    assert ranks == RANKS
    assert (size / (ms * 1e-3)).agrees(algbw * 1e9)
    assert (algbw * (2 * (ranks - 1) / ranks)).agrees(busbw)
    # A ring over all nodes leaves each node once; its eight NICs share what that is.
    on_nic = busbw.high * 1e9 * (NODES - 1) / (ranks - 1)
    assert 0.4 < on_nic / H100_NIC_BYTES_PER_S < 0.85


def test_sixteen_gpus_are_listed(llama: Played) -> None:
    """[INIT-05]"""
    assert llama.said("Detected").message == "Detected 64 x NVIDIA H100 80GB HBM3"
    listed = list(llama.matches(r"rank +(\d+) \| node(\d+) GPU (\d+) \| (.+?) \| ([\d.]+) GiB"))
    assert [int(gpu[1]) for gpu in listed] == list(range(16))
    assert all(int(gpu[1]) == PER_NODE * int(gpu[2]) + int(gpu[3]) for gpu in listed)
    assert {(gpu[4], gpu[5]) for gpu in listed} == {("NVIDIA H100 80GB HBM3", "79.6")}
    last = llama.all_said(r"  rank")[-1]
    assert llama.log[llama.log.index(last) + 1].message.strip() == "... and 48 more GPUs"


# --- Training -------------------------------------------------------------------------------------


def test_bar_shows_the_step_it_stands_at(llama: Played) -> None:
    """[TRAIN-02..06] Loss, perplexity, learning rate, tokens/s, elapsed time."""
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
    """[TRAIN-06] Time left is steps left at the present pace, and that comes true.

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
        assert clock(shown.eta) == pytest.approx(really - pauses, rel=0.1, abs=2)


def test_loss_falls_as_training_does(llama: Played) -> None:
    """[TRAIN-07] From knowing nothing, fast at first, slower later, with noise that stays the same size."""
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
            utilization = [cell[0] for cell in grid.cells]
            assert utilization[line.rank] == min(utilization)


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
    """[GPU-01, GPU-02]"""
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
    """[GPU-03, GPU-04] No two are alike; who is warm at one look is warm at the next; memory stands still."""
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


# --- Validation, checkpoints, export --------------------------------------------------------------


def test_each_epoch_ends_in_a_validation(llama: Played) -> None:
    """[VAL-01..03] Start line, bar, loss and perplexity, and whether it is the best so far."""
    begun = llama.all_said(r"Validation after")
    assert [line.fields()[0].split(":")[0] for line in begun] == [
        f"Validation after step {134 * epoch} (epoch {epoch})" for epoch in (1, 2, 3)
    ]
    assert bar(llama, "Validation")
    done = list(llama.matches(r"Validation \| loss (\d\.\d{4}) \| ppl ([\d.,]+) \| ([\d.]+) s \| (.*)"))
    ended = llama.all_said(r"Validation \|")
    losses = [float(line[1]) for line in done]
    assert len(losses) == 3
    for k, (line, start, end) in enumerate(zip(done, begun, ended, strict=True)):
        assert printed(line[1]).exp().agrees(printed(line[2]))
        assert abs((end.time - start.time).total_seconds() - float(line[3])) <= 1
        assert line[4] == ("best so far" if losses[k] == min(losses[: k + 1]) else "not the best so far")
        near = [float(step.loss) for step in llama.step_lines if 134 * (k + 1) - 30 < step.step <= 134 * (k + 1)]
        assert abs(losses[k] - sum(near) / len(near)) < 0.25


def test_checkpoints_have_the_size_and_time_of_a_training_state(llama: Played) -> None:
    """[CKPT-01] bf16 weights, fp32 master weights and two fp32 moments: 14 bytes a parameter."""
    begun = llama.all_said("Saving checkpoint")
    saved = llama.all_said("Checkpoint saved")
    form = r"Checkpoint saved: (\S+) \| ([\d.]+ [GT]B) \| ([\d.]+) s \| ([\d.]+) GB/s"
    assert len(saved) == 402 // 60
    for number, (start, end) in enumerate(zip(begun, saved, strict=True), 1):
        parts = re.search(r"weights ([\d.]+ GB) \+ optimizer ([\d.]+ GB)", start.message)
        said = re.fullmatch(form, end.message)
        assert parts
        assert said
        assert said[1].endswith(f"checkpoint-{60 * number}")
        assert printed(said[2]).agrees(14 * PARAMETERS)
        assert (printed(parts[1]) + printed(parts[2])).agrees(printed(said[2]))
        assert (printed(said[2]) / printed(said[3])).agrees(printed(said[4]) * 1e9)
        assert 5 < float(said[4]) <= 40  # GB/s: what the config's file system takes
        assert abs((end.time - start.time).total_seconds() - float(said[3])) <= 1


def test_only_the_last_checkpoints_are_kept(llama: Played) -> None:
    """[CKPT-02]"""
    told = llama.all_said(r"Checkpoint saved|Deleted old checkpoint")
    kept: list[str] = []
    for line in told:
        path = re.search(r"\S*checkpoint-\d+", line.message)
        assert path
        if line.message.startswith("Deleted"):
            assert path[0] == kept.pop(0)
            assert len(kept) == 3
        else:
            kept.append(path[0])
            assert len(kept) <= 4
    assert kept == [line.message.split()[2] for line in told if "saved" in line.message][-3:]


def test_export_writes_the_model_that_was_trained(llama: Played) -> None:
    """[EXPORT-01] Four bars in this order; shards of whole tensors that add up; the files around them."""
    stages = ("Merging weights", "Optimizing for inference", "Serializing to safetensors", "Writing shards")
    places = [next(k for k, line in enumerate(llama.lines) if line.startswith(stage)) for stage in stages]
    assert places == sorted(places)
    assert all("100%" in llama.lines[place] for place in places)
    files = {found[1]: found[2] for found in llama.matches(r"(\S+\.\w+) \| ([\d.]+ [kMG]?B)")}
    shards = {name: size for name, size in files.items() if name.startswith("model-")}
    number = len(shards)
    assert list(shards) == [f"model-{k:05}-of-{number:05}.safetensors" for k in range(1, number + 1)]
    total = printed("0.0 GB")
    for size in shards.values():
        total = total + printed(size)
        assert printed(size).low < 5e9
    assert total.agrees(2 * PARAMETERS)
    assert files.keys() - shards.keys() == {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "model.safetensors.index.json",
    }  # fmt: skip
    said = llama.match(r"Exported (\d+) weight files \| ([\d.]+ GB)")
    assert int(said[1]) == number
    assert printed(said[2]).agrees(2 * PARAMETERS)


def test_summary_repeats_the_run(llama: Played) -> None:
    """[EXPORT-02]"""
    table, steps = llama.summary, llama.step_lines
    validations = list(llama.matches(r"Validation \| loss (\d\.\d{4}) \| ppl ([\d.,]+) .*"))
    assert (table["Epochs"], table["Steps"]) == ("3", "402")
    assert count(table["Tokens"].split("(")[1].rstrip(")")) == 402 * 128 * 8192
    assert printed(table["Final loss"]).exp().agrees(printed(table["Final perplexity"]))
    assert abs(float(table["Final loss"]) - float(steps[-1].loss)) < 0.1
    best = min(validations, key=lambda said: float(said[1]))
    assert (table["Best loss"].split()[0], table["Best perplexity"].split()[0]) == best.groups()
    passed = llama.log[-1].time - llama.log[0].time
    assert abs(passed - timedelta(seconds=clock(table["Total"]))) <= timedelta(seconds=1)
    utilization = [sum(cell[0] for cell in grid.cells) / RANKS for grid in llama.grids]
    assert printed(table["Mean utilization"].rstrip("%")).agrees(sum(utilization) / len(utilization))
    assert float(table["Peak memory"].split()[0]) == max(cell[1] for grid in llama.grids for cell in grid.cells)
    assert printed(table["Size"]).agrees(2 * PARAMETERS)
    energy, mean = re.findall(r"([\d.]+) k", table["Energy"])
    assert abs(float(energy) - float(mean) * clock(table["Total"]) / 3600) < 0.06 + 0.05 * clock(table["Total"]) / 3600
    assert llama.log[-1].message == f"Training finished successfully. Model: {llama.directory / 'final'}"
    assert llama.lines[-1].endswith(llama.log[-1].message)


def test_next_run_begins(play: Play) -> None:
    """[LOOP] As often as was asked; on a pipe once."""
    twice = play("--config", "configs/debug.yaml", "--runs", "2", "--set", "train.steps_per_epoch=4")
    once = play("--config", "configs/debug.yaml", "--set", "train.steps_per_epoch=4")
    assert len(once.all_said("Training finished")) == 1
    told = [line.message.split()[0] for line in twice.all_said("Loading model|Training finished")]
    assert told == ["Loading", "Training"] * 2
    assert [event["run"] for event in twice.of("start")] == [1, 2]


@pytest.mark.parametrize(
    "start, said", [("checkpoint", "weights of an earlier run"), ("finetune", "pretrained weights")]
)
def test_weights_are_called_what_they_are(play: Play, start: str, said: str) -> None:
    run = play("--config", "configs/debug.yaml", "--set", f"train.start={start}", "--max-steps", "1")
    assert run.match(r"Model loaded in [\d.]+ s \((.*), step 0\)")[1] == said
