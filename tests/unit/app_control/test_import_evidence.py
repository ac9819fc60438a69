import json
import sqlite3

import msgspec
import pytest
from tests.support.evidence import (
    DAY,
    LISTS,
    hardware_key,
    import_organisation,
    import_person,
    lei_of,
    organisation,
    passport_evidence,
    person,
    project,
    signed,
)
from tests.support.instances import adjudicator, make_instance, operator, provider

from safeconduct.app.import_evidence import alerts, import_evidence, load_assessment, references
from safeconduct.app.initialise import Party, organisation_party
from safeconduct.authorization.misuse import cause_of
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, VerificationFailed
from safeconduct.kernel.jose import sign_jws, sign_jwt
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import ClearanceState, Level, PassportStatus, Screening, UsPerson
from safeconduct.record.events.authorizations import ClearanceChanged
from safeconduct.record.events.holders import OrganisationStandingChanged, PassportIssued
from safeconduct.record.events.trust import TrustKeyRevoked


@pytest.fixture
def embedded(tmp_path):
    parties = [
        organisation_party("sample-works"),
        Party("desk-of-one", ("evidence_import",), organisation="sample-works"),
        Party("desk-of-lab", ("evidence_import",), provider="sample-lab"),
        Party("desk-abroad", ("evidence_import",), jurisdiction="US"),
    ]
    with make_instance(tmp_path, parties=parties) as opened:
        yield opened


@pytest.fixture
def ready(embedded):
    import_organisation(embedded)
    return embedded


def later(embedded, seconds=60):
    embedded.clock.move_to(embedded.now + seconds)


def test_complete_evidence_gives_the_level_asked_for_and_says_what_was_met(ready):
    result = import_person(ready, "person-1")
    assert (result.ial, result.aal, result.fal, result.level) == (2, 3, 2, Level.C3)
    assert result.compartments == ("CYB",)
    assert result.development
    assert not [text for text in result.missing if text.startswith("C")]
    assert "IAL2: one FAIR and one STRONG, or one SUPERIOR piece" in " ".join(result.met)
    held = ready.state.subjects[result.subject]
    assert held.clearance.granted.level is Level.C3
    assert held.clearance.state is ClearanceState.GRANTED
    assert held.clearance.granted.evidence == result.document
    assert held.screening.screening is Screening.CLEAR
    assert held.terms[0].terms == "sample-terms"
    assert ready.state.projects["sample-project"].approved.members == ()


def test_the_claims_of_the_passport_are_derived(ready):
    claims = import_person(ready, "person-1").claims
    assert claims.us_person == (("ear", UsPerson.NO), ("itar", UsPerson.NO))
    assert claims.citizenships == ("FR",)
    assert claims.organisation == "sample-works"
    assert claims.sector == "security_vendor"
    assert claims.evidence_expires == ready.now + 900 * DAY
    assert load_assessment(ready.instance, next(iter(ready.state.subjects))).claims == claims


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("citizen", "yes"),
        ("national", "yes"),
        ("lpr", "yes"),
        ("refugee", "yes"),
        ("asylee", "yes"),
        ("other", "no"),
        ("undeclared", "undeclared"),
    ],
)
def test_us_person_is_derived_from_the_status_and_undeclared_stays_so(ready, status, expected):
    claims = import_person(ready, "person-1", us_status=status, citizenships=None).claims
    assert claims.us_person_for("ear") == claims.us_person_for("itar") == expected
    assert claims.citizenships is None


def test_nothing_identifying_reaches_the_record_or_the_disk_in_the_clear(ready, tmp_path):
    import_person(ready, "person-canary", **passport_evidence("CANARY4711", at=ready.now))
    ready.close()
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"CANARY4711" not in everything
    assert b"person-canary" not in everything
    with sqlite3.connect(ready.settings.vault) as raw:
        names = [name for (name,) in raw.execute("SELECT name FROM documents")]
    raw.close()
    assert not [name for name in names if "CANARY" in name or "person-canary" in name]
    ready.reopen()


