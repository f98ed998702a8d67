"""Names that ``--brand generic`` puts in the place of real ones."""

from __future__ import annotations

import pytest

from accelerate_sim.display.generic_names import GenericNames


@pytest.mark.parametrize(
    "text, generic",
    [
        ("ProcessGroupNCCL.cpp", "ProcessGroupCollectives.cpp"),
        ("/lib/libtorch_cuda.so", "/lib/libframework_gpu.so"),
        ("16x8xNVIDIA H100 80GB HBM3", "16x8xAccelerator 80GB"),
        ("> building HuggingFaceTokenizer tokenizer", "> building HubTokenizer tokenizer"),
        ("mlx5_0:1", "nic_0:1"),
        ("the metadata of a lamp", "the metadata of a lamp"),
    ],
)
def test_names_inside_longer_words_and_after_counts(text: str, generic: str):
    assert GenericNames()(text) == generic
