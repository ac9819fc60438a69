"""A snapshot saves the folding, or is refused by name and the record is folded."""

import hashlib

import pytest
from tests.support.instances import make_instance

from safeconduct.app import record_keeper
from safeconduct.app import snapshots as module
from safeconduct.app.record_keeper import RecordKeeper
from safeconduct.app.snapshots import Snapshots, SnapshotWriter
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.signing import EDDSA, FileSigner
from safeconduct.kernel.vocabulary import SubjectKind
from safeconduct.record import packing
from safeconduct.record.events.holders import SubjectEnrolled
from safeconduct.record.large_map import LargeMap
from safeconduct.storage.snapshot_files import FileSnapshots


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(packing, "SMALL", 5)


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as opened:
        opened.instance.record.commit([enrolled(number) for number in range(40)])
        yield opened


def enrolled(number):
    return SubjectEnrolled(subject=SubjectId(f"sub_{number}"), kind=SubjectKind.HUMAN)


def snapshots_of(embedded, **given):
    log = embedded.opened.record_log
    parts = {"signer": embedded.opened.keys.signer("record-log"), "log": log, **given}
    return Snapshots(FileSnapshots(embedded.settings.snapshots), parts["log"], parts["signer"])


def written(embedded):
    snapshots_of(embedded).write(lambda: embedded.state)
    (path,) = embedded.settings.snapshots.iterdir()
    return path


def keeper(embedded):
    log = embedded.opened.record_log
    return RecordKeeper(log, clock=embedded.clock, snapshots=snapshots_of(embedded))


def refused(embedded, path, why):
    """The snapshot is refused by its name for this reason, and the state is the fold of the record all the same."""
    found = keeper(embedded)
    assert found.snapshot == 0
    assert len(found.notes) == 1
    assert path.name in found.notes[0]
    assert why in found.notes[0]
    assert found.state == embedded.state


def test_a_start_takes_the_snapshot_and_folds_only_what_came_after(embedded, monkeypatch):
    path = written(embedded)
    position = embedded.state.position
    assert path.name == f"state-{position:012d}.snapshot"
    assert path.stat().st_mode & 0o777 == 0o600
    embedded.instance.record.commit([enrolled(number) for number in range(40, 45)])
    read = []
    log = embedded.opened.record_log
    entries = log.read
    monkeypatch.setattr(log, "read", lambda start, end: read.append((start, end)) or entries(start, end))
    monkeypatch.setattr(record_keeper, "RECENT", 2)
    found = keeper(embedded)
    # What came after is folded; then the ids of the last commits are remembered.
    assert read == [(position, position + 5), (position + 3, position + 5)]
    assert (found.snapshot, found.notes) == (position, ())
    assert isinstance(found.state.subjects, LargeMap)
    assert found.state == embedded.state


def test_a_reopened_instance_begins_with_its_snapshot_and_commits_on(embedded):
    written(embedded)
    before = embedded.state
    embedded.reopen()
    assert embedded.opened.instance.record.snapshot == before.position
    assert embedded.state == before
    embedded.instance.record.commit([enrolled(99)])
    assert "sub_99" in embedded.state.subjects
    assert "sub_99" not in before.subjects


def test_a_flipped_bit_anywhere_is_found(embedded):
    path = written(embedded)
    data = path.read_bytes()
    for at in {
        0,
        1,
        len(data) // 3,
        len(data) // 2,
        len(data) - 700,
        len(data) - 300,
        len(data) - 120,
        len(data) - 1,
    }:
        altered = bytearray(data)
        altered[at] ^= 1
        path.write_bytes(altered)
        found = keeper(embedded)
        assert found.snapshot == 0
        assert path.name in found.notes[0]
        assert found.state == embedded.state
    path.write_bytes(data)
    assert keeper(embedded).snapshot == embedded.state.position


def test_altered_content_is_refused_though_its_note_holds(embedded):
    path = written(embedded)
    altered = path.read_bytes().replace(b"sub_1", b"sub_x", 1)
    path.write_bytes(altered)
    refused(embedded, path, "(content)")


def forge(path, old, new, signer=None):
    """Change the note, and sign it again when a signer is given."""
    data = path.read_bytes()
    length = int.from_bytes(data[-12:-8], "big")
    note = data[-12 - length : -12].decode()
    body = note.partition("\n\n")[0] + "\n"
    changed = body.replace(old, new)
    assert changed != body
    tail = note[len(body) :]
    if signer is not None:
        name = changed.partition("\n")[0]
        raw = module._key_id(name, module.VerifyingKey(signer.public_jwk())) + signer.sign(changed.encode())
        tail = f"\n— {name} {module.base64.b64encode(raw).decode()}\n"
    made = (changed + tail).encode()
    path.write_bytes(data[: -12 - length] + made + len(made).to_bytes(4, "big") + data[-8:])


def test_a_note_signed_with_another_key_is_refused(embedded):
    path = written(embedded)
    digest = hashlib.sha256(b"x").hexdigest()
    text = path.read_bytes()
    known = text[text.rindex(b"content ") :].split()[2].decode()[:64]
    forge(path, known, digest, FileSigner.generate(EDDSA))
    refused(embedded, path, "(signature)")


def test_a_note_that_was_changed_is_refused(embedded):
    path = written(embedded)
    forge(path, "format 1\n", "format 2\n")
    refused(embedded, path, "(signature)")


