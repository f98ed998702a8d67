"""Proofs of the token: BLAKE2b with a key (RFC 7693)."""

from __future__ import annotations

import hashlib

import pytest

from fake_torch_dist.stores.authentication import MAC_BYTES, mac, proof


@pytest.mark.parametrize("key", [b"", b"k", b"k" * 64, b"k" * 65, b"k" * 1000])
def test_only_the_same_key_and_text_make_the_same(key: bytes):
    made = mac(key, b"text")
    assert len(made) == MAC_BYTES and made == mac(key, b"text")
    assert len({made, mac(key + b"k", b"text"), mac(key + b"\0", b"text"), mac(key, b"texts")}) == 4


def test_it_is_blake2bs_own_key():
    """A key that is too long for it is hashed first, as HMAC does."""
    key = bytes(range(64))
    assert mac(key, b"") == hashlib.blake2b(b"", key=key, digest_size=MAC_BYTES).digest()
    assert mac(key + b"!", b"") == mac(hashlib.blake2b(key + b"!").digest(), b"")


def test_a_proof_is_of_one_side_of_one_connection():
    nonces = b"1" * 32, b"2" * 32
    sides = {proof(b"token", who, *pair) for who in (b"client", b"server") for pair in (nonces, nonces[::-1])}
    assert len(sides) == 4
