"""The output of a run of Llama 3 70B on a pipe: validations, checkpoints, export,
summary.

One test for each thing that there is to see; the names in brackets are those of the requirements.
"""

import re
from datetime import timedelta

from tests.support.llama_on_64 import PARAMETERS, RANKS, bar
from tests.support.reading import Play, Played, clock, count, printed


def test_each_epoch_ends_in_a_validation(llama: Played) -> None:
    """Start line, bar, loss and perplexity, and whether it is the best so far."""
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
    """bf16 weights, fp32 master weights and two fp32 moments: 14 bytes a parameter."""
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
    """Four bars in this order; shards of whole tensors that add up; the files around them."""
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
