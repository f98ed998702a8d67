"""LocalTensor: arithmetic stays within a rank, and nothing is decided for ranks that disagree."""

import copy

import numpy as np
import pytest

from fake_torch_dist import LocalTensor, shards_of


def tensor(*shape):
    return LocalTensor.from_ranks(np.arange(float(np.prod(shape))).reshape(shape))


def test_shape_and_dtype_are_one_ranks():
    t = LocalTensor.from_ranks(np.zeros((4, 2, 3), "float32"))
    assert (t.shape, t.ndim, t.dtype, t.num_ranks) == ((2, 3), 2, np.float32, 4)
    assert t.rank(3).base is not None
    assert LocalTensor.from_ranks([1, 2]).rank(1).shape == ()


def test_from_ranks_and_rank_are_views():
    array = np.zeros(3)
    t = LocalTensor.from_ranks(array)
    t.rank(1)[...] = 5
    assert array.tolist() == [0, 5, 0]


@pytest.mark.parametrize("bad", [1.0, np.zeros((0, 3))])
def test_from_ranks_needs_ranks(bad):
    with pytest.raises(ValueError, match="one value per rank"):
        LocalTensor.from_ranks(bad)


def test_rank_that_is_not_here():
    with pytest.raises(IndexError, match="rank -1 has no shard here; there are ranks 0 to 2"):
        tensor(3).rank(-1)


def test_item_is_what_all_ranks_agree_on():
    assert LocalTensor.from_ranks([2.5, 2.5]).item() == 2.5
    assert LocalTensor.from_ranks([[[3]], [[3]]]).item() == 3
    assert np.isnan(LocalTensor.from_ranks([np.nan, np.nan]).item())
    assert f"{LocalTensor.from_ranks([2.5, 2.5]):.2f}" == "2.50"
    assert float(LocalTensor.from_ranks([2, 2])) == 2.0


@pytest.mark.parametrize("values", [[1.0, 1.0, 2.0], [1.0, np.nan, 1.0], [np.nan, 1.0, np.nan]])
def test_item_refuses_to_choose_between_ranks(values):
    with pytest.raises(ValueError, match=r"the ranks disagree: rank 0 has .* rank [12] has"):
        LocalTensor.from_ranks(values).item()


def test_item_of_many_elements():
    with pytest.raises(RuntimeError, match="a Tensor with 3 elements cannot be converted to Scalar"):
        tensor(2, 3).item()


def test_detach_shares_and_clone_copies():
    t = tensor(2)
    t.detach().shards[0] = 9
    for other in (t.clone(), t.copy(), copy.deepcopy(t)):
        other.shards[1] = 7
    assert t.shards.tolist() == [9, 1]


def test_arithmetic_with_numbers_on_both_sides():
    t = LocalTensor.from_ranks([1.0, 2.0])
    results = [t + 1, 1 + t, t - 1, 1 - t, t * 2, 2 * t, t / 2, 2 / t, -t]
    assert [r.shards.tolist() for r in results] == [
        [2, 3], [2, 3], [0, 1], [0, -1], [2, 4], [2, 4], [0.5, 1], [2, 1], [-1, -2],
    ]  # fmt: skip
    assert (np.float64(3) + t).shards.tolist() == [4, 5]


def test_a_scalar_keeps_the_dtype():
    assert (LocalTensor.from_ranks(np.ones(2, "float32")) * 0.5).dtype == np.float32


def test_in_place_arithmetic_writes_into_the_same_memory():
    array = np.array([1.0, 2.0])
    t = alias = LocalTensor.from_ranks(array)
    t += 1
    t -= LocalTensor.from_ranks([0.0, 1.0])
    t *= 3
    t /= 2
    assert t is alias
    assert array.tolist() == [3.0, 3.0]


def test_ranks_meet_ranks_and_an_ndarray_is_the_same_for_all():
    vector, per_rank = tensor(2, 3), LocalTensor.from_ranks([10.0, 20.0])
    assert (vector + per_rank).shards.tolist() == [[10, 11, 12], [23, 24, 25]]
    assert (per_rank + vector).shards.tolist() == [[10, 11, 12], [23, 24, 25]]
    # as many elements as there are ranks: still one value for every rank, on either side
    array = np.array([1.0, 2.0])
    assert (per_rank + array).shards.tolist() == [[11, 12], [21, 22]]
    assert (array + per_rank).shards.tolist() == [[11, 12], [21, 22]]
    assert (tensor(2, 3) * np.ones((4, 3))).shape == (4, 3)


def test_tensors_of_different_worlds_do_not_mix():
    with pytest.raises(ValueError, match="LocalTensor of 3 ranks with one of 1 ranks"):
        tensor(3) + tensor(1)


def test_in_place_cannot_change_the_shape():
    t = tensor(2)
    with pytest.raises(ValueError, match="broadcast"):
        t += tensor(2, 3)


def test_comparison_is_elementwise_and_truth_needs_agreement():
    t = LocalTensor.from_ranks([1.0, 3.0])
    assert [(t < 2).shards.tolist(), (t >= 3).shards.tolist(), (t == 1).shards.tolist()] == [
        [True, False], [False, True], [True, False],
    ]  # fmt: skip
    assert (t <= 3) and (t > 0) and (t != 7)
    with pytest.raises(ValueError, match="disagree"):
        bool(t < 2)
    assert len({t, t.clone()}) == 2


def test_indexing_is_per_rank():
    t = tensor(2, 3, 4)
    assert t[1].shape == (4,)
    assert t[:, 2].shards.tolist() == t.shards[:, :, 2].tolist()
    assert t[..., 0].shape == (3,)


def test_array_is_all_shards():
    t = tensor(2, 3)
    assert np.asarray(t) is t.shards
    assert not np.shares_memory(np.array(t, dtype="float32", copy=True), t.shards)


def test_numpy_functions_are_refused():
    with pytest.raises(TypeError):
        np.exp(tensor(2))


def test_repr_names_ranks_shape_and_dtype():
    assert repr(tensor(2, 1)).startswith("LocalTensor(2 ranks, shape=(1,), dtype=float64)")


@pytest.mark.parametrize("bad", [np.zeros(3), [1.0], 1.0, None])
def test_shards_of_says_how_to_make_a_tensor(bad):
    with pytest.raises(TypeError, match=r"parameter `x` of type LocalTensor, got .*LocalTensor\.from_ranks\(array\)"):
        shards_of(bad, "x")
