from __future__ import annotations

import pytest
from tests.support.authorities import (
    DAY,
    LAB,
    NORTH,
    NOW,
    OPERATOR,
    annex,
    directive_claims,
    key,
    org_list_jws,
    raw_directive,
    trust_change,
    trusted,
    world,
)
from tests.support.records import move_to

from safeconduct.app.change_trust import change_trust
from safeconduct.app.import_directive import ImportDirective, import_directive
from safeconduct.app.import_org_list import ImportOrgList, import_org_list
from safeconduct.authorization.directive import sign_directive
from safeconduct.authorization.trust import flag
from safeconduct.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    UnsafeConfiguration,
    VerificationFailed,
)


def send(instance, caller=OPERATOR, *, signer="auth-1", files=None, **changes):
    jws = raw_directive(directive_claims(**changes), signer=signer)
    return import_directive(instance, caller, ImportDirective(jws, files or {})).directive


def refused(error, instance, caller=OPERATOR, **changes):
    before = instance.record.state
    with pytest.raises(error) as caught:
        send(instance, caller, **changes)
    assert instance.record.state is before
    return caught.value


def test_a_directive_becomes_an_entry_that_keeps_both_time_axes_and_the_signed_text():
    instance = world()
    jws = sign_directive(
        directive_claims(effective_from="2031-02-01T00:00:00Z", effective_until=NOW + DAY), key("auth-1")
    )
    event = import_directive(instance, OPERATOR, ImportDirective(jws)).directive
    assert (event.directive, event.jws, event.signed_with) == ("authority:north/2031/7/1", jws, "auth-1")
    assert event.effective_from == NOW - 28 * DAY - 12 * 3600
    assert event.recorded_at == NOW
    assert event.jurisdiction == "XA"
    assert instance.record.state.directives[event.directive].imported == event


def test_a_models_name_means_all_its_variants():
    assert send(world(), variants=["big"]).variants == ("big-cyber", "big-open")
    assert send(world(), variants=["big-open"]).variants == ("big-open",)


def test_an_authority_hands_in_its_own_directive_and_nobody_elses():
    assert send(world(), NORTH).authority == "authority:north"
    error = refused(Forbidden, world(), NORTH, signer="auth-2", iss="authority:south", variants=["other-1"])
    assert error.field == "iss"


def test_a_provider_does_not_hand_in_directives():
    assert refused(Forbidden, world(), LAB).field == "role"


def test_a_number_and_version_is_used_once():
    instance = world()
    send(instance)
    assert refused(Conflict, instance).field == "number"
    assert refused(Conflict, instance, legal_source="another text").field == "number"
    assert send(instance, version=2).version == 2


def test_the_same_number_of_another_authority_is_another_directive():
    instance = world()
    send(instance)
    other = send(instance, signer="auth-2", iss="authority:south", variants=["other-1"])
    assert other.directive == "authority:south/2031/7/1"


def test_a_key_outside_the_trust_list_is_refused():
    error = refused(Forbidden, world(), signer="stranger")
    assert (error.field, "officers" in error.remedy) == ("kid", True)


def test_a_signature_that_does_not_verify_is_refused():
    instance = world()
    jws = raw_directive(directive_claims())
    head, payload, _ = jws.split(".")
    forged = f"{head}.{payload}.{raw_directive(directive_claims(number='x')).split('.')[2]}"
    with pytest.raises(VerificationFailed) as caught:
        import_directive(instance, OPERATOR, ImportDirective(forged))
    assert caught.value.step == "signature"


def test_another_kind_of_document_is_not_a_directive():
    instance = world()
    jws = raw_directive(directive_claims(), typ="licence+jwt")
    with pytest.raises(VerificationFailed) as caught:
        import_directive(instance, OPERATOR, ImportDirective(jws))
    assert (caught.value.step, caught.value.field) == ("header", "typ")


def test_an_issuer_other_than_the_keys_party_is_refused():
    assert refused(Forbidden, world(), iss="authority:south").field == "iss"


