import os
import sqlite3
import stat
import threading

import pytest
import sqlalchemy as sa

from safeconduct.kernel.errors import InvalidInput, NotFound, UnsafeConfiguration
from safeconduct.kernel.signing import FileKeyWrapper
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.subject_keys import FILE_NAME, SubjectKeys, open_subject_keys_read_only
from safeconduct.storage.tables import documents, subject_keys
from safeconduct.storage.vault import SqliteVault

ROOT = b"r" * 32


class Opened:
    def __init__(self, directory, root=ROOT):
        self.record = directory / "record"
        self.record.mkdir(exist_ok=True)
        self.keys = SubjectKeys.open(self.record, FileKeyWrapper(root))
        self.vault = SqliteVault.open(directory / "vault.db", self.keys)

    def close(self):
        self.vault.close()
        self.keys.close()


@pytest.fixture
def opened(tmp_path):
    store = Opened(tmp_path)
    yield store
    store.close()


def every_byte(directory):
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def test_a_document_comes_back_as_it_was_put_also_after_reopening(tmp_path):
    first = Opened(tmp_path)
    first.vault.put("evidence", "sub_1", "sub_1", b"born somewhere")
    first.vault.put("evidence", "sub_1", "sub_1", b"born elsewhere")
    first.close()
    again = Opened(tmp_path)
    assert again.vault.get("evidence", "sub_1") == b"born elsewhere"
    assert again.vault.names("evidence") == ["sub_1"]
    assert again.vault.get("evidence", "sub_2") is None
    again.close()


def test_no_plaintext_and_no_data_key_reaches_the_disk(opened, tmp_path):
    opened.vault.put("evidence", "sub_1", "sub_1", b"CANARY-of-plaintext")
    assert b"CANARY-of-plaintext" not in every_byte(tmp_path)


def test_forgetting_a_subject_makes_its_documents_unreadable_for_good(opened, tmp_path):
    opened.vault.put("evidence", "sub_1", "sub_1", b"one")
    opened.vault.put("evidence", "sub_2", "sub_2", b"two")
    with sqlite3.connect(opened.record / FILE_NAME) as raw:
        (wrapped,) = raw.execute("SELECT wrapped FROM subject_keys WHERE subject='sub_1'").fetchone()
    raw.close()
    opened.vault.forget("sub_1")
    assert opened.vault.get("evidence", "sub_1") is None
    assert opened.vault.get("evidence", "sub_2") == b"two"
    with pytest.raises(NotFound, match="erased"):
        opened.vault.aead("sub_1", create=True)
    with pytest.raises(NotFound, match="erased"):
        opened.vault.put("evidence", "sub_1", "sub_1", b"again")
    # The wrapped key is gone from the file and from the write-ahead log, not only from the table.
    assert wrapped not in every_byte(tmp_path)


def test_a_subject_without_a_data_key_is_not_given_one_by_reading(opened):
    with pytest.raises(NotFound):
        opened.vault.aead("sub_9")
    assert opened.keys.find("sub_9") is None


def test_a_document_moved_to_another_name_or_kind_does_not_open(opened, tmp_path):
    opened.vault.put("claims", "pass_1", "sub_1", b"one")
    with sqlite3.connect(tmp_path / "vault.db") as raw:
        raw.execute("UPDATE documents SET name='pass_2'")
    raw.close()
    with pytest.raises(InvalidInput):
        opened.vault.get("claims", "pass_2")


def test_another_root_key_is_refused_and_says_so(tmp_path):
    first = Opened(tmp_path)
    first.vault.put("evidence", "sub_1", "sub_1", b"one")
    first.close()
    other = Opened(tmp_path, root=b"x" * 32)
    with pytest.raises(UnsafeConfiguration, match="root key"):
        other.vault.get("evidence", "sub_1")
    other.close()


def test_databases_are_private_durable_and_overwrite_what_is_deleted(opened, tmp_path):
    for path in (tmp_path / "vault.db", opened.record / FILE_NAME):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with opened.vault._engine.connect() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_the_migrations_make_the_tables_that_the_code_reads(opened):
    for engine, table in ((opened.vault._engine, documents), (opened.keys._engine, subject_keys)):
        columns = {
            column["name"]: column["nullable"] for column in sa.inspect(engine).get_columns(table.name)
        }
        assert columns == {column.name: column.nullable for column in table.columns}


def test_a_database_of_a_newer_release_is_refused(tmp_path):
    Opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "vault.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num='vault_9999'")
    raw.close()
    with pytest.raises(UnsafeConfiguration, match="another release"):
        Opened(tmp_path)


def test_concurrent_first_use_makes_one_data_key(opened):
    start = threading.Barrier(8)
    seen = []

    def use():
        start.wait()
        seen.append(opened.vault.aead("sub_1", create=True))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(aead) for aead in seen}) == 1


@pytest.mark.parametrize("live", [False, True])
def test_a_replay_reads_the_data_keys_without_writing(tmp_path, live):
    keys = KeyDirectory(tmp_path / "keys")
    wrapper = keys.make_root()
    record = tmp_path / "record"
    record.mkdir()
    writer = SubjectKeys.open(record, wrapper)
    sealed = writer.aead("sub_1", create=True).encrypt(b"n" * 12, b"decision", b"uid")
    writer.aead("sub_2", create=True)
    writer.forget("sub_2")
    if not live:
        writer.close()
    before = sorted(os.listdir(record))
    with open_subject_keys_read_only(record, tmp_path / "keys" / "root.key") as reader:
        aead = reader.find("sub_1")
        assert aead is not None
        assert aead.decrypt(b"n" * 12, sealed, b"uid") == b"decision"
        assert reader.find("sub_2") is None
        assert reader.find("sub_3") is None
        with pytest.raises(NotFound):
            reader.aead("sub_3", create=True)
    assert sorted(os.listdir(record)) == before
    writer.close()


def test_a_replay_without_keys_says_what_to_give(tmp_path):
    with pytest.raises(NotFound, match="record directory"):
        open_subject_keys_read_only(tmp_path, tmp_path / "root.key")


def test_a_directory_with_an_awkward_name_is_opened_and_nothing_beside_it(tmp_path):
    odd = tmp_path / "a b?mode=memory#%41é"
    keys = KeyDirectory(tmp_path / "keys")
    wrapper = keys.make_root()
    (odd / "record").mkdir(parents=True)
    writer = SubjectKeys.open(odd / "record", wrapper)
    vault = SqliteVault.open(odd / "vault.db", writer)
    vault.put("evidence", "sub_1", "sub_1", b"one")
    vault.close()
    writer.close()
    with open_subject_keys_read_only(odd / "record", tmp_path / "keys" / "root.key") as reader:
        assert reader.find("sub_1") is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a b?mode=memory#%41é", "keys"]
    assert sorted(path.name for path in odd.iterdir()) == ["record", "vault.db"]
