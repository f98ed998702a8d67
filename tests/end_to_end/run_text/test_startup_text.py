"""The output of a run of Llama 3 70B on a pipe: the start-up.

One test for each thing that there is to see; the names in brackets are those of the requirements.
"""

import math

import pytest

from tests.support.llama_on_64 import H100_NIC_BYTES_PER_S, LLAMA_3_70B, NODES, PARAMETERS, PER_NODE, RANKS, bar
from tests.support.reading import Play, Played, clock, count, printed


def test_model_is_loaded(llama: Played) -> None:
    """Its figures are Meta's, and its parameters are what they add up to."""
    assert llama.said("Loading model").message == (
        "Loading model meta-llama/Meta-Llama-3-70B (LlamaForCausalLM) | configuration only, weights at random"
    )
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
    """From scratch no published weights are loaded: the first loss is that of random ones."""
    seconds = float(llama.match(r"Model initialized in ([\d.]+) s \(random weights, step 0\)")[1])
    passed = llama.said("Model initialized").time - llama.said("Loading model").time
    assert abs(passed.total_seconds() - seconds) <= 1
    loading = bar(llama, "Initializing weights")
    assert int(loading[2]) == 80 * 9 + 3  # a layer has nine matrices and norms; embedding, last norm, head
    assert abs(clock(loading[3]) - seconds) <= 1


def test_tokenizer_is_the_models(llama: Played) -> None:
    said = llama.match(r"Tokenizer: (\S.*?) \| vocabulary ([\d,]+) tokens")
    assert "Llama-3" in said[1]
    assert count(said[2]) == LLAMA_3_70B["vocab"]


def test_batch_and_steps_follow_from_the_layout(llama: Played) -> None:
    dataset = llama.match(r"Dataset: (.+?) \| ([\d,]+) samples \| ([\d,]+) tokens")
    assert dataset[1] == "FineWeb-Edu, subset sample-141MT"
    batch = llama.match(
        r"Batch: global ([\d,]+) sequences = micro batch (\d+) x DP (\d+) x accumulation (\d+) \| "
        r"sequence length ([\d,]+) \| ([\d,]+) tokens a step"
    )
    sequences, micro, replicas, accumulation, length, tokens = map(count, batch.groups())
    assert sequences == micro * replicas * accumulation
    assert tokens == sequences * length
    steps = llama.match(
        r"Steps: ([\d,]+) an epoch x (\d+) epochs \| ([\d,]+) tokens an epoch \| "
        r"the run reads ([\d.]+) % of .*, (\d+) times"
    )
    assert count(steps[1]) == 134
    assert count(steps[3]) == 134 * tokens
    # An epoch is a pass over the subset, which later epochs read again.
    assert count(dataset[3]) == 134 * tokens
    assert printed(steps[4]).agrees(100 * 134 * tokens / 1.3e12)
    assert steps[5] == steps[2]


def test_distributed_environment_adds_up(llama: Played) -> None:
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
    """Time and bandwidths agree; the NICs carry no more than they can, and are not idle either."""
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
    assert llama.said("Detected").message == "Detected 64 x NVIDIA H100 80GB HBM3"
    listed = list(llama.matches(r"rank +(\d+) \| node(\d+) GPU (\d+) \| (.+?) \| ([\d.]+) GiB"))
    assert [int(gpu[1]) for gpu in listed] == list(range(16))
    assert all(int(gpu[1]) == PER_NODE * int(gpu[2]) + int(gpu[3]) for gpu in listed)
    assert {(gpu[4], gpu[5]) for gpu in listed} == {("NVIDIA H100 80GB HBM3", "79.6")}
    last = llama.all_said(r"  rank")[-1]
    assert llama.log[llama.log.index(last) + 1].message.strip() == "... and 48 more GPUs"


@pytest.mark.parametrize(
    "start, said", [("checkpoint", "weights of an earlier run"), ("finetune", "pretrained weights")]
)
def test_weights_are_called_what_they_are(play: Play, start: str, said: str) -> None:
    run = play("--config", "configs/debug.yaml", "--set", f"train.start={start}", "--max-steps", "1")
    assert run.match(r"Model loaded in [\d.]+ s \((.*), step 0\)")[1] == said


@pytest.mark.parametrize("rate", ["0", "5e-4"])
def test_faults_that_are_only_planned_are_told_of(play: Play, rate: str) -> None:
    """Once, at the start; the steps come as they would."""
    run = play("--config", "configs/debug.yaml", "--max-steps", "2", "--set", f"faults.rate={rate}")
    told = [line.message for line in run.log if line.message.startswith("Faults: ")]
    plan = "Faults: 0.0005 per GPU-hour (faults.rate) are drawn for --plan alone; this run goes on without them"
    assert told == ([plan] if float(rate) else [])
    assert len(run.of("step")) == 2