COMPUTED = [
    ("person", "ial", 3),
    ("person", "aal", 3),
    ("person", "fal", 3),
    ("person", "level", "C3"),
    ("person", "us_person", "yes"),
    ("person", "clearance", {"level": "C3"}),
    ("person", "verified", True),
    ("", "ial", 3),
    ("", "level", "C4"),
    ("authenticators[0]", "aal", 3),
    ("evidence[0]", "ial", 3),
    ("proofing", "ial", 3),
    ("requested", "granted", True),
    ("screening", "clear", True),
]


@pytest.mark.parametrize(("place", "member", "value"), COMPUTED)
def test_no_member_of_an_import_sets_an_assurance_or_a_level(ready, place, member, value):
    who = person("person-1", FileSigner.generate(), at=ready.now)
    content = {"person": who}
    target = {
        "": content,
        "person": who,
        "authenticators[0]": who["authenticators"][0],
        "evidence[0]": who["evidence"][0],
        "proofing": who["proofing"],
        "requested": who["requested"],
        "screening": who["screening"],
    }[place]
    target[member] = value
    before = ready.state.position
    with pytest.raises(InvalidInput, match="unknown member") as caught:
        import_evidence(ready.instance, operator(), signed(ready, content))
    expected = {"": member, "person": f"person.{member}"}.get(place, f"person.{place}.{member}")
    assert caught.value.field == expected
    assert ready.state.position == before


def test_an_organisation_cannot_be_declared_verified(embedded):
    content = {"organisation": organisation(at=embedded.now, verified_until="2030-01-01")}
    with pytest.raises(InvalidInput) as caught:
        import_evidence(embedded.instance, operator(), signed(embedded, content))
    assert caught.value.field == "organisation.verified_until"
    assert "computed" in caught.value.remedy


# Each row takes one thing away from evidence for C3+CYB: (what changes, level that is left, sentence that is missed).
ONE_NOTCH_LOW = {
    "no adjudicators": ({"adjudicators": []}, Level.C2, "two different adjudicators"),
    "one adjudicator": ({"adjudicators": ["adjudicator-1"]}, Level.C2, "two different adjudicators"),
    "the same adjudicator twice": (
        {"adjudicators": ["adjudicator-1", "adjudicator-1"]},
        Level.C2,
        "two different adjudicators",
    ),
    "the requester adjudicates": (
        {"adjudicators": ["adjudicator-1", "requester-1"]},
        Level.C2,
        "two different adjudicators",
    ),
    "the applicant adjudicates": (
        {"adjudicators": ["adjudicator-1", "person-1"]},
        Level.C2,
        "two different adjudicators",
    ),
    "no project": ({"projects": []}, Level.C2, "a project in force"),
    "screening possible": (
        {"screening": {"result": "possible", "lists": LISTS, "at": 0}},
        Level.C1,
        "the person is screened clear",
    ),
    "screening match": (
        {"screening": {"result": "match", "lists": LISTS, "at": 0}},
        Level.C1,
        "the person is screened clear",
    ),
    "screened against nothing": (
        {"screening": {"result": "clear", "lists": [], "at": 0}},
        Level.C1,
        "the person is screened clear",
    ),
    "not screened": ({"screening": None}, Level.C1, "the person is screened clear"),
    "own word for the organisation": ({"affiliation": "self"}, Level.C1, "more than the person's own word"),
    "no organisation": (
        {"organisation": None, "projects": [], "affiliation": "self"},
        Level.C1,
        "the organisation is verified",
    ),
    "no age check": ({"age_over_18": None}, Level.C0, "the age check was made"),
    "no terms": ({"terms": []}, Level.C0, "terms are signed"),
    "no authenticator": ({"authenticators": []}, Level.C0, "an authenticator of AAL2"),
    "no evidence": (
        {"evidence": [], "validations": [], "verifications": []},
        Level.C0,
        "IAL1 or better",
    ),
}


