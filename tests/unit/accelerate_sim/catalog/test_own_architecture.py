"""An architecture that a user writes: defaults, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from accelerate_sim.catalog import Architecture

SMALL: dict[str, Any] = {
    "layers": 2,
    "hidden": 64,
    "heads": 4,
    "ffn": 128,
    "vocab": 100,
    "context": 32,
}
EXPERTS = {"experts": 8, "active_experts": 2, "ffn": 64}


def test_sizes_alone_make_a_llama_with_full_attention() -> None:
    architecture = Architecture(**SMALL)
    assert (architecture.kv_heads, architecture.head_dim) == (4, 16)
    assert architecture.model_class == "LlamaForCausalLM"
    assert not architecture.tied_embeddings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "heads = 5 does not divide hidden = 64"),
        ({"kv_heads": 3}, "kv_heads = 3 does not divide heads = 4"),
        ({"family": "lama"}, "unknown family 'lama'; use one of llama, "),
        ({"family": "mixtral"}, "family 'mixtral' needs moe"),
        ({"moe": EXPERTS}, "family 'llama' has no moe; use one of mixtral, "),
        (
            {"family": "mixtral", "moe": EXPERTS | {"active_experts": 9}},
            "active_experts = 9 is more than experts = 8",
        ),
        (
            {"family": "mixtral", "moe": EXPERTS | {"dense_layers": 1}},
            "family 'mixtral' has experts in all layers",
        ),
        (
            {"family": "deepseek", "moe": EXPERTS | {"dense_layers": 2}},
            "dense_layers = 2 leaves no layer with experts of layers = 2",
        ),
        ({"layers": 0}, "greater than or equal to 1"),
        ({"hidden": 10**9}, "less than or equal to 262144"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_built_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Architecture(**(SMALL | change))


def test_any_number_of_heads_goes_with_a_given_head_dim() -> None:
    assert Architecture(**(SMALL | {"heads": 5, "head_dim": 16})).heads == 5
