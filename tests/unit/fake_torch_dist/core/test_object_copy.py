"""Objects between ranks: each rank's own copy, each rank's own shard."""

import pickle

import numpy as np
import pytest

from fake_torch_dist import LocalTensor
from fake_torch_dist.core.object_copy import PickledObject


def test_a_tensor_deep_inside_becomes_the_ranks_own_shard():
    tensor = LocalTensor.from_ranks(np.arange(6.0).reshape(3, 2))
    got = PickledObject([{"x": (tensor, 1)}]).of_rank(1)
    assert got[0]["x"][0].shards.tolist() == [[2, 3]] * 3
    got[0]["x"][0].shards[:] = 0
    assert tensor.rank(1).tolist() == [2, 3]


def test_what_cannot_be_pickled_raises_pickles_error():
    with pytest.raises((AttributeError, pickle.PicklingError), match=r"[Cc]an't (pickle|get local object)"):
        PickledObject(lambda: None)