def test_a_directive_dated_in_the_future_is_refused():
    assert refused(VerificationFailed, world(), iat=NOW + 3600).field == "iat"


def test_a_key_may_sign_only_the_kinds_it_is_trusted_with():
    instance = world(more=[trusted("narrow", "authority:north", ["directive:information"])])
    error = refused(Forbidden, instance, signer="narrow")
    assert "directive:licence_required" in error.message


def test_a_key_may_name_only_the_variants_it_is_trusted_with():
    instance = world(
        more=[trusted("narrow", "authority:north", ["directive:licence_required"], variants=("big-open",))]
    )
    assert refused(Forbidden, instance, signer="narrow").field == "variants"
    assert send(instance, signer="narrow", variants=["big-open"]).variants == ("big-open",)


def test_a_key_may_name_only_its_providers_variants():
    instance = world(
        more=[trusted("narrow", "authority:north", ["directive:licence_required"], provider="rival")]
    )
    assert refused(Forbidden, instance, signer="narrow").field == "variants"


def test_a_key_reaches_only_its_jurisdiction():
    error = refused(Forbidden, world(), signer="auth-2", iss="authority:south")
    assert (error.field, "XB" in error.message) == ("variants", True)


def test_an_expired_or_not_yet_valid_key_is_refused():
    for span in ({"valid_until": NOW}, {"valid_from": NOW + 1}):
        instance = world(more=[trusted("timed", "authority:north", ["directive:licence_required"], **span)])
        assert refused(Forbidden, instance, signer="timed").field == "kid"


def test_a_development_key_is_refused_in_production():
    more = [trusted("dev", "authority:north", ["directive:licence_required"], development=True)]
    refused(UnsafeConfiguration, world(profile="production", more=more), signer="dev")
    assert send(world(more=more), signer="dev").signed_with == "dev"


def test_a_revoked_key_signs_no_more_and_what_it_signed_stays_flagged():
    instance = world()
    event = send(instance)
    move_to(instance, NOW + 10)
    change_trust(
        instance,
        OPERATOR,
        trust_change(revoke=[{"kid": "auth-1", "from": NOW + 5, "cause": "stolen"}]),
    )
    assert refused(Forbidden, instance, number="n/2", iat=NOW).field == "kid"
    state = instance.record.state
    assert state.directives[event.directive].rescinded_from is None
    assert "revoked later" in flag(event.signed_with, event.recorded_at, state.trust)


def test_a_revocation_that_reaches_back_flags_what_was_signed_since_without_dropping_it():
    instance = world()
    event = send(instance)
    change_trust(
        instance,
        OPERATOR,
        trust_change(revoke=[{"kid": "auth-1", "from": NOW - DAY, "cause": "stolen"}]),
    )
    state = instance.record.state
    assert event.directive in state.orders_on["big-open"]
    assert "review it" in flag(event.signed_with, event.recorded_at, state.trust)


@pytest.mark.parametrize(
    "kind", ["mitigate", "binding_commitment", "withdraw", "recall", "preserve", "inspect", "file"]
)
def test_a_kind_that_is_not_enforced_is_refused(kind):
    error = refused(InvalidInput, world(), kind=kind)
    assert (error.field, "does not enforce" in error.message) == ("kind", True)


@pytest.mark.parametrize("visibility", ["confidential", "classified"])
def test_a_visibility_that_is_not_enforced_is_refused(visibility):
    assert refused(InvalidInput, world(), visibility=visibility).field == "visibility"


def test_a_voluntary_restriction_is_refused_since_it_would_be_enforced():
    assert refused(InvalidInput, world(), force="voluntary").field == "force"
    assert send(world(), force="voluntary", kind="information").kind == "information"


