"""The catalog's three lists: how entries are found, and that their figures make sense."""

import re
from collections.abc import Callable

import pytest

from accelerate_sim.catalog import UnknownName, dataset, dataset_names, gpu, gpu_names, model, model_names


def test_there_is_plenty_to_choose_from() -> None:
    assert len(model_names()) >= 30
    assert len(gpu_names()) >= 12
    assert len(dataset_names()) >= 30


@pytest.mark.parametrize("names", [model_names, gpu_names, dataset_names])
def test_names_are_unique_in_any_case(names: Callable[[], list[str]]) -> None:
    assert len({name.lower() for name in names()}) == len(names())


def test_case_does_not_matter() -> None:
    assert gpu("h100-sxm").name == "H100-SXM"
    assert model("Llama-3-70B").name == "llama-3-70b"


def test_a_misspelt_name_gets_a_suggestion_and_the_way_to_the_list() -> None:
    with pytest.raises(UnknownName) as caught:
        model("lama-3-70b")
    assert str(caught.value) == ("unknown model 'lama-3-70b'. Did you mean 'llama-3-70b'? --list models shows all")
    assert (caught.value.kind, caught.value.name) == ("model", "lama-3-70b")
    assert caught.value.suggestions[0] == "llama-3-70b"


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownName) as caught:
        gpu("abacus")
    assert str(caught.value) == "unknown gpu 'abacus'. --list gpus shows all"


def test_every_entry_states_a_dated_source() -> None:
    sources = [
        *(model(name).source for name in model_names()),
        *(gpu(name).source for name in gpu_names()),
        *(dataset(name).source for name in dataset_names()),
    ]
    assert [source for source in sources if not re.search(r"\b(19|20)\d\d\b", source)] == []


def test_the_heads_of_a_model_divide_hidden_and_its_embedding_holds_all_tokens() -> None:
    for name in model_names():
        spec = model(name)
        assert spec.architecture.hidden % spec.architecture.heads == 0, name
        assert spec.tokenizer_vocab <= spec.architecture.vocab, name


def test_a_gpu_does_less_than_its_peak_and_more_in_fp8() -> None:
    for name in gpu_names():
        spec = gpu(name)
        assert 0.4 * spec.bf16_flops < spec.matmul_flops < spec.bf16_flops, name
        assert spec.fp8_flops is None or spec.fp8_flops >= 1.9 * spec.bf16_flops, name


def test_a_gpu_has_the_magnitudes_of_a_gpu() -> None:
    for name in gpu_names():
        spec = gpu(name)
        assert 20e9 < spec.memory_bytes < 400e9, name
        assert 0.5e12 < spec.memory_bytes_per_s < 10e12, name
        assert 10 < spec.idle_w < 0.25 * spec.power_limit_w, name
        assert spec.memory_bytes % 2**20 == 0, f"the driver shows whole MiB: {name}"
        assert spec.slowdown_temperature_c in range(80, 106), name
        assert (spec.nvlink_bytes_per_s is None) == (spec.nvlink_domain == 1), name
        assert spec.nvlink_bytes_per_s is None or spec.nvlink_bytes_per_s > spec.nic_gbps / 8 * 1e9, name


def test_a_document_has_tens_of_tokens_to_a_book_of_them() -> None:
    for name in dataset_names():
        spec = dataset(name)
        assert 50 < spec.tokens / spec.samples < 200_000, name


def test_boards_of_one_vendor_have_facts_that_its_tool_prints() -> None:
    """One entry of one file is all that a new GPU needs."""
    for name in gpu_names():
        spec = gpu(name)
        assert (spec.board is None) == (spec.vendor != "NVIDIA"), name
        if spec.board:
            assert re.fullmatch(r"[0-9A-F]{2}(\.[0-9A-F]{2}){4}", spec.board.vbios), name
            assert spec.board.idle_clock_mhz < spec.max_clock_mhz, name
            assert spec.board.reserved_mib * 2**20 < 0.02 * spec.memory_bytes, name
            assert spec.board.driver.major >= 550, name


def test_four_bits_are_at_least_twice_eight_where_there_are_any() -> None:
    for name in gpu_names():
        spec = gpu(name)
        assert spec.fp4_flops is None or (spec.fp8_flops and spec.fp4_flops >= 2 * spec.fp8_flops), name
