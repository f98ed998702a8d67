"""``Accelerator`` and what it hands out, as a training script uses them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fake_torch_dist as dist
from accelerate_sim.accelerator import Accelerator
from accelerate_sim.data_loader import DataLoader, load_dataset
from accelerate_sim.modeling import AutoModelForCausalLM, AutoTokenizer, CausalLM
from accelerate_sim.optimizer import AdamW
from accelerate_sim.records import CheckpointRecord, EvalRecord, GpuRecord, Record, StepRecord, SummaryRecord
from accelerate_sim.session.session import Session
from accelerate_sim.state import PartialState, set_seed

Accelerate = Callable[..., Accelerator]


def built(accelerator: Accelerator) -> tuple[CausalLM, AdamW, DataLoader]:
    """Model, optimizer and training loader, prepared."""
    model = AutoModelForCausalLM.from_pretrained("gpt2")
    loader = DataLoader(load_dataset("fineweb-edu")["train"], batch_size=2)
    prepared: tuple[CausalLM, AdamW, DataLoader] = accelerator.prepare(
        model, AdamW(model.parameters(), lr=1e-4), loader
    )
    return prepared


def take_steps(accelerator: Accelerator, number: int) -> list[float]:
    """Optimizer steps as a script makes them; the mean loss of each."""
    model, optimizer, loader = built(accelerator)
    losses, step_loss = [], 0.0
    for batch in loader:
        with accelerator.accumulate(model):
            loss = model(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
        step_loss += accelerator.reduce(loss, reduction="mean").item() / accelerator.gradient_accumulation_steps
        if accelerator.sync_gradients:
            losses.append(step_loss)
            step_loss = 0.0
            if len(losses) == number:
                break
    return losses


def log_step(accelerator: Accelerator, step: int, loss: float) -> None:
    values = {"loss": loss, "perplexity": math.exp(loss), "grad_norm": 1.0, "lr": 1e-4}
    accelerator.log(values, step=step)


def test_it_is_the_whole_world(accelerate: Accelerate) -> None:
    accelerator = accelerate()
    assert (accelerator.num_processes, accelerator.process_index, accelerator.is_main_process) == (8, 0, True)
    assert dist.get_world_size() == 8


def test_every_rank_has_a_loss_and_a_replica_one_batch(accelerate: Accelerate) -> None:
    accelerator = accelerate()
    model, _, loader = built(accelerator)
    losses = model(**next(iter(loader))).loss.shards.reshape(4, 2)
    assert (losses[:, 0] == losses[:, 1]).all()
    assert len(set(losses[:, 0].tolist())) == 4


def test_mean_over_ranks_and_micro_batches_is_the_runs_loss(accelerate: Accelerate) -> None:
    accelerator = accelerate()
    losses = take_steps(accelerator, 6)
    assert losses == pytest.approx(accelerator.run.block_of(0).loss[:6].tolist(), abs=1e-12)
    assert losses[0] == pytest.approx(math.log(50257), abs=0.7)


def test_gradients_are_shared_on_the_last_micro_batch_of_a_step(accelerate: Accelerate) -> None:
    accelerator = accelerate()
    shared = []
    for _ in range(7):
        with accelerator.accumulate():
            shared.append(accelerator.sync_gradients)
    assert shared == [False, False, True, False, False, True, False]


def test_a_step_takes_its_time(accelerate: Accelerate) -> None:
    """Micro-batches take none of their own; after the optimizer's step the clock stands at the step's end."""
    accelerator = accelerate()
    take_steps(accelerator, 4)
    assert accelerator.completed_steps == 4
    assert accelerator.elapsed_s == pytest.approx(accelerator.run.timeline.step_end_s(3))
    assert accelerator.tokens_per_s == pytest.approx(24 * 1024 / accelerator.run.timing(3).seconds, rel=1e-6)


def test_norm_is_that_before_clipping(accelerate: Accelerate) -> None:
    """As torch returns it."""
    accelerator = accelerate()
    assert accelerator.clip_grad_norm_([], max_norm=1e-3) == accelerator.run.grad_norm_at(0) > 1.0


def test_reduce_leaves_what_it_was_given(accelerate: Accelerate) -> None:
    accelerator = accelerate()
    mine = dist.LocalTensor(np.arange(8.0))
    assert accelerator.reduce(mine, reduction="mean").item() == 3.5
    assert accelerator.reduce(mine).item() == 28.0
    assert mine.shards.tolist() == list(range(8))
    accelerator.wait_for_everyone()


def test_log_tells_a_steps_figures(accelerate: Accelerate, told: list[Record]) -> None:
    accelerator = accelerate(log={"gpu_grid_every": 2})
    for step, loss in enumerate(take_steps(accelerator, 3), 1):
        log_step(accelerator, step, loss)
    records = [record for record in told if isinstance(record, StepRecord)]
    assert [record.step for record in records] == [1, 2, 3]
    assert [record.tokens for record in records] == [24 * 1024 * step for step in (1, 2, 3)]
    assert all(record.perplexity == pytest.approx(math.exp(record.loss), rel=1e-5) for record in records)
    kinds = [type(record).__name__ for record in told]
    loading = ["ModelRecord", "ModelLoadedRecord", "DataRecord"]
    connecting = ["ConnectRecord", "LinkTestRecord", "CheckpointingRecord", "DetectRecord"]
    first = ["StartRecord", *loading, *connecting]
    assert kinds == [*first, "GpuRecord", "StepRecord", "StepRecord", "GpuRecord", "StepRecord"]
    assert [record.phase for record in told if isinstance(record, GpuRecord)] == ["startup", "step"]


def test_best_validation_is_the_lowest_so_far(accelerate: Accelerate, told: list[Record]) -> None:
    accelerator = accelerate()
    for step, loss in ((1, 5.0), (2, 4.0), (3, 4.5), (4, 4.0), (5, 3.9)):
        accelerator.log({"eval_loss": loss, "eval_perplexity": math.exp(loss)}, step=step)
    records = [record for record in told if isinstance(record, EvalRecord)]
    assert [record.best for record in records] == [True, True, False, False, True]


def test_checkpoints_take_their_time_and_the_oldest_go(
    accelerate: Accelerate, told: list[Record], session: Session
) -> None:
    accelerator = accelerate(checkpoint={"keep_last": 2})
    take_steps(accelerator, 1)
    before = session.clock.now_s
    paths = [accelerator.save_state(f"checkpoint-{number}") for number in (1, 2, 3)]
    assert paths == [Path("outputs", "gpt2", f"checkpoint-{number}") for number in (1, 2, 3)]
    records = [record for record in told if isinstance(record, CheckpointRecord)]
    assert {record.bytes for record in records} == {14 * 124_439_808}
    assert session.clock.now_s - before == pytest.approx(sum(record.seconds for record in records))
    assert str(paths[2]) in session.runs.where()
    assert not any(path.exists() for path in paths)


def test_where_it_stands_is_said_in_a_phrase(accelerate: Accelerate, session: Session) -> None:
    accelerator = accelerate()
    assert session.runs.where() == "before the first step"
    losses = take_steps(accelerator, 6)
    log_step(accelerator, 6, losses[-1])
    last = f"epoch 1/2, step 6/6 | loss {losses[-1]:.4f} | 147,456 tokens | no checkpoint"
    assert session.runs.where().startswith(last)


def test_training_ends(accelerate: Accelerate, told: list[Record], session: Session) -> None:
    """With a summary; then the next run can begin, with the next number and seed."""
    accelerator = accelerate()
    log_step(accelerator, 1, take_steps(accelerator, 1)[0])
    accelerator.end_training()
    assert isinstance(told[-1], SummaryRecord)
    assert not dist.is_initialized()
    assert not PartialState().initialized
    following = accelerate()
    assert (following.run.number, following.run.seed) == (2, accelerator.run.seed + 1)


def test_script_and_config_have_to_agree(accelerate: Accelerate) -> None:
    """The script's settings are either those of the plan or refused, with the place to change them."""
    accelerate()
    with pytest.raises(ValueError, match=r"planned|takes"):
        Accelerator(gradient_accumulation_steps=5)
    with pytest.raises(ValueError, match=r"planned|takes"):
        Accelerator(mixed_precision="fp16")
    accelerate()
    with pytest.raises(ValueError, match=r"run\.seed"):
        set_seed(1)
    for refused in (AutoModelForCausalLM, AutoTokenizer):
        with pytest.raises(ValueError, match="gpt2"):
            refused.from_pretrained("llama-3-8b")


def test_nothing_works_without_it() -> None:
    """As in Accelerate, whose words these are."""
    for needs in (
        lambda: AutoModelForCausalLM.from_pretrained("gpt2"),
        lambda: load_dataset("c4"),
    ):
        with pytest.raises(RuntimeError, match="initialize the accelerate state"):
            needs()


def test_a_seed_needs_no_state() -> None:
    """Accelerate's ``set_seed`` seeds Python's and numpy's generators, also before there is an Accelerator."""
    draws = []
    for _ in range(2):
        set_seed(1)
        draws.append((random.random(), np.random.random()))
    assert draws[0] == draws[1]