def test_an_unknown_member_is_refused_by_name():
    error = refused(InvalidInput, world(), effective_untill=NOW + DAY)
    assert error.field == "effective_untill"
    assert "effective_until" in error.message


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"applies_to": {"hair_colour": "red"}}, "applies_to.hair_colour"),
        ({"applies_to": {"all": [{"us_person": "perhaps"}]}}, "applies_to.all[0].us_person"),
        ({"except": [{"organisation": {"like": "x"}}]}, "except[0].organisation.like"),
        ({"applies_to": None}, "applies_to"),
        ({"number": None}, "number"),
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"variants": []}, "variants"),
        ({"variants": ["big", "big"]}, "variants"),
        ({"variants": ["nothing"]}, "variants[0]"),
        ({"effective_from": "2031-03-01T00:00:00"}, "effective_from"),
        ({"effective_from": 1.5}, "effective_from"),
        ({"effective_from": "soon"}, "effective_from"),
        ({"effective_until": NOW}, "effective_until"),
        ({"in_flight": "explode"}, "in_flight"),
        ({"legal_source": " "}, "legal_source"),
        ({"amends": ["x"]}, "amends"),
        ({"except": [{"organisation": {"in": "annex:missing"}}]}, "annexes"),
        ({"except": [{"organisation": {"in": "list:missing"}}]}, "except"),
        (
            {"annexes": [{"name": "a", "media_type": "application/jsonl", "sha256": "zz"}]},
            "annexes[0].sha256",
        ),
        ({"kind": "restrict_to_list"}, "except"),
        ({"title": "line\nbreak"}, "title"),
    ],
)
def test_a_malformed_member_is_named_by_its_path(changes, field):
    assert refused(InvalidInput, world(), **changes).field == field


def test_an_annex_is_bound_by_its_digest():
    reference, data = annex("listed")
    changes = {
        "annexes": [reference],
        "except": [{"organisation": {"in": "annex:organisations"}}],
    }
    event = send(world(), files={"organisations": data}, **changes)
    assert event.annexes[0].entries[0].legal_name == "Sample listed"
    for files in ({"organisations": data + b"\n"}, {}, {"organisations": data, "more": b""}):
        assert refused(InvalidInput, world(), files=files, **changes).field.startswith("annexes")


def test_annex_lines_that_match_nobody_are_listed_and_never_guessed():
    reference, data = annex("listed", "nowhere")
    jws = raw_directive(directive_claims(annexes=[reference]))
    instance = world()
    done = import_directive(instance, OPERATOR, ImportDirective(jws, {"organisations": data}))
    assert [line.legal_name for line in done.unmatched] == ["Sample nowhere"]
    state = instance.record.state.directives[done.directive.directive]
    assert state.annexes["organisations"] == frozenset({"listed"})


def test_a_list_named_by_a_predicate_must_be_published():
    instance = world()
    _, data = annex("listed")
    import_org_list(instance, OPERATOR, ImportOrgList(org_list_jws(data), data))
    changes = {"kind": "restrict_to_list", "except": [{"organisation": {"in": "list:approved"}}]}
    assert send(instance, **changes).kind == "restrict_to_list"


def amend(instance, kind="partially_authorise", *, signer="auth-1", **changes):
    exempt = [{"employee_of_provider": True}] if kind == "partially_authorise" else []
    return send(
        instance,
        signer=signer,
        **{
            "number": "2031/8",
            "kind": kind,
            "applies_to": {"all": []},
            "except": exempt,
            "amends": ["2031/7"],
            "variants": ["big-open"],
            **changes,
        },
    )


@pytest.mark.parametrize("reference", ["2031/7", "2031/7/1", "authority:north/2031/7/1"])
def test_an_amendment_names_the_directive_by_number_by_version_or_by_id(reference):
    instance = world()
    send(instance)
    assert amend(instance, amends=[reference]).amends == ("authority:north/2031/7/1",)


def test_a_number_names_all_its_versions_and_a_version_only_itself():
    instance = world()
    send(instance)
    send(instance, version=2)
    assert amend(instance).amends == ("authority:north/2031/7/1", "authority:north/2031/7/2")
    assert amend(instance, number="n9", amends=["2031/7/2"]).amends == ("authority:north/2031/7/2",)


