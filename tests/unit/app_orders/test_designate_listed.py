"""Owners that edges name as entries of a list are designated by the list's version in force. Names are made up."""

import pytest
from tests.support.authorities import ADJUDICATOR
from tests.support.instances import operator
from tests.support.screening_lists import ofac_people
from tests.unit.app_control.test_screening_lists import DAY, Desk

from safeconduct.app.designate_listed import designate_listed
from safeconduct.app.import_ownership import ImportOwnership, import_designations, import_edges
from safeconduct.app.roll_back_screening_list import RollBackScreeningList, roll_back_screening_list
from safeconduct.identity.screening.sources.reading import Defect
from safeconduct.kernel.errors import Forbidden
from safeconduct.kernel.vocabulary import Sector
from safeconduct.policy.packs import load_regimes
from safeconduct.record.events.holders import OrganisationRegistered

SDN = "us.ofac.sdn"


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    now = int(desk.clock.now())
    desk.instance.record.commit(
        [
            *load_regimes(now - 30 * DAY),
            *(
                OrganisationRegistered(
                    organisation=name, legal_name=f"Made-up {name}", country="UT", sector=Sector.OTHER
                )
                for name in ("held", "free")
            ),
        ]
    )
    yield desk
    desk.embedded.close()


def edges(desk, *rows):
    lines = ["owner,owned,percent,kind,as_of,source", *(f"{row},equity,2026-01-01,made up" for row in rows)]
    import_edges(desk.instance, operator(), ImportOwnership("csv", "\n".join(lines)))


def outcome(desk, name="held"):
    held = desk.instance.record.state.organisations[name].ownership
    found = {one.regime: one.outcome.value for one in held.findings} if held is not None else {}
    return found.get("us.ofac50", "clear")


def load(desk, count, start=1):
    desk.pass_time(60)
    files = ("sdn.csv", ofac_people(count, start))
    desk.load(SDN, files, confirm=(Defect.MISSING_FILE,), reason="made up")


def designate(desk):
    return designate_listed(desk.instance, operator(), desk.store)


def test_an_owner_named_as_an_entry_is_blocked_while_the_list_in_force_holds_it(desk):
    load(desk, 30)
    edges(desk, f"entry:{SDN}:1,org:held,30", f"entry:{SDN}:2,org:held,20", f"entry:{SDN}:2,org:free,49")
    assert outcome(desk) == "clear"
    assert [name for name, _ in designate(desk).done.assessed] == ["held", "free"] or outcome(
        desk
    ) == "blocked"
    assert (outcome(desk), outcome(desk, "free")) == ("blocked", "clear")
    assert designate(desk).done is None  # nothing has changed since
    load(desk, 29, start=2)
    assert outcome(desk) == "blocked"
    designate(desk)
    assert outcome(desk) == "clear"
    roll_back_screening_list(
        desk.instance, operator(), desk.store, SDN, RollBackScreeningList(reason="the removal was an error")
    )
    designate(desk)
    assert outcome(desk) == "blocked"


def test_what_an_operator_designated_stays_with_its_entry(desk):
    load(desk, 30)
    edges(desk, "org:free,org:held,50")
    rows = f"node,list,version,entry,programmes\norg:free,{SDN},by hand,7,\norg:held,{SDN},by hand,8,\n"
    import_designations(desk.instance, operator(), ImportOwnership("csv", rows))
    load(desk, 29, start=2)
    designate(desk)
    assert (outcome(desk, "free"), outcome(desk)) == ("blocked", "blocked")


def test_designations_of_a_whole_list_never_end_by_themselves(desk):
    load(desk, 30)
    edges(desk, f"entry:{SDN}:1,org:held,50")
    designate(desk)
    load(desk, 29, start=2)
    assert designate(desk).left == (SDN,)
    assert outcome(desk) == "blocked"


def test_only_an_operator_designates(desk):
    with pytest.raises(Forbidden):
        designate_listed(desk.instance, ADJUDICATOR, desk.store)
