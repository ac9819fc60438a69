"""A follower's copy takes in what leads to the signed root, and nothing else; it never lets itself be rolled back."""

import pytest

from safeconduct.audit.checkpoint import LogVerifier, sign_checkpoint
from safeconduct.audit.mirror import Mirror
from safeconduct.audit.reader import PublishedLog
from safeconduct.audit.tree import Tree
from safeconduct.kernel.errors import LogUnavailable, VerificationFailed
from safeconduct.kernel.signing import EDDSA, FileSigner
from safeconduct.storage.log_files import FileLogDirectory

KEY = FileSigner.generate(EDDSA)
VERIFIER = LogVerifier.of("test.example/record", KEY)


def nothing(path):
    raise FileNotFoundError(path)


class Source:
    """The log that is copied: its entries and a signed note at any size."""

    def __init__(self, count, *, tag=b"entry"):
        self.entries = [b"%b %d" % (tag, number) for number in range(count)]

    def note(self, size, signer=KEY):
        files = {}
        tree = Tree(lambda path: files[path])
        files.update(tree.append(self.entries[:size]))
        return sign_checkpoint(signer, VERIFIER, size, tree.root()).text


@pytest.fixture
def place(tmp_path):
    return tmp_path / "copy"


def opened(place):
    return Mirror.open(FileLogDirectory(place), VERIFIER)


@pytest.mark.parametrize("sizes", [(1, 2, 3), (255, 256, 257), (700,), (300, 301, 800)])
def test_the_copy_is_the_log_and_can_be_read_and_proved_like_it(place, sizes):
    source = Source(800)
    mirror, have = opened(place), 0
    for size in sizes:
        mirror.extend(source.entries[have:size], source.note(size))
        have = size
        assert mirror.size == size
    published = PublishedLog(FileLogDirectory(place).read, VERIFIER)
    assert list(published.entries(0, have)) == source.entries[:have]
    mirror.close()
    again = opened(place)
    assert (again.size, again.notes) == (have, [])
    more = Source(900)
    again.extend(more.entries[have:850], more.note(850))
    again.close()


@pytest.mark.parametrize(
    ("entries", "note"),
    [
        pytest.param(lambda s: s.entries[10:19] + [b"forged"], lambda s: s.note(20), id="an entry exchanged"),
        pytest.param(lambda s: s.entries[10:19], lambda s: s.note(20), id="an entry left out"),
        pytest.param(lambda s: s.entries[10:20], lambda s: s.note(19), id="an entry too many"),
        pytest.param(lambda s: s.entries[10:20][::-1], lambda s: s.note(20), id="another order"),
        pytest.param(
            lambda s: s.entries[10:20], lambda s: s.note(20, FileSigner.generate(EDDSA)), id="another key"
        ),
        pytest.param(
            lambda _: Source(20, tag=b"other").entries[10:20],
            lambda _: Source(20, tag=b"other").note(20),
            id="another history",
        ),
        pytest.param(lambda _: [], lambda s: s.note(5), id="a shorter log"),
        pytest.param(lambda _: [], lambda _: Source(10, tag=b"other").note(10), id="two trees of one size"),
    ],
)
def test_whatever_does_not_lead_to_the_signed_root_is_refused_and_changes_nothing(place, entries, note):
    source = Source(30)
    mirror = opened(place)
    mirror.extend(source.entries[:10], source.note(10))
    with pytest.raises(VerificationFailed):
        mirror.extend(entries(source), note(source))
    assert mirror.size == 10
    mirror.extend(source.entries[10:30], source.note(30))
    assert mirror.size == 30
    mirror.close()


@pytest.mark.parametrize("victim", ["tile/entries/000", "tile/0/000", "tile/entries/001.p/44", "checkpoint"])
def test_a_damaged_copy_is_begun_again_and_still_knows_what_it_had_accepted(place, victim):
    source = Source(300)
    mirror = opened(place)
    mirror.extend(source.entries, source.note(300))
    mirror.close()
    path = place / victim
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    again = opened(place)
    assert again.size == 0
    assert "damaged" in again.notes[0]
    # A control plane that was rolled back, or forked, in the meantime is not let in by the damage.
    for lying in (Source(299), Source(300, tag=b"other"), Source(400, tag=b"other")):
        count = len(lying.entries)
        with pytest.raises(VerificationFailed):
            again.extend(lying.entries, lying.note(count))
    longer = Source(400)
    again.extend(longer.entries, longer.note(400))
    assert again.size == 400
    again.close()


def test_two_processes_do_not_write_one_copy(place):
    mirror = opened(place)
    with pytest.raises(LogUnavailable):
        opened(place)
    mirror.close()
    opened(place).close()
