import os
from pathlib import Path

import msgspec
import pytest
from tests.support.instances import NOON, make_instance

from safeconduct import bootstrap
from safeconduct.app.initialise import OPERATOR
from safeconduct.bootstrap import initialise_instance, open_instance
from safeconduct.kernel.clock import SimulatedClock, SystemClock
from safeconduct.kernel.errors import Conflict, InvalidInput, LogUnavailable, NotFound, UnsafeConfiguration
from safeconduct.kernel.signing import FileSigner
from safeconduct.record.events.registrations import (
    DeploymentRegistered,
    ModelRegistered,
    ProviderRegistered,
    VariantRegistered,
)
from safeconduct.record.events.trust import TrustKeyAdded
from safeconduct.settings import (
    SOURCE_CONNECTIONS,
    Descriptor,
    Settings,
    check_issuer,
    check_listeners,
    check_no_development,
    check_production,
    connections_per_source,
    is_loopback,
    read_descriptor,
    read_settings,
)


class FixedClock(SystemClock):
    def now(self):
        return float(NOON)


OFFICERS = [FileSigner.generate().public_jwk(), FileSigner.generate().public_jwk()]


def production(tmp_path, **given):
    return make_instance(
        tmp_path,
        clock=FixedClock(),
        profile="production",
        issuer="https://control.example",
        audience="https://gateway.example",
        officers=OFFICERS,
        **given,
    )


def test_settings_come_from_the_environment_and_options_win():
    settings = read_settings(
        {
            "SAFECONDUCT_DATA": "/srv/sc/data",
            "SAFECONDUCT_GATEWAY_PORT": "9000",
            "SAFECONDUCT_TLS_PROXY": "yes",
        },
        gateway_port="9001",
        api_port=None,
    )
    assert settings.data == Path("/srv/sc/data")
    assert settings.keys == Path("/srv/sc/keys")
    assert (settings.gateway_port, settings.api_port, settings.tls_proxy) == (9001, 8781, True)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SAFECONDUCT_GATEWAY_PORT", "eighty"),
        ("SAFECONDUCT_API_PORT", "70000"),
        ("SAFECONDUCT_TLS_PROXY", "maybe"),
        ("SAFECONDUCT_LOG_LEVEL", "loud"),
        ("SAFECONDUCT_BODY_LIMIT", "12"),
        ("SAFECONDUCT_SOURCE_CONNECTIONS", "-1"),
        ("SAFECONDUCT_SOURCE_CONNECTIONS", "many"),
        ("SAFECONDUCT_TLS_PROXI", "true"),
        ("SAFECONDUCT_KEY", "/x"),
    ],
)
def test_a_wrong_value_or_a_mistyped_name_is_refused_and_named(variable, value):
    with pytest.raises(InvalidInput) as caught:
        read_settings({variable: value})
    assert caught.value.field == variable


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({}, 0),
        ({"gateway_host": "0.0.0.0"}, SOURCE_CONNECTIONS),
        ({"gateway_host": "2001:db8::1"}, SOURCE_CONNECTIONS),
        ({"gateway_host": "0.0.0.0", "tls_proxy": True}, 0),
        ({"gateway_host": "0.0.0.0", "source_connections": 0}, 0),
        ({"source_connections": 7}, 7),
        ({"gateway_host": "0.0.0.0", "tls_proxy": True, "source_connections": 7}, 7),
    ],
)
def test_sources_are_limited_where_addresses_tell_clients_apart(given, limit):
    assert connections_per_source(read_settings({}, **given)) == limit


def test_variables_that_are_not_ours_to_read_are_left_alone():
    settings = read_settings({"SAFECONDUCT_SHARED": "/x", "SAFECONDUCT_URL": "http://x", "PATH": "/bin"})
    assert settings.api_port == 8781


@pytest.mark.parametrize(
    ("data", "keys"), [("/srv/a", "/srv/a"), ("/srv/a", "/srv/a/keys"), ("/srv/a/data", "/srv/a")]
)
def test_the_keys_are_never_in_the_data_directory_nor_around_it(data, keys):
    with pytest.raises(UnsafeConfiguration):
        read_settings({}, data=data, keys=keys)


