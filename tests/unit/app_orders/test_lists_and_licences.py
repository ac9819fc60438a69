from __future__ import annotations

import msgspec
import pytest
from tests.support.authorities import (
    LAB,
    NORTH,
    NOW,
    OPERATOR,
    annex,
    key,
    lei,
    licence_jws,
    org_list_jws,
    organisation,
    trust_change,
    trusted,
    world,
)

from safeconduct.app.change_trust import change_trust
from safeconduct.app.import_licence import end_licence, import_licence
from safeconduct.app.import_org_list import ImportOrgList, import_org_list
from safeconduct.app.publish_pack import ChangePackStatus, change_pack_status, publish_pack
from safeconduct.authorization.licence import sign_licence
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.policy.packs import load_shipped


def refused(error, call, instance, *args):
    before = instance.record.state
    with pytest.raises(error) as caught:
        call(instance, *args)
    assert instance.record.state is before
    return caught.value


def listing(*organisations, **changes):
    _, data = annex(*organisations)
    return ImportOrgList(org_list_jws(data, **changes), data)


def test_a_list_matches_exact_identifiers_and_reports_the_rest():
    done = import_org_list(world(), OPERATOR, listing("listed", "nowhere"))
    assert [line.legal_name for line in done.unmatched] == ["Sample nowhere"]
    assert done.published.recorded_at == NOW


def test_a_line_that_matched_nobody_matches_once_that_organisation_is_registered():
    instance = world()
    import_org_list(instance, OPERATOR, listing("later"))
    assert instance.record.state.org_lists["approved"].organisations == frozenset()
    instance.record.commit([organisation("later")])
    assert instance.record.state.org_lists["approved"].organisations == frozenset({"later"})


def test_a_higher_version_replaces_a_list_and_an_old_digest_is_refused():
    instance = world()
    import_org_list(instance, OPERATOR, listing("listed"))
    refused(Conflict, import_org_list, instance, OPERATOR, listing("unlisted"))
    newer = listing("unlisted", version=2)
    _, old = annex("listed")
    refused(InvalidInput, import_org_list, instance, OPERATOR, ImportOrgList(newer.jws, old))
    import_org_list(instance, OPERATOR, newer)
    assert instance.record.state.org_lists["approved"].organisations == frozenset({"unlisted"})
    refused(Conflict, import_org_list, instance, OPERATOR, listing("listed"))


def test_a_list_stays_its_authoritys():
    instance = world()
    import_org_list(instance, OPERATOR, listing("listed"))
    foreign = listing("listed", version=2, signer="auth-2", iss="authority:south")
    assert refused(Forbidden, import_org_list, instance, OPERATOR, foreign).field == "list"
    change_trust(
        instance,
        OPERATOR,
        trust_change(
            revoke=[{"kid": "auth-1", "from": NOW, "cause": "merged", "successor": "authority:south"}]
        ),
    )
    import_org_list(instance, OPERATOR, foreign)


def test_a_list_comes_from_a_key_trusted_with_lists():
    instance = world(more=[trusted("no-lists", "authority:north", ["licence"])])
    refused(Forbidden, import_org_list, instance, OPERATOR, listing("listed", signer="no-lists"))
    refused(Forbidden, import_org_list, instance, LAB, listing("listed"))
    refused(InvalidInput, import_org_list, instance, NORTH, listing("listed", valid_until=NOW))
    refused(InvalidInput, import_org_list, instance, NORTH, listing("listed", closed=True))


def test_a_licence_names_registered_organisations_by_exact_identifier():
    done = import_licence(world(), NORTH, licence_jws())
    assert (done.licence.annex, done.licence.variants, done.licence.jurisdiction) == (
        ("listed",),
        ("big-cyber", "big-open"),
        "XA",
    )


def test_an_annex_of_strangers_does_not_become_a_licence_for_everybody():
    stranger = [{"legal_name": "Sample listed"}]
    refused(Conflict, import_licence, world(), OPERATOR, licence_jws(annex=stranger))
    both = [{"legal_name": "x", "lei": lei("listed")}, {"legal_name": "Sample listed Ltd"}]
    done = import_licence(world(), OPERATOR, licence_jws(annex=both))
    assert [line.legal_name for line in done.unmatched] == ["Sample listed Ltd"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"annex": []}, InvalidInput),
        ({"person_classes": ["everybody"]}, InvalidInput),
        ({"variants": []}, InvalidInput),
        ({"variants": ["nothing"]}, InvalidInput),
        ({"purposes": ["ransomware"]}, InvalidInput),
        ({"purposes": ["anything"]}, InvalidInput),
        ({"to": NOW}, InvalidInput),
        ({"subjects": ["nobody"]}, NotFound),
        ({"conditions": ["pay"]}, InvalidInput),
        ({"quota": 7}, InvalidInput),
        ({"iss": "authority:south"}, Forbidden),
        ({"signer": "auth-2", "iss": "authority:south"}, Forbidden),
        ({"signer": "lab-1", "iss": "provider:lab"}, Forbidden),
    ],
)
def test_a_licence_that_does_not_hold_is_refused(changes, error):
    refused(error, import_licence, world(), OPERATOR, licence_jws(**changes))


def test_an_instrument_is_used_once():
    instance = world()
    import_licence(instance, OPERATOR, licence_jws())
    refused(Conflict, import_licence, instance, OPERATOR, licence_jws())


def test_only_its_authority_withdraws_a_licence():
    instance = world()
    licence = import_licence(instance, OPERATOR, licence_jws()).licence.licence
    south = msgspec.structs.replace(NORTH, party="authority:south")
    for caller in (OPERATOR, south):
        refused(Forbidden, end_licence, instance, caller, licence)
    end_licence(instance, NORTH, licence)
    assert instance.record.state.licences[licence].ended_at == NOW
    refused(Conflict, end_licence, instance, NORTH, licence)
    refused(NotFound, end_licence, instance, NORTH, "nothing")


def test_the_desk_signs_no_licence_that_would_be_refused():
    with pytest.raises(InvalidInput):
        sign_licence({"iss": "authority:north"}, key("auth-1"))


def test_a_pack_version_is_published_once_and_only_when_it_is_valid():
    instance = world()
    pack = load_shipped()[0]
    published = publish_pack(instance, OPERATOR, pack)
    assert published.recorded_at == NOW
    refused(Conflict, publish_pack, instance, OPERATOR, pack)
    refused(Forbidden, publish_pack, instance, NORTH, pack)
    broken = msgspec.structs.replace(pack, version="next", policies="forbid (")
    refused(InvalidInput, publish_pack, instance, OPERATOR, broken)


def test_a_rescinded_pack_version_does_not_come_back():
    instance = world()
    pack = publish_pack(instance, OPERATOR, load_shipped()[0])

    def ask(status):
        return ChangePackStatus(pack.pack, pack.version, status)

    change_pack_status(instance, OPERATOR, ask("suspended"))
    change_pack_status(instance, OPERATOR, ask("active"))
    change_pack_status(instance, OPERATOR, ask("rescinded"))
    refused(Conflict, change_pack_status, instance, OPERATOR, ask("active"))
    refused(InvalidInput, change_pack_status, instance, OPERATOR, ask("paused"))
    refused(NotFound, change_pack_status, instance, OPERATOR, ChangePackStatus(pack.pack, "0", "suspended"))