def test_a_snapshot_of_a_newer_format_or_another_fold_is_refused(embedded, monkeypatch):
    path = written(embedded)
    signer = embedded.opened.keys.signer("record-log")
    forge(path, "format 1\n", "format 2\n", signer)
    refused(embedded, path, "(format)")
    path.unlink()
    path = written(embedded)
    monkeypatch.setattr(module, "fold_digest", lambda: "0" * 64)
    refused(embedded, path, "(fold)")


def test_a_snapshot_of_another_record_is_refused(embedded, tmp_path):
    with make_instance(tmp_path / "other", name="other.example") as other:
        other.instance.record.commit([enrolled(number) for number in range(50)])
        foreign = written(other)
        directory = embedded.settings.snapshots
        directory.mkdir(parents=True)
        path = directory / foreign.name
        path.write_bytes(foreign.read_bytes())
    refused(embedded, path, "(origin)")


def test_a_snapshot_of_more_entries_than_the_record_has_is_refused_and_says_what_that_may_mean(
    embedded, tmp_path
):
    path = written(embedded)
    position = embedded.state.position
    forge(path, f"\n{position}\n", f"\n{position + 7}\n", embedded.opened.keys.signer("record-log"))
    refused(embedded, path, "rolled back")


@pytest.mark.parametrize("later", [0, 3, 300])
def test_a_snapshot_whose_root_is_not_of_a_prefix_of_the_record_is_refused(embedded, later):
    path = written(embedded)
    if later:
        embedded.instance.record.commit([enrolled(number) for number in range(40, 40 + later)])
    assert keeper(embedded).notes == ()
    note = path.read_bytes()[-700:]
    root = note[note.index(b"/snapshot\n") :].split(b"\n")[2].decode()
    forge(path, root, "A" * 43 + "=", embedded.opened.keys.signer("record-log"))
    refused(embedded, path, "(root)")


@pytest.mark.parametrize("kept", [0, 5, 11, 12, 200])
def test_a_truncated_snapshot_is_refused(embedded, kept):
    path = written(embedded)
    path.write_bytes(path.read_bytes()[:kept])
    refused(embedded, path, path.name)


def test_the_one_before_serves_when_the_last_is_refused(embedded):
    first = written(embedded)
    position = embedded.state.position
    embedded.instance.record.commit([enrolled(50)])
    snapshots_of(embedded).write(lambda: embedded.state)
    second = next(one for one in embedded.settings.snapshots.iterdir() if one != first)
    second.write_bytes(b"")
    found = keeper(embedded)
    assert found.snapshot == position
    assert second.name in found.notes[0]
    assert found.state == embedded.state


def test_a_symbolic_link_is_not_followed(embedded, tmp_path):
    path = written(embedded)
    moved = tmp_path / "elsewhere"
    path.rename(moved)
    path.symlink_to(moved)
    refused(embedded, path, path.name)


def test_two_are_kept_and_what_was_left_half_written_goes(embedded):
    for number in range(4):
        embedded.instance.record.commit([enrolled(60 + number)])
        (embedded.settings.snapshots).mkdir(exist_ok=True)
        (embedded.settings.snapshots / "state-000000000001.snapshot.tmp").write_bytes(b"half")
        snapshots_of(embedded).write(lambda: embedded.state)
    names = sorted(one.name for one in embedded.settings.snapshots.iterdir())
    position = embedded.state.position
    assert names == [f"state-{position - 1:012d}.snapshot", f"state-{position:012d}.snapshot"]


def test_a_write_that_fails_leaves_what_was_there(embedded, monkeypatch):
    path = written(embedded)
    embedded.instance.record.commit([enrolled(70)])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_state", full)
    with pytest.raises(OSError, match="space"):
        snapshots_of(embedded).write(lambda: embedded.state)
    assert list(embedded.settings.snapshots.iterdir()) == [path]
    writer = SnapshotWriter(snapshots_of(embedded), lambda: embedded.state, min_entries=1)
    # At a stop it is only a saving that is lost.
    writer.close()


def test_a_state_that_the_record_has_passed_is_not_written(embedded, monkeypatch):
    monkeypatch.setattr(module, "_TRIES", 2)
    old = embedded.state
    embedded.instance.record.commit([enrolled(80)])
    with pytest.raises(LogUnavailable):
        snapshots_of(embedded).write(lambda: old)
    assert not embedded.settings.snapshots.exists()


def test_a_writer_writes_beside_the_commits_and_at_the_stop(embedded):
    told = []
    writer = SnapshotWriter(snapshots_of(embedded), lambda: embedded.state, min_entries=10, interval=0.01)
    writer.start()
    for _ in range(500):
        if FileSnapshots(embedded.settings.snapshots).names():
            break
        module.time.sleep(0.01)
    told += FileSnapshots(embedded.settings.snapshots).names()
    assert told == [f"state-{embedded.state.position:012d}.snapshot"]
    embedded.instance.record.commit([enrolled(number) for number in range(100, 112)])
    writer.close()
    assert (
        FileSnapshots(embedded.settings.snapshots).names()[0]
        == f"state-{embedded.state.position:012d}.snapshot"
    )
    assert keeper(embedded).snapshot == embedded.state.position


def test_a_short_record_gets_no_snapshot(embedded):
    embedded.reopen()
    assert not embedded.settings.snapshots.exists()