@pytest.mark.parametrize("case", ONE_NOTCH_LOW)
def test_one_notch_low_gives_the_lower_level_and_names_the_sentence(ready, case):
    changed, level, sentence = ONE_NOTCH_LOW[case]
    result = import_person(ready, "person-1", **changed)
    assert result.level is level
    assert sentence in " ".join(result.missing)
    granted = ready.state.subjects[result.subject].clearance
    assert granted.granted.level is level
    assert granted.state is (ClearanceState.GRANTED if level else ClearanceState.NONE)


@pytest.mark.parametrize(
    ("changed", "aal", "level"),
    [
        ({"hardware_bound": False}, 2, Level.C2),
        ({"phishing_resistant": False}, 2, Level.C2),
        ({"kind": "single_factor_cryptographic"}, 1, Level.C0),
    ],
)
def test_the_authenticator_that_holds_the_key_sets_the_aal(ready, changed, aal, level):
    key = FileSigner.generate()
    result = import_person(ready, "person-1", authenticators=[hardware_key(key, **changed)])
    assert (result.aal, result.level, result.development) == (aal, level, False)


def test_a_level_is_never_above_the_one_asked_for(ready):
    result = import_person(ready, "person-1", requested={"level": "C2", "compartments": ["CYB"]})
    assert result.level is Level.C2


def test_c4_is_never_computed_while_enclaves_are_not_attested(ready):
    result = import_person(ready, "person-1", requested={"level": "C4", "compartments": ["CYB"]})
    assert result.level is Level.C3
    assert "attested enclave" in " ".join(result.missing)


def test_a_biology_compartment_at_c3_needs_ial3(ready):
    at = ready.now
    asked = {
        "requested": {"level": "C3", "compartments": ["BIO", "CYB"]},
        "projects": [project("bio-project", at=at, compartments=["BIO", "CYB"])],
    }
    low = import_person(ready, "person-1", **asked)
    assert (low.ial, low.level, low.compartments) == (2, Level.C3, ("CYB",))
    assert "BIO: IAL3 at level C3" in " ".join(low.missing)
    high = import_person(
        ready,
        "person-2",
        **asked,
        proofing={"type": "onsite_attended", "at": at, "biometric_sample": True},
        authenticators=[hardware_key(FileSigner.generate())],
    )
    assert (high.ial, high.level, high.compartments) == (3, Level.C3, ("BIO", "CYB"))


def test_a_compartment_needs_a_project_that_covers_it(ready):
    result = import_person(ready, "person-1", requested={"level": "C3", "compartments": ["CYB", "AUT"]})
    assert result.compartments == ("CYB",)
    assert "AUT: an approved project" in " ".join(result.missing)


@pytest.mark.parametrize(
    ("approved_by", "requested_by"),
    [(["requester-1"], "requester-1"), (["person-1"], "requester-1")],
    ids=["its requester", "the applicant"],
)
def test_nobody_approves_their_own_project(ready, approved_by, requested_by):
    own = project(at=ready.now, approved_by=approved_by, requested_by=requested_by)
    result = import_person(ready, "person-1", projects=[own])
    assert result.level is Level.C2
    assert not ready.state.projects
    assert "someone other than its requester and the applicant" in " ".join(result.missing)


def test_a_project_is_not_widened_and_not_taken_over_by_a_members_evidence(ready):
    import_organisation(ready, "other-works")
    import_person(ready, "person-1")
    wider = project(at=ready.now, compartments=["CYB", "BIO"])
    with pytest.raises(Conflict, match="other terms"):
        import_person(ready, "person-2", projects=[wider])
    with pytest.raises(Conflict, match="somebody else"):
        import_person(ready, "person-3", organisation="other-works")
    assert len(ready.state.subjects) == 1


def test_members_join_a_named_project_one_by_one(ready):
    named = project("named", at=ready.now, whole_organisation=False)
    first = import_person(ready, "person-1", projects=[named])
    outsider = import_person(ready, "person-2", projects=[])
    assert outsider.level is Level.C2
    second = import_person(ready, "person-3", projects=[named])
    assert ready.state.projects["named"].approved.members == tuple(sorted([first.subject, second.subject]))
    assert second.level is Level.C3


