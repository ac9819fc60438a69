"""What a production profile refuses, one test each. What is refused at the start stands in test_settings.py too; here
is the list as a whole: sandbox providers, sandbox authorities and their keys, development vendors of evidence, simulated
clocks and data made under them, absent keys, and listeners beyond loopback without TLS.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest
from tests.support.authorities import (
    OPERATOR,
    annex,
    directive_claims,
    licence_jws,
    misuse_jws,
    org_list_jws,
    raw_directive,
    trusted,
    world,
)
from tests.support.evidence import development_key, organisation, signed
from tests.support.instances import NOON, make_instance, operator
from tests.support.role_tokens import role_token

from safeconduct.app.authenticate_role import RoleAuthenticator
from safeconduct.app.import_directive import ImportDirective, import_directive
from safeconduct.app.import_evidence import import_evidence
from safeconduct.app.import_licence import import_licence
from safeconduct.app.import_misuse_signal import import_misuse_signal
from safeconduct.app.import_org_list import ImportOrgList, import_org_list
from safeconduct.app.preview_directive import PreviewDirective, preview_directive
from safeconduct.gateway.resolution import deployments_for
from safeconduct.identity.authenticator import Authenticator, bound_key
from safeconduct.kernel.clock import SimulatedClock, SystemClock
from safeconduct.kernel.errors import Unauthenticated, UnsafeConfiguration
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Level, Stage, Wire
from safeconduct.record.events import (
    DeploymentRegistered,
    ModelRegistered,
    ProviderRegistered,
    StageChanged,
    TrustKeyAdded,
    VariantRegistered,
)
from safeconduct.settings import check_listeners, check_production
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.web.serving import check_sandbox


class MachineClock(SystemClock):
    """Stands still, so that what is valid stays so."""

    def now(self) -> float:
        return float(NOON)


OFFICERS = [FileSigner.generate().public_jwk(), FileSigner.generate().public_jwk()]


@pytest.fixture
def production(tmp_path):
    with make_instance(
        tmp_path,
        clock=MachineClock(),
        profile="production",
        issuer="https://control.example",
        audience="https://gateway.example",
        officers=OFFICERS,
    ) as opened:
        yield opened


def problems(opened, **changed: Any) -> str:
    """What the start says, with parts of it replaced; empty when it starts."""
    given = {"state": opened.state, "clock": opened.clock, "keys": opened.opened.keys, **changed}
    settings = given.pop("settings", opened.settings)
    descriptor = given.pop("descriptor", opened.opened.descriptor)
    try:
        check_production(settings, descriptor, **given)
    except UnsafeConfiguration as error:
        return f"{error.field}: {error.message}"
    return ""


def sandbox(base_url="http://127.0.0.1:1"):
    return [
        ProviderRegistered(provider="lab", organisation="lab-works", jurisdiction="US"),
        ModelRegistered(model="m", provider="lab"),
        VariantRegistered(variant="m-1", model="m", level=Level.C1, compartments=()),
        StageChanged(variant="m-1", stage=Stage.GENERAL, org_list=None, by="lab", at=0),
        DeploymentRegistered(
            deployment="d-1",
            variant="m-1",
            kind="sandbox",
            base_url=base_url,
            upstream_model="m",
            wires=(Wire.OPENAI,),
            region="eu",
            jurisdiction="FR",
        ),
    ]


def test_what_is_in_order_starts(production):
    assert problems(production) == ""


# -- Sandbox providers -------------------------------------------------------------------------------------------------
def test_a_sandbox_deployment_stops_the_start(production):
    production.instance.record.commit(sandbox())
    assert problems(production) == "d-1: production refuses the sandbox provider"


def test_a_sandbox_provider_is_not_run_on_request(production, tmp_path):
    check_sandbox(production.instance, None)
    with pytest.raises(UnsafeConfiguration) as caught:
        check_sandbox(production.instance, 9_999)
    assert caught.value.field == "--sandbox-port"
    with make_instance(tmp_path / "development") as development:
        check_sandbox(development.instance, 9_999)


def test_a_sandbox_deployment_is_no_target_of_the_gateway(production):
    production.instance.record.commit(sandbox())
    asked = (production.state, "m-1", Wire.OPENAI, production.now)
    assert deployments_for(*asked, sandbox=False) == []
    assert [one.deployment for one in deployments_for(*asked, sandbox=True)] == ["d-1"]


# -- Sandbox authorities and their keys --------------------------------------------------------------------------------
def test_a_development_key_in_the_trust_list_stops_the_start(production):
    key = FileSigner.generate()
    added = msgspec.structs.replace(trusted("auth-1", "authority:north", ("org_list",)), development=True)
    production.instance.record.commit([msgspec.structs.replace(added, kid=key.kid, jwk=key.public_jwk())])
    assert "development key of authority:north" in problems(production)


DEVELOPMENT = [
    trusted(
        "dev",
        "authority:north",
        ("directive:licence_required", "licence", "org_list"),
        jurisdiction="XA",
        development=True,
    ),
    trusted("dev-lab", "provider:lab", ("misuse_signal",), provider="lab", development=True),
]
ANNEX, LINES = annex("listed")
HANDED_IN = {
    "a directive": lambda instance: import_directive(
        instance, OPERATOR, ImportDirective(raw_directive(directive_claims(), signer="dev"), {})
    ),
    "the preview of a directive": lambda instance: preview_directive(
        instance, OPERATOR, PreviewDirective(raw_directive(directive_claims(), signer="dev").encode(), {})
    ),
    "a licence": lambda instance: import_licence(instance, OPERATOR, licence_jws(signer="dev")),
    "a list": lambda instance: import_org_list(
        instance, OPERATOR, ImportOrgList(org_list_jws(LINES, signer="dev"), LINES)
    ),
    "a misuse signal": lambda instance: import_misuse_signal(
        instance, OPERATOR, misuse_jws(signer="dev-lab")
    ),
}


@pytest.mark.parametrize("what", HANDED_IN)
def test_what_a_sandbox_authority_signed_is_refused(what):
    instance = world(profile="production", more=DEVELOPMENT)
    before = instance.record.state
    with pytest.raises(UnsafeConfiguration, match="for development"):
        HANDED_IN[what](instance)
    assert instance.record.state is before
    # It is the profile that refuses, and nothing else.
    HANDED_IN[what](world(more=DEVELOPMENT))


def test_a_development_key_speaks_for_no_role():
    signer = FileSigner.generate()
    entry = msgspec.structs.replace(
        trusted("dev", "operator", ("role:operator",), development=True),
        kid=signer.kid,
        jwk=signer.public_jwk(),
    )

    class Entry:
        added: TrustKeyAdded = entry
        revoked = None

    now = entry.valid_from + 10
    token = role_token(signer, party="operator", audience="https://control.example", now=now)
    trust = {signer.kid: Entry()}
    facts = {"trust": trust, "now": now, "changing": False}
    assert RoleAuthenticator("https://control.example", started=0).authenticate(token, **facts)
    with pytest.raises(Unauthenticated, match="for development"):
        RoleAuthenticator("https://control.example", started=0, production=True).authenticate(token, **facts)


# -- Development vendors of evidence -----------------------------------------------------------------------------------
def test_evidence_from_a_development_desk_is_refused(production):
    desk = FileSigner.generate()
    added = msgspec.structs.replace(
        trusted("desk", "evidence-desk", ("evidence_import",)),
        kid=desk.kid,
        jwk=desk.public_jwk(),
        valid_from=0,
        valid_until=NOON * 2,
    )
    claims = {"organisation": organisation(at=production.now)}

    def hand_in():
        text = signed(production, claims, signer=desk, party="evidence-desk")
        return import_evidence(production.instance, operator(), text)

    production.instance.record.commit([msgspec.structs.replace(added, development=True)])
    position = production.state.position
    with pytest.raises(UnsafeConfiguration, match="for development"):
        hand_in()
    assert production.state.position == position
    production.instance.record.commit([added])
    assert hand_in()


def test_a_key_file_is_no_hardware_authenticator():
    record = msgspec.convert(development_key(FileSigner.generate()), Authenticator)
    assert bound_key(record, profile="development", field="a") is not None
    with pytest.raises(UnsafeConfiguration):
        bound_key(record, profile="production", field="a")


# -- Simulated clocks and data made under them -------------------------------------------------------------------------
def test_a_simulated_clock_stops_the_start(production):
    assert problems(production, clock=SimulatedClock(NOON)) == "clock: production refuses a simulated clock"


@pytest.mark.parametrize(
    "changed",
    [
        {"simulated": True},
        {"record_origin": "control.example/record/simulated"},
        {"decision_origin": "control.example/decisions/simulated"},
    ],
)
def test_data_made_under_a_simulated_clock_stop_the_start(production, changed):
    descriptor = msgspec.structs.replace(production.opened.descriptor, **changed)
    assert "made under a simulated clock" in problems(production, descriptor=descriptor)


# -- Absent keys -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", ["issuer.pem", "status.pem", "token.pem", "record-log.pem", "decision-log.pem", "root.key"]
)
def test_an_absent_key_stops_the_start_and_none_is_made_in_its_place(production, name):
    path = production.settings.keys / name
    path.unlink()
    with pytest.raises(UnsafeConfiguration) as caught:
        production.reopen()
    assert str(caught.value.field).endswith(name)
    assert not path.exists()


def test_an_officers_private_key_beside_the_instances_own_stops_the_start(production):
    production.opened.keys.make("officers/1")
    assert problems(production).startswith("officers: ")


def test_a_key_that_others_can_read_stops_the_start(production):
    os.chmod(production.settings.keys / "token.pem", 0o640)
    assert "readable by others" in problems(production, keys=KeyDirectory(production.settings.keys))


# -- Listeners ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["gateway_host", "api_host"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "internal.example", "127.0.0.1.example"])
def test_a_listener_beyond_loopback_without_tls_stops_the_start(production, name, host):
    exposed = msgspec.structs.replace(production.settings, **{name: host})
    assert problems(production, settings=exposed).startswith(f"{name}: ")
    # A proxy in front that ends TLS is declared, never guessed.
    check_listeners(msgspec.structs.replace(exposed, tls_proxy=True))
