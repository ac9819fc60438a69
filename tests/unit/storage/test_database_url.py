"""Where the record's database is: read strictly, and never shown with its password."""

from __future__ import annotations

import pytest
from tests.support.instances import make_instance

from safeconduct.app.rotate_key import RotateKey
from safeconduct.bootstrap import initialise_instance, key_rotation, open_instance
from safeconduct.cli.application import run
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import Conflict, InvalidInput, LogUnavailable, UnsafeConfiguration
from safeconduct.settings import Descriptor, check_database, read_settings
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.postgres_record import PostgresRecordLog

SECRET = "pa55-w0rd"


@pytest.mark.parametrize(
    "text",
    [
        f"mysql://u:{SECRET}@h/d",
        f"postgresql://u:{SECRET}@h:port/d",
        f"postgresql://u:{SECRET}@h:99999999/d",
        f"postgresql://u:{SECRET}@h/d?schema=Drop%20Table",
        f"postgresql://u:{SECRET}@h/d?schema=pg_catalog",
        f"postgresql://u:{SECRET}@h/d?schema=a;b",
        f"postgresql://u:{SECRET}@h/d?sslmode=maybe",
        f"postgresql://u:{SECRET}@h/d?options=-csearch_path%3Dx",
        f"postgresql://u:{SECRET}@h/d#x",
        f"u:{SECRET}@h/d",
        "",
    ],
)
def test_a_url_that_is_none_is_refused_without_being_repeated(text):
    with pytest.raises(InvalidInput) as caught:
        DatabaseUrl.parse(text)
    assert SECRET not in str(caught.value)
    if text:
        with pytest.raises(InvalidInput) as caught:
            read_settings({"SAFECONDUCT_RECORD_URL": text})
        assert caught.value.field == "SAFECONDUCT_RECORD_URL"
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://u:{SECRET}@db.example:6543/d?schema=one&sslmode=verify-full&sslrootcert=/etc/ca.pem",
        f"postgres://u%40x:{SECRET}@[::1]/d",
        f"postgresql://u:{SECRET}@/d?host=/run/postgresql",
        "postgresql://127.0.0.1",
    ],
)
def test_what_is_shown_is_the_same_place_without_the_password(text):
    url = DatabaseUrl.parse(text)
    again = DatabaseUrl.parse(url.shown)
    assert again == url
    assert again.shown == url.shown
    assert SECRET not in f"{url!r} {url.shown}"
    assert not again.has_password
    assert url.has_password is (SECRET in text)


def descriptor(record: str) -> Descriptor:
    return Descriptor("production", "https://a.example", "https://b.example", "o/r", "o/d", 0, record=record)


@pytest.mark.parametrize(
    ("record", "refused"),
    [
        ("files", False),
        ("postgresql://u@127.0.0.1/d", False),
        ("postgresql://u@/d?host=/run/postgresql", False),
        ("postgresql://u@db.example/d?sslmode=verify-full", False),
        ("postgresql://u@db.example/d", True),
        ("postgresql://u@db.example/d?sslmode=require", True),
        ("postgresql://u@10.0.0.1/d?sslmode=prefer", True),
    ],
)
def test_production_speaks_to_a_database_on_a_network_only_with_verified_tls(tmp_path, record, refused):
    settings = read_settings({}, home=tmp_path)
    if refused:
        with pytest.raises(UnsafeConfiguration, match="verified TLS"):
            check_database(descriptor(record), settings)
    else:
        check_database(descriptor(record), settings)
    if record != "files":
        other = read_settings({}, home=tmp_path, record_url=DatabaseUrl.parse("postgresql://u@db.example/d"))
        with pytest.raises(UnsafeConfiguration):
            check_database(descriptor(record), other)


def test_an_instance_kept_in_files_does_not_take_a_database_instead(tmp_path):
    with make_instance(tmp_path) as embedded:
        settings = read_settings(
            {"SAFECONDUCT_RECORD_URL": "postgresql://u@127.0.0.1:1/d"},
            data=embedded.settings.data,
            keys=embedded.settings.keys,
        )
        embedded.close()
        with pytest.raises(UnsafeConfiguration, match="in files"):
            open_instance(settings)
        embedded.reopen()


