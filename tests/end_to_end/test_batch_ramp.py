"""A batch that grows, from the outside: what is printed and what is written agree, step by step."""

import pytest

from tests.support.reading import Play, Played, count


@pytest.fixture(scope="module")
def ramped(play: Play) -> Played:
    """GPT-2 for 50 steps, in which the batch grows from 8 sequences to 64."""
    changes = (
        "train.steps_per_epoch=25",
        "train.micro_batch=2",
        "train.batch_ramp={start: 8, increment: 8, samples: 900}",
    )
    return play("--config", "configs/debug.yaml", *(word for change in changes for word in ("--set", change)))


def test_tokens_add_up(ramped: Played) -> None:
    length, tokens = ramped.start["sequence_length"], 0
    batches = [event["global_batch"] for event in ramped.of("step")]
    for event in ramped.of("step"):
        own = event["global_batch"] * length
        assert event["tokens_per_s"] * event["step_time_s"] == pytest.approx(own, rel=1e-6)
        tokens += own
        assert event["tokens"] == tokens
    assert batches == sorted(batches)
    assert (batches[0], batches[-1], set(batches)) == (8, 64, set(range(8, 72, 8)))
    assert ramped.summary_event["tokens"] == tokens
    said = ramped.match(r"Steps: 25 an epoch x 2 epochs \| ([\d,]+) tokens in all \| .*")
    assert count(said[1]) == tokens


def test_every_growth_is_told_when_it_happens(ramped: Played) -> None:
    found = ramped.matches(
        r"Batch: global ([\d,]+) sequences = micro batch (\d+) x DP (\d+) x accumulation (\d+) from step ([\d,]+) on"
    )
    told = {count(each[5]): count(each[1]) for each in found}
    assert all(count(each[1]) == int(each[2]) * int(each[3]) * int(each[4]) for each in found)
    batches = [event["global_batch"] for event in ramped.of("step")]
    grown = {step + 1: batch for step, batch in enumerate(batches) if step and batch != batches[step - 1]}
    assert told == grown
    first = ramped.match(
        r"Batch ramp: from 8 sequences by 8 at a time over the first 900 samples, 64 from step (\d+) on"
    )
    assert int(first[1]) == max(grown)


def test_small_batches_take_less_time(ramped: Played) -> None:
    seconds = [event["step_time_s"] for event in ramped.of("step")]
    assert max(seconds[5:10]) < min(seconds[-5:])
