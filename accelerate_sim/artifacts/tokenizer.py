"""A small, valid tokenizer: byte-level BPE with a few merges, padded to the size of the model's vocabulary.

It reads and writes any text. What it does not do: know the merges of the tokenizer whose name the run shows.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from accelerate_sim.artifacts.file_image import FileImage, json_image

END_OF_TEXT = "<|endoftext|>"
BYTES = 256
THOUSAND = 1000
MERGES = (
    "Ġ t", "Ġ a", "h e", "i n", "r e", "o n", "Ġt he", "e r", "Ġ s", "a t", "Ġ w", "Ġ o", "e n", "Ġ c", "i t", "i s",
    "a n", "o r", "e s", "Ġ b", "e d", "Ġ f", "in g", "Ġ p", "o u", "Ġa n", "a l", "a r", "Ġt o", "Ġ m", "Ġo f",
    "Ġ in", "Ġ d", "Ġ h", "Ġan d",
)  # fmt: skip
"""Frequent pairs of English text, in the order in which they are merged."""


def tokenizer_images(vocab_size: int, longest: int) -> list[FileImage]:
    """tokenizer.json and tokenizer_config.json; ``longest`` is the model's context in tokens."""
    tokens, merges = _vocabulary(vocab_size)
    special = [
        {
            "id": BYTES, "content": END_OF_TEXT, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True,
        }
    ] if vocab_size > BYTES else []  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    document: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "merges": merges, "vocab": {},
        },
    }  # fmt: skip
    # One line: with a line per token the file would be half as long again. The vocabulary comes last and is put in as
    # text, since most of it is padding that needs no escapes.
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    known = json.dumps(dict(zip(tokens, range(len(tokens)), strict=True)), ensure_ascii=False, separators=(",", ":"))
    text = f"{text.removesuffix('{}}}')}{known.removesuffix('}')}{_padding(len(tokens), vocab_size)}" + "}}}"
    config = {
        "simulated": True,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": longest,
        "bos_token": END_OF_TEXT if special else None,
        "eos_token": END_OF_TEXT if special else None,
    }
    return [FileImage("tokenizer.json", text.encode()), json_image("tokenizer_config.json", config)]


def _padding(first: int, end: int) -> str:
    """The tokens with these ids, each after a comma. Whole thousands are made of one, which saves most of the time."""
    first_whole = min(max(-(-first // THOUSAND), 1) * THOUSAND, end)
    end_whole = max(end // THOUSAND * THOUSAND, first_whole)
    one = "".join([f',"<|simulated_#{rest:03d}|>":#{rest:03d}' for rest in range(THOUSAND)])
    return "".join(
        [
            *(f',"<|simulated_{token}|>":{token}' for token in range(first, first_whole)),
            *(one.replace("#", str(number)) for number in range(first_whole // THOUSAND, end_whole // THOUSAND)),
            *(f',"<|simulated_{token}|>":{token}' for token in range(end_whole, end)),
        ]
    )


def end_of_text_id(vocab_size: int) -> int | None:
    """Id of the only special token; None in a vocabulary that has no room for it."""
    return BYTES if vocab_size > BYTES else None


@cache
def byte_alphabet() -> tuple[str, ...]:
    """The character that stands for each byte, as in GPT-2: itself if it is visible, else one from U+0100 on."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(BYTES, 2 * BYTES))
    return tuple(chr(byte) if byte in visible else chr(next(others)) for byte in range(BYTES))


def _vocabulary(size: int) -> tuple[list[str], list[str]]:
    """Tokens by id, without the padding, and the merges whose tokens are among them."""
    merged = [pair.replace(" ", "") for pair in MERGES]
    tokens = [*byte_alphabet(), END_OF_TEXT, *merged][:size]
    return tokens, list(MERGES[: max(len(tokens) - BYTES - 1, 0)])