def test_an_unverified_or_suspended_organisation_lends_no_level(embedded):
    import_organisation(embedded, verifications=[])
    assert import_person(embedded, "person-1").level is Level.C1
    later(embedded)
    import_organisation(embedded)
    standing = embedded.state.organisations["sample-works"].standing
    suspended = OrganisationStandingChanged(
        organisation=standing.organisation,
        verified_until=standing.verified_until,
        screening=standing.screening,
        screened_at=standing.screened_at,
        list_digests=standing.list_digests,
        evidence=standing.evidence,
        suspended=True,
    )
    embedded.instance.record.commit([suspended])
    assert import_person(embedded, "person-2").level is Level.C1
    later(embedded)
    import_organisation(embedded)
    assert embedded.state.organisations["sample-works"].standing.suspended


def test_new_evidence_keeps_the_cause_of_a_suspension_so_that_its_signal_can_still_be_adjudicated(embedded):
    import_organisation(embedded)
    standing = embedded.state.organisations["sample-works"].standing
    cause = cause_of("provider:lab", "S-1")
    embedded.instance.record.commit([msgspec.structs.replace(standing, suspended=True, cause=cause)])
    later(embedded)
    import_organisation(embedded)
    renewed = embedded.state.organisations["sample-works"].standing
    assert (renewed.suspended, renewed.cause) == (True, cause)
    assert renewed.evidence != standing.evidence


def test_an_organisation_is_matched_only_by_a_number_that_was_looked_up(embedded):
    lei = lei_of("someone else's")
    result = import_organisation(embedded, lei=lei, verifications=[])
    assert embedded.state.organisations["sample-works"].registered.lei is None
    assert lei not in embedded.state.by_lei
    assert "the LEI was looked up" in " ".join(result.missing)
    later(embedded)
    import_organisation(embedded, lei=lei)
    assert embedded.state.by_lei[lei] == "sample-works"


def test_a_failed_look_up_undoes_an_earlier_one(embedded):
    lei = lei_of("sample-works")
    checks = [
        {"source": "lei_record", "reference": lei, "outcome": "pass", "at": embedded.now - 2 * DAY},
        {"source": "lei_record", "reference": lei, "outcome": "fail", "at": embedded.now - DAY},
    ]
    import_organisation(embedded, verifications=checks)
    held = embedded.state.organisations["sample-works"]
    assert held.standing.verified_until == 0
    assert held.registered.lei is None


def test_two_organisations_cannot_share_an_identifier_or_a_provider(ready):
    with pytest.raises(Conflict) as caught:
        import_organisation(ready, "other-works", lei=lei_of("sample-works"))
    assert caught.value.field == "organisation.lei"
    import_organisation(ready, "lab-works", provider="sample-lab")
    with pytest.raises(Conflict) as caught:
        import_organisation(ready, "other-works", provider="sample-lab")
    assert caught.value.field == "organisation.provider"


def test_the_same_document_for_two_people_is_an_alert_and_counts_for_the_first_only(ready):
    first = import_person(ready, "person-1", **passport_evidence("AB 12-34", at=ready.now))
    second = import_person(ready, "person-2", **passport_evidence("ab1234", at=ready.now))
    assert first.level is Level.C3
    assert first.alerts == ()
    assert (second.ial, second.level) == (0, Level.C0)
    assert first.subject in second.alerts[0]
    assert "1234" not in second.alerts[0]
    (alert,) = alerts(ready.instance)
    assert (alert.subject, alert.other) == (second.subject, first.subject)
    # The first person keeps what they hold, also when their evidence comes again.
    later(ready)
    assert import_person(ready, "person-1", **passport_evidence("AB1234", at=ready.now)).level is Level.C3


def test_one_key_is_not_two_peoples_authenticator(ready):
    key = FileSigner.generate()
    import_person(ready, "person-1", key)
    with pytest.raises(Conflict) as caught:
        import_person(ready, "person-2", key)
    assert caught.value.field == "person.authenticators[0].public_jwk"
    assert len(ready.state.subjects) == 1