def test_keys_reached_through_a_link_into_the_data_are_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "keys").symlink_to(tmp_path / "data")
    with pytest.raises(UnsafeConfiguration):
        read_settings({}, home=tmp_path)


def test_half_a_tls_configuration_is_refused():
    with pytest.raises(UnsafeConfiguration):
        read_settings({}, tls_certificate="/srv/cert.pem")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_what_counts_as_loopback(host, expected):
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "url",
    [
        "http://control.example",
        "https://control.example/",
        "ftp://control.example",
        "https://control.example?x=1",
        "https://user@control.example",
        "control.example",
        "https://",
    ],
)
def test_an_issuer_is_https_or_loopback(url):
    with pytest.raises(InvalidInput):
        check_issuer(url)


@pytest.mark.parametrize("name", ["gateway_host", "api_host"])
def test_production_does_not_listen_beyond_loopback_without_tls(name):
    plain = Settings(data=Path("/d"), keys=Path("/k"), **{name: "0.0.0.0"})
    with pytest.raises(UnsafeConfiguration) as caught:
        check_listeners(plain)
    assert caught.value.field == name
    check_listeners(msgspec.structs.replace(plain, tls_proxy=True))
    check_listeners(msgspec.structs.replace(plain, tls_certificate=Path("/c.pem"), tls_key=Path("/k.pem")))


def test_a_production_instance_opens_with_its_own_keys(tmp_path):
    with production(tmp_path) as opened:
        assert opened.instance.profile == "production"
        assert not any(entry.added.development for entry in opened.state.trust.values())
        assert not (opened.settings.keys / "officers").exists()
        assert not opened.opened.descriptor.record_origin.endswith("/simulated")


def test_production_names_its_issuer_and_its_officers(tmp_path):
    settings = read_settings({}, home=tmp_path)
    with pytest.raises(InvalidInput) as caught:
        initialise_instance(settings, profile="production", officers=OFFICERS)
    assert caught.value.field == "issuer"
    with pytest.raises(InvalidInput) as caught:
        initialise_instance(settings, profile="production", issuer="https://control.example")
    assert caught.value.field == "officers"
    assert not settings.data.exists()


def test_two_officers_are_two_people(tmp_path):
    settings = read_settings({}, home=tmp_path)
    one = FileSigner.generate(kid="officer-1")
    twice = {**one.public_jwk(), "kid": "officer-2"}
    with pytest.raises(InvalidInput, match="same key"):
        initialise_instance(settings, profile="development", officers=[one.public_jwk(), twice])


def test_production_refuses_a_simulated_clock(tmp_path):
    production(tmp_path).close()
    settings = read_settings({}, home=tmp_path / "instance")
    with pytest.raises(UnsafeConfiguration, match="simulated clock"):
        open_instance(settings, clock=SimulatedClock(NOON))


def test_production_refuses_data_made_under_a_simulated_clock(tmp_path):
    settings = read_settings({}, home=tmp_path)
    initialise_instance(
        settings,
        profile="production",
        issuer="https://control.example",
        audience="https://gateway.example",
        officers=OFFICERS,
        clock=SimulatedClock(NOON),
    )
    with pytest.raises(UnsafeConfiguration, match="data made under a simulated clock"):
        open_instance(settings, clock=FixedClock())


def test_an_instance_made_for_tls_listeners_calls_itself_https(tmp_path):
    # Otherwise holders of its passports could not bind a token to a certificate: their issuer would be plain http.
    files = {
        "SAFECONDUCT_TLS_CERTIFICATE": str(tmp_path / "tls.crt"),
        "SAFECONDUCT_TLS_KEY": str(tmp_path / "tls.key"),
    }
    settings = read_settings(files, home=tmp_path / "instance", api_port=1234, gateway_port=1235)
    made = initialise_instance(settings, profile="development", packs=())
    assert (made.issuer, made.audience) == ("https://127.0.0.1:1234", "https://127.0.0.1:1235")


