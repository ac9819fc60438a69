"""Backup, restore and upgrade: whole, verified, and nothing revoked or erased comes back with them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import tarfile
import threading
from io import BytesIO
from pathlib import Path

import pytest
from tests.support.instances import make_instance, operator
from tests.support.log_directories import log_signer
from tests.support.postgres import run as run_sql
from tests.support.postgres import schema, tamper
from tests.support.screening_lists import un_people

from safeconduct.app.import_screening_list import GivenFile, ImportScreeningList, import_screening_list
from safeconduct.app.rotate_key import RotateKey
from safeconduct.app.screening_lists import entries_in_force
from safeconduct.audit.checkpoint import LogVerifier, parse_checkpoint, sign_checkpoint
from safeconduct.audit.fsck import check
from safeconduct.audit.sequencing import Log
from safeconduct.bootstrap import initialise_instance, key_rotation, open_instance
from safeconduct.cli.application import run
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import (
    Conflict,
    InvalidInput,
    LogUnavailable,
    NotFound,
    SafeconductError,
    UnsafeConfiguration,
    VerificationFailed,
)
from safeconduct.kernel.ids import PassportId, SubjectId
from safeconduct.kernel.signing import EDDSA
from safeconduct.kernel.vocabulary import PassportStatus, SubjectKind
from safeconduct.maintenance import back_up, put_back, upgrade_data
from safeconduct.record.envelope import open_entry, read_entry
from safeconduct.record.events.holders import PassportStatusChanged, SubjectEnrolled
from safeconduct.settings import read_settings
from safeconduct.storage import backup as backup_module
from safeconduct.storage import restore as restore_module
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.screening_lists import ScreeningListFiles


def quiet(_title):
    return contextlib.nullcontext(lambda _done, _total: None)


def enrolled(name):
    return SubjectEnrolled(subject=SubjectId(f"sub_{name}"), kind=SubjectKind.HUMAN)


def revoked(name):
    return PassportStatusChanged(
        passport=PassportId(name), status=PassportStatus.INVALID, cause="test", by="operator", at=1
    )


def save(embedded, target, **given):
    return back_up(embedded.settings, target, progress=quiet, **{"settle": lambda: None, **given})


def bring_back(settings, source, *, replace=False, known=()):
    return put_back(settings, source, known=known, replace=replace, progress=quiet)


def decide(embedded, number, position):
    log = embedded.opened.decision_log
    body = json.dumps({"number": number, "position": position}).encode()
    entry = open_entry(body, uid=f"d{number}", seq=log.size, time_ms=0, type="decision")
    log.wait_durable_sync(log.submit(entry), 30)


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as found:
        found.instance.record.commit([enrolled(number) for number in range(300)])
        found.instance.vault.put("evidence", "one", "sub_1", b"a passport's number")
        found.instance.vault.put("evidence", "two", "sub_2", b"another")
        for number in range(5):
            decide(found, number, found.state.position)
        found.opened.record_log.checkpoint(force=True)
        found.opened.decision_log.checkpoint(force=True)
        yield found


def elsewhere(embedded, tmp_path):
    """The same keys, another place for the data."""
    return read_settings(
        {}, data=tmp_path / "elsewhere", keys=embedded.settings.keys, gateway_port=0, api_port=0
    )


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_what_was_backed_up_while_it_ran_comes_back_whole_and_goes_on(embedded, tmp_path, name):
    target = tmp_path / name
    manifest = save(embedded, target)
    assert manifest.record.size == embedded.state.position
    assert manifest.decisions == 5
    assert os.stat(target).st_mode & 0o077 == 0
    before = embedded.state
    settings = elsewhere(embedded, tmp_path)
    restored = bring_back(settings, target)
    assert (restored.erased, restored.kept) == (0, "")
    embedded.close()
    with open_instance(settings, clock=embedded.clock) as opened:
        state = opened.instance.record.state
        assert (state.position, state.subjects) == (before.position, before.subjects)
        assert opened.instance.vault.get("evidence", "one") == b"a passport's number"
        assert [read_entry(one).uid for one in opened.decision_log.read(0, 5)] == [f"d{n}" for n in range(5)]
        assert opened.instance.record.commit([enrolled("after")]) == before.position + 1
    for log, origin, key in (
        (settings.record_log, embedded.opened.descriptor.record_origin, "record-log"),
        (settings.decision_log, embedded.opened.descriptor.decision_origin, "decision-log"),
    ):
        verifier = LogVerifier.of(origin, embedded.opened.keys.signer(key))
        assert check(FileLogDirectory(log), verifier).problems == ()
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)


def test_a_backup_under_load_holds_for_every_decision_the_record_that_it_rests_on(embedded, tmp_path):
    stop = threading.Event()

    def load():
        number = 100
        while not stop.is_set():
            number += 1
            embedded.instance.record.commit([enrolled(number)])
            decide(embedded, number, embedded.state.position)
            embedded.instance.vault.put("evidence", f"e{number}", f"sub_{number}", b"x" * 2000)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        saved = [save(embedded, tmp_path / f"b{round}", settle=None) for round in range(3)]
    finally:
        stop.set()
        thread.join(30)
    assert saved[2].decisions > saved[0].decisions
    embedded.close()
    for round, manifest in enumerate(saved):
        settings = read_settings({}, data=tmp_path / f"r{round}", keys=embedded.settings.keys)
        bring_back(settings, tmp_path / f"b{round}")
        with open_instance(settings, clock=embedded.clock) as opened:
            position = opened.instance.record.state.position
            assert position == manifest.record.size
            for entry in opened.decision_log.read(0, manifest.decisions):
                envelope = read_entry(entry)
                assert json.loads(bytes(envelope.body))["position"] <= position
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)


def test_no_private_key_is_in_a_backup(embedded, tmp_path):
    save(embedded, tmp_path / "backup.tar")
    data = (tmp_path / "backup.tar").read_bytes()
    keys = [file for file in embedded.settings.keys.rglob("*") if file.is_file() and file.name != "README"]
    assert len(keys) > 6
    for file in keys:
        body = file.read_bytes()
        assert body not in data
        for line in body.splitlines():
            if len(line) > 30 and b"-----" not in line:
                assert line not in data, file.name
    assert b"PRIVATE" not in data
    assert b"a passport's number" not in data


def test_a_backup_is_never_written_over_something_nor_into_the_data(embedded, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(Conflict):
        save(embedded, tmp_path / "there")
    with pytest.raises(Conflict):
        save(embedded, embedded.settings.data / "backup")
    (tmp_path / "half.partial").mkdir()
    with pytest.raises(Conflict, match="unfinished"):
        save(embedded, tmp_path / "half")


def test_a_damaged_log_is_not_backed_up(embedded, tmp_path):
    tile = embedded.settings.record_log / "tile/entries/000"
    data = tile.read_bytes()
    tile.write_bytes(data[:100] + b"\x00" + data[101:])
    with pytest.raises(SafeconductError, match="damaged"):
        save(embedded, tmp_path / "backup")
    tile.write_bytes(data)
    assert list(tmp_path.glob("backup*")) == []


def workers_key(embedded):
    keys = embedded.opened.keys
    return keys.signer("worker-log") if keys.has("worker-log") else keys.make("worker-log", EDDSA)


def worker_log(embedded, name):
    """A further decision log of the instance, as a worker process keeps one."""
    return Log.open(
        FileLogDirectory(embedded.settings.data / "decisions" / name / "log"),
        origin=f"{embedded.opened.descriptor.decision_origin}/{name}",
        signer=workers_key(embedded),
        clock=SystemClock(),
        create=True,
    )


def test_the_decision_logs_of_workers_are_part_of_a_backup(embedded, tmp_path):
    log = worker_log(embedded, "worker-2")
    log.wait_durable_sync(log.submit(open_entry(b"{}", uid="w", seq=0, time_ms=0, type="decision")), 30)
    log.close()
    manifest = save(embedded, tmp_path / "backup.tar")
    assert [one.path for one in manifest.logs] == ["decisions/log", "decisions/worker-2/log", "record/log"]
    assert manifest.decisions == 6
    bring_back(elsewhere(embedded, tmp_path), tmp_path / "backup.tar")
    embedded.close()
    bring_back(embedded.settings, tmp_path / "backup.tar", replace=True)
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)
    again = worker_log(embedded, "worker-2")
    assert read_entry(next(iter(again.read(0, 1)))).uid == "w"
    again.close()


def test_a_backup_without_a_log_that_was_begun_since_is_not_restored_over_it(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    log = worker_log(embedded, "worker-2")
    log.wait_durable_sync(log.submit(b"decision"), 30)
    log.close()
    embedded.close()
    with pytest.raises(VerificationFailed, match="does not hold the log"):
        bring_back(embedded.settings, tmp_path / "backup", replace=True)
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)


def test_a_backup_after_a_change_of_the_logs_keys_comes_back_with_their_history(embedded, tmp_path):
    for name in ("record-log", "decision-log"):
        key_rotation(embedded.opened).rotate(operator(), name, RotateKey())
    kept = parse_checkpoint(embedded.opened.record_log.checkpoint(force=True))
    save(embedded, tmp_path / "backup")
    assert (tmp_path / "backup/record/log/key-history").is_file()
    settings = elsewhere(embedded, tmp_path)
    bring_back(settings, tmp_path / "backup", known=[kept])
    embedded.close()
    position = open_and_count(settings, embedded.clock)
    assert position == kept.size
    bring_back(embedded.settings, tmp_path / "backup", replace=True)
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)


def open_and_count(settings, clock):
    with open_instance(settings, clock=clock) as opened:
        return opened.instance.record.state.position


# -- altered backups -------------------------------------------------------------------------------------------------


def test_any_altered_added_or_missing_file_is_refused(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    settings = elsewhere(embedded, tmp_path)
    files = sorted(file for file in (tmp_path / "backup").rglob("*") if file.is_file())
    assert len(files) > 10
    for file in files:
        data = file.read_bytes()
        middle = len(data) // 2
        file.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        with pytest.raises((VerificationFailed, InvalidInput)):
            bring_back(settings, tmp_path / "backup")
        file.unlink()
        with pytest.raises((VerificationFailed, InvalidInput)):
            bring_back(settings, tmp_path / "backup")
        file.write_bytes(data)
        assert not settings.data.exists()
        assert not settings.data.with_name("elsewhere.restoring").exists()
    (tmp_path / "backup/record/log/extra").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="does not belong"):
        bring_back(settings, tmp_path / "backup")


def test_a_manifest_made_without_the_root_key_is_refused(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    manifest = tmp_path / "backup/manifest.json"
    text = json.loads(manifest.read_bytes())
    text["made_at"] += 1
    manifest.write_text(json.dumps(text))
    with pytest.raises(VerificationFailed, match="altered"):
        bring_back(elsewhere(embedded, tmp_path), tmp_path / "backup")


def test_a_backup_of_an_instance_with_another_root_key_is_refused(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    other = tmp_path / "other"
    shutil.copytree(embedded.settings.keys, other / "keys")
    (other / "keys/root.key").write_bytes(base64.b64encode(hashlib.sha256(b"another").digest()) + b"\n")
    settings = read_settings({}, data=other / "data", keys=other / "keys")
    with pytest.raises(VerificationFailed, match="root key"):
        bring_back(settings, tmp_path / "backup")


def test_a_tar_with_links_or_paths_that_lead_out_is_refused(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    for number, make in enumerate(
        (
            lambda: _member("../../outside", b"x"),
            lambda: _member("/etc/outside", b"x"),
            lambda: _member("record/log/tile/0/../../../../outside", b"x"),
            lambda: _link("record/log/checkpoint2", "/etc/passwd"),
        )
    ):
        target = tmp_path / f"evil{number}.tar"
        with tarfile.open(target, "w") as tar:
            for file in sorted((tmp_path / "backup").rglob("*")):
                if file.is_file():
                    tar.add(file, file.relative_to(tmp_path / "backup").as_posix())
            info, data = make()
            tar.addfile(info, BytesIO(data))
        with pytest.raises(InvalidInput, match="does not belong"):
            bring_back(elsewhere(embedded, tmp_path), target)
    (tmp_path / "backup/link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="does not belong"):
        bring_back(elsewhere(embedded, tmp_path), tmp_path / "backup")


def _member(name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def _link(name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, b""


# -- nothing comes back ----------------------------------------------------------------------------------------------


def test_a_backup_older_than_a_revocation_is_not_restored_over_it(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    embedded.instance.record.commit([revoked("pp_1")])
    embedded.close()
    with pytest.raises(VerificationFailed, match="were signed"):
        bring_back(embedded.settings, tmp_path / "backup", replace=True)
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)
    assert b"pp_1" in list(embedded.opened.record_log.read(0, embedded.state.position))[-1]


def test_a_backup_older_than_a_checkpoint_that_somebody_kept_is_not_restored_anywhere(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    embedded.instance.record.commit([revoked("pp_1")])
    kept = parse_checkpoint(embedded.opened.record_log.checkpoint(force=True))
    settings = elsewhere(embedded, tmp_path)
    with pytest.raises(VerificationFailed, match="revoked"):
        bring_back(settings, tmp_path / "backup", known=[kept])
    save(embedded, tmp_path / "newer")
    bring_back(settings, tmp_path / "newer", known=[kept])
    assert settings.data.is_dir()


def test_a_backup_that_contradicts_a_kept_checkpoint_is_refused(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    verifier = embedded.opened.record_log.verifier
    fork = sign_checkpoint(embedded.opened.keys.signer("record-log"), verifier, 100, b"\x07" * 32)
    with pytest.raises(VerificationFailed, match="contradicts"):
        bring_back(elsewhere(embedded, tmp_path), tmp_path / "backup", known=[fork])


def test_a_kept_checkpoint_that_is_forged_is_refused_and_one_of_another_log_says_nothing(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    stranger = log_signer()
    forged = sign_checkpoint(
        stranger, LogVerifier.of(embedded.opened.descriptor.record_origin, stranger), 1, b"\x07" * 32
    )
    with pytest.raises(VerificationFailed):
        bring_back(elsewhere(embedded, tmp_path), tmp_path / "backup", known=[forged])
    foreign = sign_checkpoint(stranger, LogVerifier.of("other.example/log", stranger), 10**6, b"\x07" * 32)
    bring_back(elsewhere(embedded, tmp_path), tmp_path / "backup", known=[foreign])


def test_who_was_erased_since_the_backup_stays_erased(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    embedded.instance.vault.forget("sub_1")
    embedded.close()
    restored = bring_back(embedded.settings, tmp_path / "backup", replace=True)
    assert restored.erased == 1
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)
    vault = embedded.instance.vault
    assert vault.get("evidence", "one") is None
    assert vault.get("evidence", "two") == b"another"
    with pytest.raises(NotFound):
        vault.aead("sub_1", create=True)
    assert vault.names("evidence") == ["two"]
    assert Path(restored.kept).is_dir()


def test_a_running_instance_is_not_replaced(embedded, tmp_path):
    save(embedded, tmp_path / "backup")
    with pytest.raises(Conflict, match="--replace|data already"):
        bring_back(embedded.settings, tmp_path / "backup")
    with pytest.raises(LogUnavailable, match="open"):
        bring_back(embedded.settings, tmp_path / "backup", replace=True)
    embedded.instance.record.commit([enrolled("still here")])


@pytest.mark.parametrize("step", ["_check_log", "_carry_erasures", "_make_writable", "sync_tree"])
def test_a_restore_that_fails_half_way_leaves_the_data_as_they_were(embedded, tmp_path, monkeypatch, step):
    save(embedded, tmp_path / "backup")
    embedded.close()

    def fail(*_given, **_more):
        raise OSError("the disk failed")

    with monkeypatch.context() as patch:
        patch.setattr(restore_module, step, fail)
        with pytest.raises(OSError, match="failed"):
            bring_back(embedded.settings, tmp_path / "backup", replace=True)
    assert sorted(path.name for path in embedded.settings.data.parent.iterdir()) == ["data", "keys"]
    bring_back(embedded.settings, tmp_path / "backup", replace=True)
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)
    assert "sub_299" in embedded.state.subjects


def test_a_restored_log_s_epoch_is_later_than_any_before(embedded, tmp_path):
    for _ in range(3):
        embedded.reopen()
    save(embedded, tmp_path / "backup")
    embedded.close()
    before = int((embedded.settings.record_log / "epoch").read_bytes().split()[1])
    bring_back(embedded.settings, tmp_path / "backup", replace=True)
    assert int((embedded.settings.record_log / "epoch").read_bytes().split()[1]) > before
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)


def test_a_record_in_a_database_is_loaded_into_an_empty_one(tmp_path):
    with schema() as url:
        settings = read_settings({}, home=tmp_path / "i", gateway_port=0, api_port=0, record_url=url)
        initialise_instance(settings, profile="development", packs=())
        with open_instance(settings) as opened:
            opened.instance.record.commit([enrolled(number) for number in range(300)])
            opened.record_log.checkpoint(force=True)
            back_up(settings, tmp_path / "backup.tar", progress=quiet)
            before = opened.instance.record.state
        run_sql(f"DROP SCHEMA {url.schema} CASCADE")
        with pytest.raises(NotFound):
            open_instance(settings)
        bring_back(settings, tmp_path / "backup.tar", replace=True)
        with open_instance(settings) as opened:
            assert opened.instance.record.state.subjects == before.subjects
            assert opened.instance.record.commit([enrolled("after")]) == before.position + 1


def test_a_database_that_lost_entries_is_not_opened_with_a_newer_backup_s_files(tmp_path):
    with schema() as url:
        settings = read_settings({}, home=tmp_path / "i", gateway_port=0, api_port=0, record_url=url)
        initialise_instance(settings, profile="development", packs=())
        with open_instance(settings) as opened:
            opened.instance.record.commit([revoked("pp_1")])
            opened.record_log.checkpoint(force=True)
            back_up(settings, tmp_path / "backup", progress=quiet)
            size = opened.instance.record.state.position
        tamper(
            url,
            f"DELETE FROM record_entry WHERE seq = {size - 1}",
            f"UPDATE record_head SET size = {size - 1}, signed_size = -1, checkpoint = NULL",
        )
        bring_back(settings, tmp_path / "backup", replace=True)
        with pytest.raises(SafeconductError, match="rolled back|signed over"):
            open_instance(settings)


# -- upgrade ---------------------------------------------------------------------------------------------------------


def as_format_1(settings):
    """What the first release wrote: no home of the record, no release, and in the very first no format either."""
    found = json.loads(settings.instance_file.read_bytes())
    for name in ("record", "release", "format"):
        found.pop(name)
    settings.instance_file.write_text(json.dumps(found))
    return settings.instance_file.read_bytes()


def test_a_data_directory_of_an_older_format_is_refused_until_it_is_upgraded(embedded):
    before = embedded.state
    embedded.close()
    old = as_format_1(embedded.settings)
    with pytest.raises(UnsafeConfiguration, match="format 1") as caught:
        open_instance(embedded.settings)
    assert "safeconduct upgrade" in caught.value.remedy
    assert upgrade_data(embedded.settings) == (1, 2)
    assert (embedded.settings.data / "instance.json.format-1").read_bytes() == old
    assert upgrade_data(embedded.settings) == (2, 2)
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)
    assert embedded.state.subjects == before.subjects
    assert embedded.opened.descriptor.record == "files"


def test_a_data_directory_of_a_newer_format_is_refused_by_its_release_s_name(embedded):
    embedded.close()
    text = embedded.settings.instance_file.read_bytes()
    found = {**json.loads(text), "format": 9, "release": "4.2.0", "another": "member"}
    embedded.settings.instance_file.write_text(json.dumps(found))
    for work in (lambda: upgrade_data(embedded.settings), lambda: open_instance(embedded.settings)):
        with pytest.raises(UnsafeConfiguration, match=r"format 9, made by release 4\.2\.0"):
            work()
    embedded.settings.instance_file.write_bytes(text)
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)


def test_an_instance_that_runs_is_not_upgraded(embedded):
    as_format_1(embedded.settings)
    with pytest.raises(LogUnavailable):
        upgrade_data(embedded.settings)


# -- the commands ----------------------------------------------------------------------------------------------------


def test_the_commands_speak_json_and_say_what_to_do(embedded, tmp_path, capsys):
    home = str(embedded.settings.data.parent)
    target = str(tmp_path / "backup.tar")

    def call(*words, status=0):
        assert run([*words, "--data", home, "--json"]) == status
        out, err = capsys.readouterr()
        return json.loads(out if status == 0 else err)

    said = call("backup", target)
    assert (said["record"], said["decisions"]) == (embedded.state.position, 5)
    assert call("restore", target, status=1)["remedy"].startswith("give --replace")
    kept = tmp_path / "kept.txt"
    kept.write_bytes(embedded.opened.record_log.checkpoint(force=True))
    assert "stop it" in call("restore", target, "--replace", status=1)["remedy"]
    position = embedded.state.position
    embedded.close()
    said = call("restore", target, "--replace", "--known", str(kept))
    assert (said["record"], said["decisions"], said["erased"]) == (position, 5, 0)
    assert Path(said["replaced"]).is_dir()
    kept.write_text("nothing")
    assert call("restore", target, "--replace", "--known", str(kept), status=2)["field"] == str(kept)
    assert call("upgrade") == {"data": str(embedded.settings.data), "from": 2, "to": 2}
    assert run(["upgrade", "--data", home]) == 0
    assert "already" in capsys.readouterr().out
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)


def test_a_backup_holds_the_versions_of_screening_lists_and_not_what_is_on_its_way(embedded, tmp_path):
    lists = embedded.opened.lists
    data = un_people(10)
    digest = hashlib.sha256(data).hexdigest()
    for sent in (data, b"not imported"):
        with lists.upload(hashlib.sha256(sent).hexdigest()) as upload:
            upload.write(sent)
            upload.keep()
    ask = ImportScreeningList(files=(GivenFile("file", sha256=digest),))
    import_screening_list(embedded.instance, operator(), lists, "un.sc", ask)
    (lists.root / "lists.json").write_text('{"un.sc": {"max_age": 9}}')
    (lists.root / "lists" / "un.sc" / "versions" / ".draft-left").mkdir()
    manifest = save(embedded, tmp_path / "saved.tar")
    found = {file.path for file in manifest.files if file.path.startswith("screening/")}
    version = f"screening/lists/un.sc/versions/{digest}"
    assert found == {
        "screening/lists.json",
        "screening/lists/un.sc/in-force",
        f"{version}/version.json",
        f"{version}/entries.jsonl",
        f"{version}/sources/file.gz",
    }
    settings = elsewhere(embedded, tmp_path)
    bring_back(settings, tmp_path / "saved.tar")
    again = ScreeningListFiles(settings.screening)
    event = embedded.instance.record.state.screening_lists["un.sc"]
    assert again.in_force("un.sc") == digest
    assert list(entries_in_force(again, event)) == list(entries_in_force(lists, event))
    assert again.settings()["un.sc"].max_age == 9
    for path in (settings.data, *settings.screening.rglob("*.*")):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path
    assert settings.data.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "path",
    [
        "screening/lists/../../vault.db",
        "screening/lists/un.sc/lock",
        "screening/lists/un.sc/versions/abc/entries.jsonl",
        "screening/uploads/" + "0" * 64,
    ],
)
def test_a_path_of_no_version_does_not_belong_into_a_backup(path):
    assert backup_module._PATH.fullmatch(path) is None