def test_a_new_import_of_a_person_updates_and_keeps_the_pseudonym(ready):
    first = import_person(ready, "person-1")
    later(ready)
    second = import_person(ready, "person-1", screening={"result": "match", "lists": LISTS, "at": ready.now})
    assert second.subject == first.subject
    held = ready.state.subjects[first.subject]
    assert held.screening.screening is Screening.MATCH
    assert held.clearance.granted.level is Level.C1
    assert references(ready.instance) == {first.subject: "person-1"}


def test_an_older_document_never_replaces_a_newer_one(ready):
    key = FileSigner.generate()
    old = signed(ready, {"person": person("person-1", key, at=ready.now)}, life=7 * DAY)
    import_evidence(ready.instance, operator(), old)
    later(ready)
    import_person(ready, "person-1", key, screening={"result": "match", "lists": LISTS, "at": ready.now})
    with pytest.raises(Conflict, match="later"):
        import_evidence(ready.instance, operator(), old)
    later(ready)
    old_standing = signed(ready, {"organisation": organisation(at=ready.now)}, life=7 * DAY)
    later(ready)
    import_organisation(ready, verifications=[])
    with pytest.raises(Conflict, match="later"):
        import_evidence(ready.instance, operator(), old_standing)


def test_the_same_document_again_changes_nothing_unless_something_else_changed(embedded):
    import_organisation(embedded, verifications=[])
    text = signed(embedded, {"person": person("person-1", FileSigner.generate(), at=embedded.now)})
    first = import_evidence(embedded.instance, operator(), text)
    again = import_evidence(embedded.instance, operator(), text)
    assert (again.events, again.position) == ((), first.position)
    assert first.level is Level.C1
    later(embedded)
    import_organisation(embedded)
    assert import_evidence(embedded.instance, operator(), text).level is Level.C3


@pytest.mark.parametrize("state", [ClearanceState.SUSPENDED, ClearanceState.REVOKED])
def test_evidence_never_lifts_a_suspension_or_a_revocation(ready, state):
    subject = import_person(ready, "person-1").subject
    ready.instance.record.commit(
        [ClearanceChanged(subject=subject, state=state, cause="review", by="adjudicator-1", at=ready.now)]
    )
    later(ready)
    import_person(ready, "person-1")
    assert ready.state.subjects[subject].clearance.state is state


def test_the_clearance_ends_with_the_first_thing_it_rests_on(ready):
    subject = import_person(
        ready, "person-1", projects=[project(at=ready.now, valid_until=ready.now + 30 * DAY)]
    ).subject
    assert ready.state.subjects[subject].clearance.granted.valid_until == ready.now + 30 * DAY


def issued(ready, subject, key, name, aal=3):
    event = PassportIssued(
        passport=name,
        subject=subject,
        status_index=ready.state.next_status_index,
        key=key.verifying_key().thumbprint,
        valid_from=ready.now,
        valid_until=ready.now + DAY,
        commitment="00",
        aal=aal,
    )
    ready.instance.record.commit([event])


def test_passports_of_an_authenticator_that_was_lost_or_rated_down_are_suspended(ready):
    kept, lost = FileSigner.generate(), FileSigner.generate()
    both = [hardware_key(kept), hardware_key(lost)]
    subject = import_person(ready, "person-1", authenticators=both).subject
    issued(ready, subject, kept, "psp_kept")
    issued(ready, subject, lost, "psp_lost")
    later(ready)
    import_person(ready, "person-1", authenticators=[hardware_key(kept)])
    assert ready.state.passports["psp_kept"].status is PassportStatus.VALID
    assert ready.state.passports["psp_lost"].status is PassportStatus.SUSPENDED
    later(ready)
    import_person(ready, "person-1", authenticators=[hardware_key(kept, hardware_bound=False)])
    assert ready.state.passports["psp_kept"].status is PassportStatus.SUSPENDED