def edit_descriptor(settings, **changed):
    descriptor = msgspec.structs.replace(read_descriptor(settings), **changed)
    settings.instance_file.write_bytes(msgspec.json.encode(descriptor))


def test_a_development_instance_does_not_become_production_by_editing_a_file(tmp_path):
    made = make_instance(tmp_path)
    made.close()
    edit_descriptor(made.settings, profile="production")
    with pytest.raises(UnsafeConfiguration) as caught:
        open_instance(made.settings, clock=made.clock)
    assert caught.value.field == "profile"


@pytest.mark.parametrize("changed", [{"issuer": "https://evil.example"}, {"simulated": False}])
def test_the_descriptor_and_the_record_speak_of_the_same_instance(tmp_path, changed):
    made = make_instance(tmp_path)
    made.close()
    edit_descriptor(made.settings, **changed)
    with pytest.raises(UnsafeConfiguration):
        open_instance(made.settings, clock=made.clock)


def test_production_refuses_the_sandbox_provider_and_development_keys(tmp_path):
    with production(tmp_path) as opened:
        opened.instance.record.commit(
            [
                ProviderRegistered(provider="lab", organisation="lab-works", jurisdiction="US"),
                ModelRegistered(model="m", provider="lab"),
                VariantRegistered(variant="m-1", model="m", level=1, compartments=()),
                DeploymentRegistered(
                    deployment="d-1",
                    variant="m-1",
                    kind="sandbox",
                    base_url="http://127.0.0.1:1",
                    upstream_model="m",
                    wires=("openai",),
                    region="eu",
                    jurisdiction="FR",
                ),
            ]
        )
        with pytest.raises(UnsafeConfiguration, match="sandbox") as caught:
            check_no_development(opened.state)
        assert caught.value.field == "d-1"
        settings, clock = opened.settings, opened.clock
    with pytest.raises(UnsafeConfiguration, match="sandbox"):
        open_instance(settings, clock=clock)


def test_production_refuses_a_development_key_in_its_trust_list(tmp_path):
    with production(tmp_path) as opened:
        key = FileSigner.generate()
        opened.instance.record.commit(
            [
                TrustKeyAdded(
                    kid=key.kid,
                    jwk=key.public_jwk(),
                    party="authority:sample",
                    may_sign=("org_list",),
                    jurisdiction=None,
                    variants=(),
                    provider=None,
                    valid_from=0,
                    valid_until=NOON * 2,
                    officers=("a", "b"),
                    recorded_at=NOON,
                    development=True,
                )
            ]
        )
        with pytest.raises(UnsafeConfiguration, match="development key of authority:sample"):
            opened.reopen()


def test_production_refuses_officers_private_keys_beside_its_own(tmp_path):
    with production(tmp_path) as opened:
        opened.opened.keys.make("officers/1")
        with pytest.raises(UnsafeConfiguration, match="officers"):
            opened.reopen()


@pytest.mark.parametrize("name", ["issuer", "status", "token", "record-log", "decision-log"])
def test_an_absent_key_stops_the_start(tmp_path, name):
    with production(tmp_path) as opened:
        (opened.settings.keys / f"{name}.pem").unlink()
        with pytest.raises(UnsafeConfiguration) as caught:
            opened.reopen()
        assert caught.value.field.endswith(f"{name}.pem")


@pytest.mark.parametrize("name", ["issuer.pem", "root.key", "roles/operator.pem", "officers/1.pem"])
def test_a_key_that_others_can_read_stops_the_start_in_development_too(tmp_path, name):
    with make_instance(tmp_path) as opened:
        os.chmod(opened.settings.keys / name, 0o640)
        with pytest.raises(UnsafeConfiguration, match="readable by others"):
            opened.reopen()


def test_every_problem_of_a_production_start_is_named_at_once(tmp_path):
    with make_instance(tmp_path) as opened:
        exposed = msgspec.structs.replace(opened.settings, api_host="0.0.0.0")
        with pytest.raises(UnsafeConfiguration) as caught:
            check_production(
                exposed,
                opened.opened.descriptor,
                state=opened.state,
                clock=opened.clock,
                keys=opened.opened.keys,
            )
    for part in ("loopback", "simulated clock", "development key", "officers"):
        assert part in caught.value.message