def test_a_reference_that_could_mean_two_numbers_is_refused():
    instance = world()
    send(instance, number="2031/7")
    send(instance, number="2031", version=7)
    with pytest.raises(Conflict) as caught:
        amend(instance, amends=["2031/7"])
    assert caught.value.field == "amends[0]"


def test_a_full_id_settles_an_ambiguous_reference():
    instance = world()
    send(instance, number="2031/7")
    send(instance, number="2031", version=7)
    assert amend(instance, amends=["authority:north/2031/7/1"]).amends == ("authority:north/2031/7/1",)


def test_only_the_issuer_rescinds():
    instance = world(more=[trusted("far", "authority:east", ["directive:rescind"])])
    send(instance)
    with pytest.raises(InvalidInput) as caught:
        amend(instance, "rescind", signer="far", iss="authority:east", amends=["authority:north/2031/7/1"])
    assert caught.value.field == "amends[0]"


def test_the_named_successor_rescinds_what_its_predecessor_ordered():
    instance = world(more=[trusted("far", "authority:east", ["directive:rescind"])])
    send(instance)
    change_trust(
        instance,
        OPERATOR,
        trust_change(
            revoke=[{"kid": "auth-1", "from": NOW, "cause": "merged", "successor": "authority:east"}]
        ),
    )
    event = amend(instance, "rescind", signer="far", iss="authority:east", variants=["big"])
    assert instance.record.state.directives["authority:north/2031/7/1"].rescinded_from == event.effective_from


def test_an_amendment_of_something_unknown_is_refused():
    with pytest.raises(InvalidInput) as caught:
        amend(world(), "rescind")
    assert caught.value.field == "amends[0]"


def test_an_amendment_reaches_only_the_variants_of_what_it_amends():
    instance = world()
    send(instance, variants=["big-open"])
    with pytest.raises(Forbidden) as caught:
        amend(instance, variants=["big"])
    assert caught.value.field == "variants"


def test_a_rescission_is_final():
    instance = world()
    send(instance)
    amend(instance, "rescind", variants=["big"])
    with pytest.raises(Conflict):
        amend(instance, "rescind", number="n9", amends=["2031/8"])
    with pytest.raises(Conflict):
        amend(instance, "rescind", number="n10", amends=["2031/7"])
    with pytest.raises(Conflict):
        amend(instance, number="n11")


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("rescind", {"except": [{"employee_of_provider": True}]}, "except"),
        ("rescind", {"effective_until": NOW + DAY}, "effective_until"),
        ("rescind", {"amends": []}, "amends"),
        ("rescind", {"applies_to": {"us_person": "no"}}, "applies_to"),
        ("partially_authorise", {"except": []}, "except"),
        ("partially_authorise", {"variants": []}, "variants"),
    ],
)
def test_an_amendment_says_nothing_that_would_not_be_done(kind, changes, field):
    instance = world()
    send(instance)
    with pytest.raises(InvalidInput) as caught:
        amend(instance, kind, **changes)
    assert caught.value.field == field


def test_the_checks_run_again_when_the_record_moves_on_in_between():
    instance = world()
    instance.record.before_commit = lambda: send(instance)
    assert refused_after_race(instance) == "number"


def refused_after_race(instance):
    with pytest.raises(Conflict) as caught:
        send(instance)
    return caught.value.field


def test_a_directive_too_large_for_an_entry_is_refused_before_it_is_written():
    instance = world()
    error = refused(
        InvalidInput, instance, applies_to={"all": [{"us_person": "no"}] * 1900}, legal_source="x" * 2000
    )
    assert "bytes" in error.message


def test_the_desk_signs_nothing_that_would_be_refused():
    with pytest.raises(InvalidInput):
        sign_directive(directive_claims(kind="recall"), key("auth-1"))