def test_only_the_operator_hands_evidence_in(ready):
    text = signed(ready, {"person": person("person-1", FileSigner.generate(), at=ready.now)})
    for caller in (adjudicator(), provider("sample-lab")):
        with pytest.raises(Forbidden):
            import_evidence(ready.instance, caller, text)


def test_only_a_key_that_may_sign_evidence_is_believed(ready):
    content = {"person": person("person-1", FileSigner.generate(), at=ready.now)}
    stranger = FileSigner.generate()
    cases = [
        signed(ready, content, signer=stranger),
        signed(ready, content, by="operator"),
        signed(ready, content, by="organisation:sample-works"),
        signed(ready, content, party="operator"),
        signed(ready, content, by="desk-abroad"),
        signed(ready, content, by="desk-of-lab"),
    ]
    for text in cases:
        with pytest.raises(Forbidden):
            import_evidence(ready.instance, operator(), text)
    forged = signed(ready, content)
    tampered = forged[:-8] + ("AAAAAAAA" if not forged.endswith("AAAAAAAA") else "BBBBBBBB")
    with pytest.raises((VerificationFailed, InvalidInput)):
        import_evidence(ready.instance, operator(), tampered)
    assert not ready.state.subjects


def test_a_desk_limited_to_an_organisation_or_a_provider_stays_there(ready):
    content = {"person": person("person-1", FileSigner.generate(), at=ready.now)}
    assert import_evidence(ready.instance, operator(), signed(ready, content, by="desk-of-one")).subject
    import_organisation(ready, "lab-works", provider="sample-lab")
    of_lab = {
        "person": person(
            "person-2", FileSigner.generate(), at=ready.now, organisation="lab-works", projects=[]
        )
    }
    with pytest.raises(Forbidden):
        import_evidence(ready.instance, operator(), signed(ready, of_lab, by="desk-of-one"))
    assert import_evidence(ready.instance, operator(), signed(ready, of_lab, by="desk-of-lab")).subject


def test_the_same_reference_at_two_desks_is_two_people(ready):
    content = {"person": person("case-1", FileSigner.generate(), at=ready.now)}
    other = person("case-1", FileSigner.generate(), at=ready.now, **passport_evidence("other", at=ready.now))
    first = import_evidence(ready.instance, operator(), signed(ready, content))
    second = import_evidence(ready.instance, operator(), signed(ready, {"person": other}, by="desk-of-one"))
    assert first.subject != second.subject


def test_a_revoked_desk_is_no_longer_believed(ready):
    desk = ready.key("evidence-desk")
    ready.instance.record.commit(
        [
            TrustKeyRevoked(
                kid=desk.kid, from_=ready.now, cause="lost", officers=("a", "b"), recorded_at=ready.now
            )
        ]
    )
    with pytest.raises(Forbidden, match="revoked"):
        import_person(ready, "person-1")


def test_a_document_for_another_instance_expired_or_long_lived_is_refused(ready):
    content = {"person": person("person-1", FileSigner.generate(), at=ready.now)}
    with pytest.raises(InvalidInput) as caught:
        import_evidence(ready.instance, operator(), signed(ready, content, audience="https://other.example"))
    assert caught.value.field == "aud"
    for changed in ({"now": ready.now - 2 * DAY}, {"life": 400 * DAY}, {"now": ready.now + DAY}):
        with pytest.raises(VerificationFailed):
            import_evidence(ready.instance, operator(), signed(ready, content, **changed))
    desk = ready.key("evidence-desk")
    bare = {**content, "iss": "evidence-desk", "aud": ready.instance.issuer, "jti": "1", "iat": ready.now}
    with pytest.raises(VerificationFailed, match="exp"):
        import_evidence(ready.instance, operator(), sign_jwt(bare, typ="evidence_import+jwt", signer=desk))
    with pytest.raises(VerificationFailed, match="typ"):
        import_evidence(
            ready.instance,
            operator(),
            sign_jwt({**bare, "exp": ready.now + 60}, typ="directive+jwt", signer=desk),
        )


