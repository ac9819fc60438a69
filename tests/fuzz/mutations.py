"""Bytes near to good ones, by hypothesis or by plain chance: what a parser has to stand is seldom random."""

from random import Random

from hypothesis import strategies as st

_Change = tuple[str, float, float, bytes]


def _place(size: int, where: float) -> int:
    return min(size, int(where * (size + 1)))


def _changed(data: bytes, change: _Change, others: tuple[bytes, ...]) -> bytes:
    kind, where, length, text = change
    start = _place(len(data), where)
    end = min(len(data), start + 1 + int(length * length * 64))
    if kind == "flip" and start < len(data):
        return data[:start] + bytes([data[start] ^ (1 << int(length * 7))]) + data[start + 1 :]
    if kind == "delete":
        return data[:start] + data[end:]
    if kind == "repeat":
        return data[:end] + data[start:end] * (1 + int(length * 8)) + data[end:]
    if kind == "insert":
        return data[:start] + text + data[start:]
    if kind == "replace":
        return data[:start] + text + data[start + len(text) :]
    if kind == "cut":
        return data[:start]
    if kind == "splice":
        other = others[int(length * len(others)) % len(others)]
        return data[:start] + other[_place(len(other), where) :]
    return data


KINDS = ("flip", "delete", "repeat", "insert", "replace", "cut", "splice")


def mutated(random: Random, seeds: tuple[bytes, ...], words: tuple[bytes, ...]) -> bytes:
    """One of the seeds with a few changes."""
    data = random.choice(seeds)
    for _ in range(random.randrange(1, 6)):
        text = (
            random.choice(words)
            if words and random.random() < 0.7
            else random.randbytes(random.randrange(1, 5))
        )
        change = (random.choice(KINDS), random.random(), random.random(), text)
        data = _changed(data, change, seeds)[: 1 << 16]
    return data


def near(seeds: tuple[bytes, ...], words: tuple[bytes, ...] = ()) -> st.SearchStrategy[bytes]:
    """One of the seeds with a few changes, or now and then anything. words: what is worth inserting."""
    text = st.binary(max_size=8) if not words else st.one_of(st.sampled_from(words), st.binary(max_size=8))
    change = st.tuples(
        st.sampled_from(KINDS),
        st.floats(0, 1),
        st.floats(0, 0.999),
        text,
    )

    def apply(seed: bytes, changes: list[_Change]) -> bytes:
        for each in changes:
            seed = _changed(seed, each, seeds)[: 1 << 16]
        return seed

    mutated = st.builds(apply, st.sampled_from(seeds), st.lists(change, max_size=6))
    return st.one_of(mutated, mutated, mutated, st.binary(max_size=200))
