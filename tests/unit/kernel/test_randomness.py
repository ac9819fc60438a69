"""Random bytes in blocks: none twice, not even after a fork."""

import os

from safeconduct.kernel.randomness import BLOCK, BufferedRandom


def test_no_bytes_are_given_out_twice():
    random = BufferedRandom()
    values = [random(16) for _ in range(2000)]
    assert len(set(values)) == 2000
    assert {len(value) for value in values} == {16}
    assert len(random(BLOCK + 1)) == BLOCK + 1
    assert len(random(BLOCK)) == BLOCK


def test_a_forked_child_does_not_repeat_its_parent():
    random = BufferedRandom()
    random(16)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, random(16))
        os._exit(0)
    mine = random(16)
    os.waitpid(child, 0)
    assert os.read(reader, 16) != mine
