from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.log_roots import naive_root

from safeconduct.audit.tile import (
    ENTRIES,
    decode_bundle,
    encode_bundle,
    parse_tile_path,
    split_tile,
    tile_path,
    tile_width,
    tiles_of,
)
from safeconduct.audit.tree import Tree
from safeconduct.kernel.errors import InvalidInput, LogCorrupt


def test_the_specification_s_examples_of_paths():
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(1, 5, 17) == "tile/1/005.p/17"
    assert tile_path(ENTRIES, 1000) == "tile/entries/x001/000"


def test_the_specification_s_example_of_a_tree_of_70000():
    assert tiles_of(70_000) == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert tiles_of(256) == [(1, 0, 1)]
    assert tile_width(0, 272, 70_000) == 256
    assert tile_width(0, 274, 70_000) == 0
    assert tile_width(1, 0, 70_000) == 256


@given(st.integers(-1, 63), st.integers(0, 10**12), st.integers(1, 256))
def test_a_path_is_read_as_it_was_written(level, number, width):
    assert parse_tile_path(tile_path(level, number, width)) == (level, number, width)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/67",
        "tile/0/x000/067",
        "tile/00/067",
        "tile/64/067",
        "tile/0/067.p/0",
        "tile/0/067.p/256",
        "tile/0/067.p/01",
        "tile/0/001/067",
        "tile/0/x001",
        "tile/entries/../../checkpoint",
        "tile/0/067\n",
        "tile/0/٠٦٧",
        "/tile/0/067",
        "checkpoint",
        "",
    ],
)
def test_any_other_spelling_of_a_path_is_refused(path):
    with pytest.raises(InvalidInput):
        parse_tile_path(path)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_a_bundle_is_read_as_it_was_written(entries):
    path = tile_path(ENTRIES, 0, len(entries))
    assert decode_bundle(encode_bundle(entries), path) == entries


def test_a_bundle_with_bytes_too_many_or_too_few_is_named():
    path = tile_path(ENTRIES, 2, 3)
    good = encode_bundle([b"a", b"bb", b""])
    for wrong in (good[:-1], good + b"\x00", good[:4], b""):
        with pytest.raises(LogCorrupt, match=r"tile/entries/002\.p/3"):
            decode_bundle(wrong, path)
    with pytest.raises(LogCorrupt, match="entry 513"):
        decode_bundle(good[:4], path)


def test_a_tile_of_another_length_is_named():
    with pytest.raises(LogCorrupt, match=r"tile/0/000\.p/2"):
        split_tile(b"x" * 65, tile_path(0, 0, 2))


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 1000])
def test_the_tree_s_edge_has_the_root_of_the_recursive_definition(size):
    stored: dict[str, bytes] = {}
    tree = Tree(stored.__getitem__)
    entries = [b"%d" % number for number in range(size)]
    for start in range(0, size, 37):
        stored.update(tree.append(entries[start : start + 37]))
    assert tree.root() == naive_root(entries)
    assert tree.node()(0, size - 1) == naive_root(entries[-1:])
    again = Tree(stored.__getitem__, size - size % 256)
    again.append(entries[size - size % 256 :])
    assert again.root() == tree.root()
    assert again.partial_tiles() == tree.partial_tiles()


def test_the_edge_of_a_tree_of_three_levels_is_rebuilt_from_its_full_tiles():
    stored: dict[str, bytes] = {}
    tree = Tree(stored.__getitem__)
    size = 65_536 + 512
    stored.update(tree.append([b"%d" % number for number in range(size)]))
    assert [path for path in stored if path.startswith("tile/1/")] == ["tile/1/000"]
    again = Tree(stored.__getitem__, size)
    assert again.root() == tree.root()
    assert [path for path, _ in again.partial_tiles()] == ["tile/1/001.p/2", "tile/2/000.p/1"]