def test_a_database_that_is_away_when_an_instance_is_made_leaves_none(tmp_path):
    settings = read_settings(
        {}, home=tmp_path, record_url=DatabaseUrl.parse(f"postgresql://u:{SECRET}@127.0.0.1:1/d")
    )
    with pytest.raises(LogUnavailable) as caught:
        initialise_instance(settings, profile="development", packs=())
    assert SECRET not in str(caught.value)
    assert not settings.instance_file.exists()


def test_init_refuses_a_password_in_an_argument(tmp_path, capsys):
    words = ["init", "--data", str(tmp_path), "--record", f"postgresql://u:{SECRET}@127.0.0.1/d", "--json"]
    assert run(words) == 2
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert "SAFECONDUCT_RECORD_URL" in said.err
    assert list(tmp_path.iterdir()) == []


def test_production_refuses_a_server_that_may_forget_commits(tmp_path, monkeypatch):
    from tests.support.postgres import schema  # noqa: PLC0415
    from tests.support.record_homes import ORIGIN, SIGNER, WRAPPER  # noqa: PLC0415

    async def weak(_connection):
        return ["fsync"]

    with schema() as url:
        monkeypatch.setattr("safeconduct.storage.postgres_record.forgetful_settings", weak)
        log = PostgresRecordLog.open(
            url,
            FileLogDirectory(tmp_path / "m"),
            origin=ORIGIN,
            signer=SIGNER,
            wrapper=WRAPPER,
            clock=SystemClock(),
            create=True,
        )
        try:
            assert "fsync is off" in log.notes[0]
            with pytest.raises(UnsafeConfiguration, match="fsync"):
                log.check_durable()
        finally:
            log.close()


def test_a_rotated_root_key_opens_the_record_and_its_old_one_does_not(tmp_path):
    from tests.support.instances import operator  # noqa: PLC0415
    from tests.support.postgres import schema  # noqa: PLC0415

    with schema() as url:
        settings = read_settings({}, home=tmp_path, gateway_port=0, api_port=0, record_url=url)
        initialise_instance(settings, profile="development", packs=())
        old = (settings.keys / "root.key").read_bytes()
        with open_instance(settings) as opened:
            position = opened.instance.record.state.position
            key_rotation(opened).rotate(operator(), "root", RotateKey())
            with pytest.raises(Conflict, match="not changed by command"):
                key_rotation(opened).rotate(operator(), "record-log", RotateKey())
            key_rotation(opened).rotate(operator(), "token", RotateKey())
        with open_instance(settings) as opened:
            assert opened.instance.record.state.position == position + 2
        (settings.keys / "root.key").write_bytes(old)
        with pytest.raises(UnsafeConfiguration, match="unwrap"):
            open_instance(settings)


def test_a_root_rotation_cut_short_before_its_end_is_finished_at_the_next_start(tmp_path, monkeypatch):
    from tests.support.instances import operator  # noqa: PLC0415
    from tests.support.postgres import schema  # noqa: PLC0415

    with schema() as url:
        settings = read_settings({}, home=tmp_path, gateway_port=0, api_port=0, record_url=url)
        initialise_instance(settings, profile="development", packs=())
        for step in ("rewrapped", "not rewrapped"):
            with open_instance(settings) as opened, monkeypatch.context() as patch:
                if step == "not rewrapped":
                    patch.setattr(type(opened.record_log), "change_root", _power_goes)
                else:
                    patch.setattr(type(opened.keys), "activate", _power_goes)
                with pytest.raises(KeyboardInterrupt):
                    key_rotation(opened).rotate(operator(), "root", RotateKey())
            with open_instance(settings) as opened:
                opened.instance.record.commit([])
            open_instance(settings).close()


def _power_goes(*_):
    raise KeyboardInterrupt
