from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.log_roots import naive_node, naive_root

from safeconduct.audit.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    node_hash,
    range_hash,
    verify_consistency,
    verify_inclusion,
)
from safeconduct.kernel.errors import InvalidInput, VerificationFailed


def entries_of(size: int) -> list[bytes]:
    return [b"entry %d" % number for number in range(size)]


def test_hashes_carry_their_domain_prefix():
    assert leaf_hash(b"") == hashlib.sha256(b"\x00").digest()
    assert node_hash(b"a" * 32, b"b" * 32) == hashlib.sha256(b"\x01" + b"a" * 32 + b"b" * 32).digest()
    assert leaf_hashes([b"x", b"y"]) == [leaf_hash(b"x"), leaf_hash(b"y")]
    assert EMPTY_ROOT == naive_root([])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 100])
def test_the_root_is_that_of_the_recursive_definition(size):
    entries = entries_of(size)
    assert range_hash(naive_node(entries), 0, size) == naive_root(entries)


def test_every_inclusion_proof_of_small_trees_verifies_and_nothing_beside_it():
    for size in range(1, 20):
        entries = entries_of(size)
        root = naive_root(entries)
        for index in range(size):
            proof = inclusion_proof(naive_node(entries), index, size)
            verify_inclusion(leaf_hash(entries[index]), index, size, proof, root)
            for other in range(size):
                if other != index:
                    with pytest.raises(VerificationFailed):
                        verify_inclusion(leaf_hash(entries[index]), other, size, proof, root)


def test_every_consistency_proof_of_small_trees_verifies():
    for new in range(1, 20):
        entries = entries_of(new)
        for old in range(1, new + 1):
            proof = consistency_proof(naive_node(entries), old, new)
            verify_consistency(old, new, naive_root(entries[:old]), naive_root(entries), proof)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_in_an_inclusion_proof_fails(data):
    size = data.draw(st.integers(2, 70))
    index = data.draw(st.integers(0, size - 1))
    entries = entries_of(size)
    proof = inclusion_proof(naive_node(entries), index, size)
    position = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    altered = bytearray(proof[position])
    altered[bit // 8] ^= 1 << bit % 8
    proof[position] = bytes(altered)
    with pytest.raises(VerificationFailed):
        verify_inclusion(leaf_hash(entries[index]), index, size, proof, naive_root(entries))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_tree_with_an_altered_past_has_no_consistency_proof(data):
    new = data.draw(st.integers(2, 70))
    old = data.draw(st.integers(1, new - 1))
    entries = entries_of(new)
    old_root = naive_root(entries[:old])
    entries[data.draw(st.integers(0, old - 1))] = b"rewritten"
    proof = consistency_proof(naive_node(entries), old, new)
    with pytest.raises(VerificationFailed):
        verify_consistency(old, new, old_root, naive_root(entries), proof)


def test_size_zero_as_the_older_tree_is_refused():
    root = naive_root([b"x"])
    with pytest.raises(VerificationFailed):
        verify_consistency(0, 1, EMPTY_ROOT, root, [])
    with pytest.raises(InvalidInput):
        consistency_proof(naive_node([b"x"]), 0, 1)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_hashes_of_another_length_are_refused(length):
    short, root = b"x" * length, naive_root([b"a", b"b"])
    with pytest.raises(VerificationFailed):
        verify_inclusion(leaf_hash(b"a"), 0, 2, [short], root)
    with pytest.raises(VerificationFailed):
        verify_inclusion(short, 0, 1, [], short)
    with pytest.raises(VerificationFailed):
        verify_consistency(1, 1, short, short, [])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_no_proof_for_an_index_outside_the_tree(index, size):
    with pytest.raises(InvalidInput):
        inclusion_proof(naive_node(entries_of(3)), index, size)
    with pytest.raises(VerificationFailed):
        verify_inclusion(leaf_hash(b"x"), index, size, [], leaf_hash(b"x"))


def test_proofs_with_a_hash_too_many_or_too_few_are_refused():
    entries = entries_of(5)
    root, leaf = naive_root(entries), leaf_hash(entries[1])
    proof = inclusion_proof(naive_node(entries), 1, 5)
    for wrong in (proof[:-1], proof[1:], [*proof, root], [root, *proof], []):
        with pytest.raises(VerificationFailed):
            verify_inclusion(leaf, 1, 5, wrong, root)
    proof = consistency_proof(naive_node(entries), 3, 5)
    old = naive_root(entries[:3])
    for wrong in (proof[:-1], proof[1:], [*proof, root], [root, *proof], []):
        with pytest.raises(VerificationFailed):
            verify_consistency(3, 5, old, root, wrong)
    with pytest.raises(VerificationFailed):
        verify_consistency(5, 5, root, root, [root])
