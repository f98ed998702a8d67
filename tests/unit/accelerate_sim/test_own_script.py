"""An ``Accelerator`` without a config: what a user's own script calls, in a process that plays all ranks."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelerate_sim.utils as utilities
from accelerate_sim import Accelerator, DataLoader, GradientState, PartialState
from accelerate_sim.own_script.trackers import GeneralTracker
from accelerate_sim.session.session import Session
from fake_torch_dist import LocalTensor
from fake_torch_dist.core.local_tensor import LocalTensor as Shards
from tests.support.fast_debug import fast_debug

RANKS = 4


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The debug config's 4 ranks in this process; nothing is left of them."""
    monkeypatch.setenv("ACCELERATE_SIM_CONFIG", "debug")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    yield
    PartialState().end()
    GradientState._reset_state()
    Session._current = None


@pytest.fixture
def no_waiting(world: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same ranks without the time that the start of a run takes."""
    monkeypatch.setenv("ACCELERATE_SIM_CONFIG", str(fast_debug(tmp_path)))


def ranks(*values: Any) -> LocalTensor:
    return LocalTensor.from_ranks(np.array(values))


def test_a_state_alone_enters_the_world() -> None:
    state = PartialState()
    assert (state.num_processes, state.process_index, str(state.device)) == (RANKS, 0, "cuda:0")
    assert repr(state).startswith(
        "Distributed environment: DistributedType.MULTI_GPU  Backend: nccl\nNum processes: 4\n"
    )


def test_accelerators_share_the_end_of_a_step(no_waiting: None) -> None:
    first, later = Accelerator(), Accelerator()
    first.gradient_accumulation_steps = 2
    ends = []
    for _ in range(4):
        with first.accumulate():
            ends.append((first.sync_gradients, later.sync_gradients, first.gradient_state.sync_gradients))
    assert ends == [(False,) * 3, (True,) * 3] * 2


def test_gathered_tensors_are_the_same_on_every_rank() -> None:
    accelerator = Accelerator()
    gathered = accelerator.gather({"x": ranks(0, 1, 2, 3), "y": np.array([7, 8])})
    assert gathered["x"].shards.tolist() == [[0, 1, 2, 3]] * RANKS
    assert gathered["y"].tolist() == [7, 8] * RANKS
    assert accelerator.reduce(ranks(0.0, 1.0, 2.0, 3.0), "mean").item() == 1.5
    assert accelerator.pad_across_processes(np.ones((2, 2))).shape == (2, 2)
    with pytest.raises(TypeError, match="Unsupported types"):
        accelerator.gather([1])


def test_one_process_is_every_rank() -> None:
    accelerator = Accelerator()
    assert accelerator.is_main_process and accelerator.is_last_process and accelerator.is_local_main_process
    assert accelerator.on_process(lambda: "here", process_index=3)() == "here"
    assert accelerator.on_last_process(lambda: "here")() == "here"


def test_a_number_is_rank_zeros_in_a_script_and_an_error_elsewhere() -> None:
    accelerator = Accelerator()
    losses = ranks(1.0, 2.0, 3.0, 4.0)
    assert losses.item() == 1.0
    assert np.exp(losses).shards[3] == np.exp(4.0)
    assert np.asarray(accelerator.gather(losses)).tolist() == [1.0, 2.0, 3.0, 4.0]
    with pytest.raises(TypeError, match=r"np\.concatenate has no meaning"):
        np.concatenate([losses, losses])
    accelerator.end_training()
    with pytest.raises(ValueError, match="the ranks disagree"):
        losses.item()
    with pytest.raises(TypeError):
        np.exp(losses)


def test_each_rank_reads_its_batches_and_repetitions_are_dropped(no_waiting: None) -> None:
    accelerator = Accelerator()
    loader = accelerator.prepare(DataLoader(range(9), batch_size=2))
    seen = [(batch.shards.tolist(), accelerator.gather_for_metrics(batch).tolist()) for batch in loader]
    assert seen[0] == ([[0, 1], [2, 3], [4, 5], [6, 7]], [0, 1, 2, 3, 4, 5, 6, 7])
    assert seen[1] == ([[8, 0], [1, 2], [3, 4], [5, 6]], [8])
    assert len(loader) == 2


def test_uneven_batches_are_refused_with_the_way_out(no_waiting: None) -> None:
    accelerator = Accelerator()
    accelerator.even_batches = False
    loader = accelerator.prepare(DataLoader(range(9), batch_size=2))
    with pytest.raises(ValueError, match="only 1 of 4 ranks have a batch left"):
        list(loader)


class Sealed:
    """A model to which nothing can be attached."""

    __slots__ = ()

    def __call__(self, batch: Any) -> Any:
        return batch


class OwnLoader:
    """A loader that is just an iterable with a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter([np.array([number]) for number in range(8)])

    def __len__(self) -> int:
        return 8


def test_objects_of_a_user_survive_prepare(no_waiting: None) -> None:
    accelerator = Accelerator()
    model, rows, text = Sealed(), [1, 2], "text"
    prepared = accelerator.prepare(model, rows, text, OwnLoader(), None)
    assert prepared[:3] == (model, rows, text) and prepared[4] is None
    assert [batch.shards.ravel().tolist() for batch in prepared[3]] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert accelerator.unwrap_model(model) is model
    assert accelerator.free_memory(model, rows) == [None, None]


def test_work_is_shared_in_the_order_of_the_ranks() -> None:
    accelerator = Accelerator()
    with accelerator.split_between_processes(["a", "b", "c", "d", "e"]) as share:
        results = [entry.upper() for entry in share]
    assert utilities.gather_object(results) == ["A", "B", "C", "D", "E"]
    assert utilities.gather_object(["x"]) == ["x"] * RANKS
    with accelerator.split_between_processes(np.arange(6), apply_padding=True) as share:
        assert share.shards.tolist() == [[0, 1], [2, 3], [4, 5], [5, 5]]
    with pytest.raises(ValueError, match="apply_padding=True"), accelerator.split_between_processes(np.arange(6)):
        pass


def test_names_without_meaning_say_so() -> None:
    accelerator = Accelerator()
    with pytest.raises(AttributeError, match="scaler has no meaning here: losses are not scaled"):
        _ = accelerator.scaler
    with pytest.raises(AttributeError, match="has no 'nonsense'"):
        _ = accelerator.nonsense
    with pytest.raises(NotImplementedError, match="--plan"):
        accelerator.profile()
    with pytest.raises(AttributeError, match=r"utils\.DeepSpeedPlugin has no meaning here"):
        _ = utilities.DeepSpeedPlugin
    with pytest.raises(AttributeError, match="has no 'nonsense'"):
        _ = utilities.nonsense
    with pytest.raises(ValueError, match="fsdp_plugin: the config of the run says so"):
        Accelerator(fsdp_plugin=object())
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        Accelerator(nonsense=1)


def test_every_name_of_utils_is_there() -> None:
    for name in utilities.__all__:
        assert getattr(utilities, name) is not None


def test_hooks_and_registered_objects_belong_to_a_checkpoint(tmp_path: Path) -> None:
    class Counter:
        number = 3

        def state_dict(self) -> dict[str, int]:
            return {"number": self.number}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.number = state["number"]

    accelerator, counter, calls = Accelerator(), Counter(), []
    accelerator.register_for_checkpointing(counter)
    kept = accelerator.register_save_state_pre_hook(lambda models, weights, directory: calls.append(directory))
    accelerator.save_state(str(tmp_path / "first"))
    kept.remove()
    counter.number = 9
    accelerator.load_state(tmp_path / "first")
    assert (counter.number, calls) == (3, [str(tmp_path / "first")])
    with pytest.raises(ValueError, match="state_dict"):
        accelerator.register_for_checkpointing(1)
    with pytest.raises(ValueError, match="folder does not exist"):
        accelerator.load_state(tmp_path / "second")


def test_a_script_that_logs_reads_where_its_states_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    accelerator = Accelerator()
    with caplog.at_level("INFO"):
        accelerator.save_state(str(tmp_path / "first"))
        accelerator.load_state(tmp_path / "first")
    texts = [line.getMessage() for line in caplog.records]
    assert texts == [f"Saving current state to {tmp_path / 'first'}", f"Loading states from {tmp_path / 'first'}"]


def test_automatic_checkpoints_are_numbered_and_limited(tmp_path: Path) -> None:
    project = utilities.ProjectConfiguration(str(tmp_path), automatic_checkpoint_naming=True, total_limit=2)
    accelerator = Accelerator(project_config=project)
    for _ in range(3):
        accelerator.save_state()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["checkpoint_1", "checkpoint_2"]
    assert accelerator.save_iteration == 3


def test_a_tracker_of_the_users_own() -> None:
    class Kept(GeneralTracker):
        name = "kept"

        def __init__(self) -> None:
            self.lines: list[Any] = []

        def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
            self.lines.append((step, values))

    tracker = Kept()
    accelerator = Accelerator(log_with=tracker)
    accelerator.init_trackers("project")
    accelerator.log({"accuracy": 0.5}, step=3)
    assert accelerator.get_tracker("kept") is tracker
    assert tracker.lines == [(3, {"accuracy": 0.5})]
    with pytest.raises(ValueError, match="wandb is not there for a script's own figures"):
        Accelerator(log_with="wandb")


def test_printing_is_pythons(capsys: pytest.CaptureFixture[str]) -> None:
    Accelerator().print("a", 1, sep="-")
    assert capsys.readouterr().out == "a-1\n"
    assert builtins.print is print


@pytest.mark.parametrize(
    ("left", "right", "shape"),
    [((2, 3), (3,), (2,)), ((3,), (3, 2), (2,)), ((3,), (3,), ()), ((4, 2, 3), (3, 5), (4, 2, 5))],
)
def test_products_are_those_of_each_rank(left: tuple[int, ...], right: tuple[int, ...], shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    mine, theirs = Shards(draw.normal(size=(RANKS, *left))), Shards(draw.normal(size=(RANKS, *right)))
    product = mine @ theirs
    assert product.shape == shape
    for rank in range(RANKS):
        np.testing.assert_allclose(product.rank(rank), mine.rank(rank) @ theirs.rank(rank))
        np.testing.assert_allclose((mine @ theirs.rank(0)).rank(rank), mine.rank(rank) @ theirs.rank(0))
        np.testing.assert_allclose((mine.rank(0) @ theirs).rank(rank), mine.rank(0) @ theirs.rank(rank))


def test_reductions_leave_the_ranks_apart() -> None:
    tensor = Shards(np.arange(24.0).reshape(RANKS, 2, 3))
    assert tensor.sum().shards.tolist() == [15.0, 51.0, 87.0, 123.0]
    assert tensor.mean(dim=-1).shape == (2,) and tensor.mean(dim=0, keepdim=True).shape == (1, 3)
    assert tensor.argmax(dim=-1).shards.tolist() == [[2, 2]] * RANKS
    assert tensor.unsqueeze(-1).squeeze(-1).shape == tensor.T.T.shape == (2, 3)
    with pytest.raises(IndexError, match="Dimension out of range"):
        tensor.sum(dim=2)
    with pytest.raises(RuntimeError, match="could not infer output dtype"):
        tensor.long().mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"gradient_accumulation_plugin": 4},
            "gradient_accumulation_plugin is a GradientAccumulationPlugin of .*, not ",
        ),
        (
            {"dataloader_config": {"split_batches": True}},
            "dataloader_config is a DataLoaderConfiguration of .*, not dict",
        ),
        ({"project_config": "out"}, "project_config is a ProjectConfiguration of .*, not str"),
        ({"kwargs_handlers": 3}, "kwargs_handlers is a list of handlers, not int"),
    ],
)
def test_settings_of_another_kind_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        _ = Accelerator(**arguments).settings


@pytest.mark.parametrize("steps", ["four", [4], -1])
def test_accumulation_is_a_number_of_micro_batches(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"gradient_accumulation_steps = .* is no number of micro-batches: use a"):
        _ = Accelerator(gradient_accumulation_steps=steps).settings


def test_accumulation_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "auto")
    with pytest.raises(ValueError, match="ACCELERATE_GRADIENT_ACCUMULATION_STEPS = 'auto' is no number"):
        _ = Accelerator().settings


@pytest.mark.parametrize("size", [0, -1, 2.5, "4"])
def test_a_batch_has_samples(size: Any) -> None:
    with pytest.raises(ValueError, match="batch_size should be a positive integer value, but got batch_size="):
        DataLoader([1, 2, 3], batch_size=size)


def test_lists_are_gathered_and_single_objects_refused(no_waiting: None) -> None:
    Accelerator()
    with pytest.raises(TypeError, match=r"gather_object joins the lists of all ranks: give it a list such as \[3\]"):
        utilities.gather_object(3)