BAD = {
    "person.citizenships[0].from": {"citizenships": [{"country": "FR", "from": "31.12.2001"}]},
    "person.citizenships[0].to": {
        "citizenships": [{"country": "FR", "from": "2020-01-01", "to": "2019-01-01"}]
    },
    "person.citizenships[0].country": {"citizenships": [{"country": "France"}]},
    "person.residencies[0].country": {"residencies": [{"country": "fr", "status": "permanent"}]},
    "person.us_status": {"us_status": "maybe"},
    "person.requested.level": {"requested": {"level": "C9"}},
    "person.requested.caveats[0]": {"requested": {"level": "C1", "caveats": ["NOFORN"]}},
    "person.kind": {"kind": "agent"},
    "person.organisation": {"organisation": "unknown-works"},
    "person.screening.at": {"screening": {"result": "clear", "lists": LISTS, "at": "2031-01-01"}},
    "person.screening.lists[0].sha256": {
        "screening": {"result": "clear", "lists": [{"name": "x", "sha256": "AB"}], "at": 0}
    },
    "person.terms[0].sha256": {"terms": [{"terms": "t", "sha256": "no", "signed_at": 0}]},
    "person.validations[0].evidence": {
        "validations": [{"evidence": "ghost", "method": "cryptographic", "outcome": "pass", "at": 0}]
    },
    "person.evidence[0].strength": {
        "evidence": [{"id": "a", "kind": "k", "strength": "MIGHTY", "issuer": "i", "number": "1"}]
    },
    "person.evidence[1].number": {
        "evidence": [
            {"id": "a", "kind": "k", "strength": "FAIR", "issuer": "i", "number": "1 2"},
            {"id": "b", "kind": "k", "strength": "STRONG", "issuer": "i", "number": "1-2"},
        ],
        "validations": [],
        "verifications": [],
    },
    "person.authenticators[0].public_jwk": {
        "authenticators": [
            {"kind": "multi_factor_cryptographic", "phishing_resistant": True, "hardware_bound": True}
        ]
    },
    "person.adjudicators[0]": {"adjudicators": ["Two Words"]},
    "person.reference": {"reference": "Jean Dupont"},
    "person.age_over_18": {"age_over_18": "yes"},
}


@pytest.mark.parametrize("path", BAD)
def test_bad_input_names_the_path_and_leaves_nothing_behind(ready, path):
    before, kept = ready.state.position, ready.instance.vault.names("evidence")
    with pytest.raises((InvalidInput, Conflict)) as caught:
        import_person(ready, "person-1", **BAD[path])
    assert caught.value.field == path
    assert ready.state.position == before
    assert ready.instance.vault.names("evidence") == kept


def test_a_prohibited_purpose_is_no_project(ready):
    with pytest.raises(InvalidInput, match="never allowed"):
        import_person(ready, "person-1", projects=[project(at=ready.now, purposes=["ransomware"])])


def test_duplicate_members_are_refused(ready):
    who = json.dumps(person("person-1", FileSigner.generate(), at=ready.now))
    desk = ready.key("evidence-desk")
    body = (
        f'{{"iss":"evidence-desk","aud":"{ready.instance.issuer}","iat":{ready.now},"exp":{ready.now + 60},'
        f'"jti":"1","person":{who[:-1]},"us_status":"citizen"}}}}'
    )
    text = sign_jws(body.encode(), typ="evidence_import+jwt", signer=desk)
    with pytest.raises(VerificationFailed, match="twice"):
        import_evidence(ready.instance, operator(), text)


def test_an_erased_person_is_gone_and_comes_back_as_somebody_new(ready):
    first = import_person(ready, "person-1")
    ready.instance.vault.forget(first.subject)
    with pytest.raises(NotFound):
        load_assessment(ready.instance, first.subject)
    later(ready)
    second = import_person(ready, "person-1")
    assert second.subject != first.subject
    assert second.level is Level.C3


def test_imports_survive_a_restart(ready):
    first = import_person(ready, "person-1")
    before = ready.state
    ready.reopen()
    assert ready.state.subjects == before.subjects
    assert ready.state.position == before.position
    assert load_assessment(ready.instance, first.subject).level is Level.C3
