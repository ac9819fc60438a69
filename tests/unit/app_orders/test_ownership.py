"""Files of ownership: who may import them, what follows in the same commit, and what was known when."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.authorities import ADJUDICATOR, DAY, LAB, LISTED, NOW, OPERATOR, lei, world

from safeconduct.app import assess_ownership
from safeconduct.app.assess_ownership import with_ownership
from safeconduct.app.confirm_regime import ConfirmRegime, confirm_regime
from safeconduct.app.explain_ownership import (
    ExplainOwnership,
    draw_ownership,
    explain_ownership,
    list_regimes,
)
from safeconduct.app.import_ownership import ImportOwnership, import_designations, import_edges
from safeconduct.app.ports import Caller
from safeconduct.app.publish_pack import ChangePackStatus, change_pack_status
from safeconduct.identity.ownership.regime import RegimeStatus
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import Role, Sector
from safeconduct.policy.packs import load_regimes
from safeconduct.record.events.holders import OrganisationRegistered
from safeconduct.record.events.ownership import OwnershipAssessed, OwnershipImported
from safeconduct.record.state import fold

HEAD = "owner,owned,percent,kind,as_of,source\n"
LIST_HEAD = "node,list,version,entry,programmes\n"
X = "entry:us.ofac.sdn:1"
TODAY = format_instant(NOW)[:10]


@pytest.fixture
def instance():
    instance = world()
    instance.record.commit(load_regimes(NOW - 30 * DAY))
    return instance


def edges(instance, *rows, as_of="2026-01-01", source="register"):
    lines = [
        ",".join((owner, owned, percent, *(kind or ["equity"]), as_of, source))
        for owner, owned, percent, *kind in rows
    ]
    return import_edges(instance, OPERATOR, ImportOwnership("csv", HEAD + "\n".join(lines)))


def listed(instance, *nodes, name="us.ofac.sdn", version="v1", **more):
    lines = [f"{node},{name},{version},{place}," for place, node in enumerate(nodes)]
    ask = ImportOwnership("csv", LIST_HEAD + "\n".join(lines), **more)
    return import_designations(instance, OPERATOR, ask)


def outcomes(instance, name):
    held = instance.record.state.organisations[name].ownership
    return {} if held is None else {one.regime: one.outcome.value for one in held.findings}


def refused(error, call, *args):
    with pytest.raises(error) as caught:
        call(*args)
    return caught.value


def test_an_import_assesses_everybody_it_reaches_in_the_same_commit(instance):
    listed(instance, X)
    before = instance.record.state
    found = edges(instance, (X, "org:listed", "50"), ("org:listed", f"lei:{lei('unlisted')}", "50"))
    state = instance.record.state
    # The file and both outcomes: one group of entries, one new position.
    assert state.position == before.position + 3
    assert dict(found.assessed)["unlisted"] == dict(found.assessed)["listed"]
    assert outcomes(instance, "unlisted")["us.ofac50"] == "blocked"
    assert outcomes(instance, "unlisted")["uk.own"] == "clear"
    assert state.organisations["lab-org"].ownership is None
    (finding,) = [
        one for one in state.organisations["unlisted"].ownership.findings if one.regime == "us.ofac50"
    ]
    assert (finding.version, finding.list) == ("1", "us.ofac.sdn")
    assert finding.spans[0].until is None


def test_a_designation_blocks_those_below_and_its_end_frees_them(instance):
    edges(instance, (X, "org:listed", "60"))
    assert outcomes(instance, "listed")["us.ofac50"] == "clear"
    listed(instance, X, "entry:us.ofac.sdn:2")
    assert outcomes(instance, "listed")["us.ofac50"] == "blocked"
    listed(instance, "entry:us.ofac.sdn:2", version="v2", allow_fewer=True)
    assert outcomes(instance, "listed")["us.ofac50"] == "clear"


def test_half_a_list_is_refused_and_nothing_changes(instance):
    listed(instance, *(f"entry:us.ofac.sdn:{place}" for place in range(6)))
    before = instance.record.state
    error = refused(Conflict, lambda: listed(instance, X, version="v2"))
    assert "would have 1 designations, it has 6" in str(error)
    assert instance.record.state is before


def test_an_organisation_that_becomes_known_after_the_files_is_assessed_with_its_registration(instance):
    listed(instance, X)
    edges(instance, (X, f"lei:{lei('late')}", "75"))
    registered = OrganisationRegistered("late", "Sample late", "XA", Sector.OTHER, lei=lei("late"))
    events = with_ownership(instance, instance.record.state, [registered], NOW)
    assert [type(one) for one in events] == [OrganisationRegistered, OwnershipAssessed]
    after = fold(events, instance.record.state)
    assert {one.regime: one.outcome.value for one in after.organisations["late"].ownership.findings}[
        "us.ofac50"
    ] == "blocked"
    stranger = OrganisationRegistered("else", "Sample else", "XA", Sector.OTHER, lei=lei("else"))
    assert with_ownership(instance, instance.record.state, [stranger], NOW) == [stranger]


def test_what_was_known_when_is_kept_apart_from_what_was_so_when(instance):
    listed(instance, X)
    edges(instance, (X, "org:listed", "60"), as_of="2025-01-01")
    instance.clock.move_to(instance.clock.now() + 10 * DAY)
    edges(instance, (X, "org:listed", "10"), as_of="2025-06-01")

    def told(**more):
        (one,) = explain_ownership(instance, OPERATOR, ExplainOwnership("listed", regime="us.ofac50", **more))
        return one.explanation.computed.value

    assert told() == "clear"
    assert told(known=TODAY) == "blocked"
    assert told(on="2025-03-01") == "blocked"
    assert told(on="2024-12-31") == "clear"
    assert told(on="2025-03-01", known=format_instant(NOW - 20 * DAY)) == "clear"


def test_a_regime_to_be_confirmed_escalates_until_the_operator_confirms(instance):
    listed(instance, X, name="us.csl.el")
    edges(instance, (X, "org:listed", "50"))

    def spans():
        held = instance.record.state.organisations["listed"].ownership
        (one,) = [one for one in held.findings if one.regime == "us.bis.affiliates"]
        return [(format_instant(span.since)[:10], span.outcome.value) for span in one.spans]

    assert spans() == [("2025-09-29", "blocked"), ("2026-11-10", "unknown")]
    ask = ConfirmRegime("us.bis.affiliates", RegimeStatus.SUSPENDED, "2026-11-10", "made up for this test")
    published = confirm_regime(instance, OPERATOR, ask)
    assert published.version == "2"
    assert spans() == [("2025-09-29", "blocked")]
    confirm_regime(instance, OPERATOR, msgspec.structs.replace(ask, status=RegimeStatus.ACTIVE))
    assert spans() == [("2025-09-29", "blocked"), ("2026-11-10", "blocked")]
    assert [one.published.version for one in instance.record.state.packs["us.bis.affiliates"]] == [
        "1",
        "2",
        "3",
    ]
    assert {one.regime for one in list_regimes(instance, OPERATOR)} == {
        "us.ofac50",
        "us.bis.affiliates",
        "eu.own",
        "uk.own",
    }


def test_a_regime_whose_pack_is_suspended_says_nothing_any_more(instance):
    listed(instance, X)
    edges(instance, (X, "org:listed", "50"))
    change_pack_status(instance, OPERATOR, ChangePackStatus("us.ofac50", "1", "suspended"))
    assert "us.ofac50" not in outcomes(instance, "listed")


def test_only_an_operator_imports_and_only_staff_reads(instance):
    ask = ImportOwnership("csv", HEAD + f"{X},org:listed,50,equity,2026-01-01,s")
    for caller in (ADJUDICATOR, LAB, LISTED):
        refused(Forbidden, import_edges, instance, caller, ask)
        refused(Forbidden, import_designations, instance, caller, ask)
        refused(
            Forbidden,
            confirm_regime,
            instance,
            caller,
            ConfirmRegime("us.ofac50", RegimeStatus.RESCINDED, "2026-01-01", "nobody"),
        )
    for caller in (LAB, LISTED):
        # An organisation that is blocked could otherwise read why here.
        refused(Forbidden, explain_ownership, instance, caller, ExplainOwnership("listed"))
        refused(Forbidden, draw_ownership, instance, caller, ExplainOwnership("listed", regime="us.ofac50"))
        refused(Forbidden, list_regimes, instance, caller)
    assert not instance.record.state.ownership_files


def test_analyst_sees_ownership_paths_and_percentages(instance):
    listed(instance, X)
    edges(
        instance,
        (X, "other:register:holding", "60"),
        ("other:register:holding", "org:listed", "30"),
        (X, "org:listed", "25"),
    )
    analyst = Caller(role=Role.ANALYST, party="analyst", id="an-1")
    told = {
        one.explanation.regime: one
        for one in explain_ownership(instance, analyst, ExplainOwnership("listed"))
    }
    text = told["us.ofac50"].text
    # Both shares and their sum, and the way from the list to the organisation.
    for part in ("30", "25", "55", "other:register:holding", X):
        assert part in text, text
    assert "<svg" in draw_ownership(instance, analyst, ExplainOwnership("listed", regime="us.ofac50"))


def test_the_same_record_and_files_give_the_same_outcomes_again(instance, monkeypatch):
    listed(instance, X)
    edges(instance, (X, "org:listed", "unknown"), ("org:listed", "org:unlisted", "75"))
    state = instance.record.state
    fresh = [msgspec.structs.replace(held, ownership=None) for held in state.organisations.values()]
    bare = msgspec.structs.replace(
        state, organisations=state.organisations.update({one.registered.organisation: one for one in fresh})
    )
    monkeypatch.setattr(assess_ownership, "_read", {})
    monkeypatch.setattr(assess_ownership, "_latest", assess_ownership._Latest())
    again = assess_ownership.ownership_events(instance, bare, NOW)
    assert again == [state.organisations[name].ownership for name in ("listed", "unlisted")]
    assert assess_ownership.ownership_events(instance, state, NOW) == []


def test_the_same_file_twice_is_a_conflict(instance):
    edges(instance, (X, "org:listed", "50"))
    refused(Conflict, edges, instance, (X, "org:listed", "50"))


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ("", "document"),
        (HEAD, "document"),
        ("owner,owned\na,b", "line 1"),
        (HEAD.replace("source", "sauce"), "line 1"),
        (HEAD + "a,b", "line 2"),
        (HEAD + "a,org:listed,50,equity,2026-01-01,s", "line 2.owner"),
        (HEAD + f"{X},org:listed,51,5,equity,2026-01-01,s", "line 2"),
        (HEAD + f"{X},org:listed,fifty,equity,2026-01-01,s", "line 2.percent"),
        (HEAD + f"{X},org:listed,50,shares,2026-01-01,s", "line 2.kind"),
        (HEAD + f"{X},org:listed,50,equity,2999-01-01,s", "line 2.as_of"),
        (HEAD + f"{X},org:listed,50,equity,2026-01-01,", "line 2.source"),
        (HEAD + f'{X},org:listed,50,equity,2026-01-01,"s', "line 2"),
        ("<html><body>Sign in</body></html>", "line 1"),
    ],
)
def test_a_bad_file_is_refused_whole_naming_line_and_column(instance, document, field):
    good = HEAD + f"{X},org:listed,60,equity,2026-01-01,s\n"
    error = refused(InvalidInput, import_edges, instance, OPERATOR, ImportOwnership("csv", document))
    assert error.field == field
    whole = good + document.removeprefix(HEAD) if document.startswith(HEAD) and document != HEAD else document
    refused(InvalidInput, import_edges, instance, OPERATOR, ImportOwnership("csv", whole))
    assert not instance.record.state.ownership_files


def test_json_is_read_as_csv_is(instance):
    row = {
        "owner": X,
        "owned": "org:listed",
        "percent": "1/2",
        "kind": "equity",
        "as_of": "2026-01-01",
        "source": "s",
    }
    listed(instance, X)
    import_edges(instance, OPERATOR, ImportOwnership("json", msgspec.json.encode([row]).decode()))
    assert outcomes(instance, "listed")["us.ofac50"] == "blocked"
    for bad in ([{**row, "percent": 50}], [{**row, "more": "x"}], {"edges": [row]}, [{"owner": X}]):
        text = msgspec.json.encode(bad).decode()
        refused(InvalidInput, import_edges, instance, OPERATOR, ImportOwnership("json", text))


def test_a_picture_names_organisations_by_their_name_and_unknown_ones_are_not_found(instance):
    listed(instance, X)
    edges(instance, (X, "org:listed", "50"))
    drawn = draw_ownership(instance, OPERATOR, ExplainOwnership("listed", regime="us.ofac50"))
    assert "Sample listed" in drawn
    for ask in (ExplainOwnership("nobody"), ExplainOwnership("listed", regime="us.ofac5")):
        refused(NotFound, explain_ownership, instance, OPERATOR, ask)
    for ask in (
        ExplainOwnership("listed", on="soon"),
        ExplainOwnership("listed", known="soon"),
        ExplainOwnership("a b"),
    ):
        refused(InvalidInput, explain_ownership, instance, OPERATOR, ask)


def test_a_file_that_the_vault_lost_is_named_and_stops_every_assessment(instance, monkeypatch):
    edges(instance, (X, "org:listed", "50"))
    (imported,) = instance.record.state.ownership_files.values()
    assert isinstance(imported, OwnershipImported)
    monkeypatch.setattr(assess_ownership, "_read", {})
    monkeypatch.setattr(assess_ownership, "_latest", assess_ownership._Latest())
    instance.vault.delete("ownership", imported.sha256)
    error = refused(InvalidInput, explain_ownership, instance, OPERATOR, ExplainOwnership("listed"))
    assert error.field == imported.sha256