def test_an_instance_is_never_initialised_twice(tmp_path):
    with make_instance(tmp_path) as opened:
        with pytest.raises(Conflict):
            initialise_instance(opened.settings, profile="development", clock=opened.clock)


def test_no_instance_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(NotFound, match="init"):
        open_instance(read_settings({}, home=tmp_path))


def test_a_second_process_is_kept_out(tmp_path):
    with make_instance(tmp_path) as opened, pytest.raises(LogUnavailable):
        open_instance(opened.settings, clock=opened.clock)


def test_an_initialisation_that_a_crash_cut_short_can_be_repeated(tmp_path, monkeypatch):
    settings = read_settings({}, home=tmp_path)
    clock = SimulatedClock(NOON)
    real = bootstrap.replace_durably

    def crash(path, data):
        if path == settings.instance_file:
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(bootstrap, "replace_durably", crash)
    with pytest.raises(KeyboardInterrupt):
        initialise_instance(settings, profile="development", clock=clock, parties=[OPERATOR], packs=())
    monkeypatch.undo()
    with pytest.raises(NotFound):
        open_instance(settings, clock=clock)
    clock.move_to(NOON + 60)
    made = initialise_instance(settings, profile="development", clock=clock, parties=[OPERATOR], packs=())
    with open_instance(settings, clock=clock) as opened:
        assert opened.instance.record.state.instance.origin == made.record_origin
        assert opened.instance.record.state.position == 2
    assert not list(settings.data.glob("*.unfinished"))


def test_an_unfinished_initialisation_with_other_answers_is_not_taken_over(tmp_path):
    settings = read_settings({}, home=tmp_path)
    settings.data.mkdir(parents=True)
    (settings.data / "instance.json.unfinished").write_bytes(
        msgspec.json.encode(
            Descriptor(
                profile="production",
                issuer="https://control.example",
                audience="https://gateway.example",
                record_origin="a/record",
                decision_origin="a/decisions",
                created_at=NOON,
            )
        )
    )
    with pytest.raises(Conflict, match="other answers"):
        initialise_instance(settings, profile="development", clock=SimulatedClock(NOON))


def test_a_descriptor_of_a_newer_release_or_with_unknown_members_is_refused(tmp_path):
    with make_instance(tmp_path) as opened:
        text = opened.settings.instance_file.read_text()
        for changed in (
            text.replace('"format":2', '"format":3'),
            text.replace('"format":2', '"format":1'),
            text.replace('"format":2', '"format":"2"'),
            text[:-1] + ',"insecure":true}',
            text[:-3],
        ):
            opened.settings.instance_file.write_text(changed)
            with pytest.raises((InvalidInput, UnsafeConfiguration)):
                read_descriptor(opened.settings)


def test_the_shipped_packs_are_published_from_the_start(tmp_path):
    with make_instance(tmp_path, packs=None) as opened:
        assert {"assurance.minimum", "org.approved", "us.is_informed.2026"} <= set(opened.state.packs)


def test_development_officers_keys_are_marked_as_such(tmp_path):
    with make_instance(tmp_path) as opened:
        assert "Development only" in (opened.settings.keys / "officers" / "README").read_text()
        first, second = (opened.officer(number).kid for number in (1, 2))
        assert {first, second} == {jwk["kid"] for jwk in opened.state.instance.officers}


def test_an_exposed_tls_key_stops_the_start(tmp_path):
    with make_instance(tmp_path) as opened:
        opened.close()
        for name, mode in (("cert.pem", 0o644), ("tls.pem", 0o644)):
            (tmp_path / name).write_text("x")
            os.chmod(tmp_path / name, mode)
        exposed = msgspec.structs.replace(
            opened.settings, tls_certificate=tmp_path / "cert.pem", tls_key=tmp_path / "tls.pem"
        )
        with pytest.raises(UnsafeConfiguration, match="readable by others"):
            open_instance(exposed, clock=opened.clock)
