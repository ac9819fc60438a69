"""Country groups come from the regulation's file, whole, or not at all. The file here is made up, its marks are invented."""

from pathlib import Path

import pytest
from tests.support.authorities import ADJUDICATOR, LAB, OPERATOR
from tests.support.authorities import world as instance_world
from tests.support.worlds import plain_world

from safeconduct.app.import_country_groups import (
    ImportCountryGroups,
    country_groups_now,
    import_country_groups,
)
from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Permit
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput
from safeconduct.kernel.vocabulary import Code, UsPerson
from safeconduct.policy.country_groups import read_country_groups
from safeconduct.policy.packs import load_shipped
from safeconduct.policy.selection import EAR_COUNTRY_GROUPS
from safeconduct.record.events.geography import CountryGroupsImported

FILE = (Path(__file__).parents[2] / "vectors" / "countries" / "made-up-supplement.xml").read_bytes()
# The same, as the annual edition writes it.
ANNUAL = b"""<APPENDIX><HD>x</HD><HEAD>Supplement No. 1 to Part 740</HEAD>
<GPOTABLE><BOXHD><CHED H="1">Country</CHED><CHED H="1">[D:5] Arms</CHED></BOXHD>
<ROW><ENT I="01">Andorra</ENT><ENT>X</ENT></ROW><ROW><ENT I="01">France</ENT><ENT/></ROW></GPOTABLE>
<GPOTABLE><BOXHD><CHED H="1">Country</CHED><CHED>[E:1]</CHED><CHED>[E:2]</CHED></BOXHD>
<ROW><ENT I="01">Monaco</ENT><ENT>X</ENT><ENT>X</ENT></ROW></GPOTABLE></APPENDIX>"""


def test_marks_become_groups_and_a_blank_cell_becomes_none():
    found = read_country_groups(FILE)
    assert found.groups == {
        "AD": ("D:1", "D:5"),
        "IS": ("E:2",),
        "KR": ("D:4",),
        "LI": (),
        "MC": ("D:1", "D:4", "D:5"),
        "SM": ("E:1",),
    }
    assert found.unmatched == ("Erewhon",)


def test_the_annual_editions_mark_up_is_read_as_well():
    assert read_country_groups(ANNUAL).groups == {"AD": ("D:5",), "FR": (), "MC": ("E:1", "E:2")}


def changed(old, new):
    assert old in FILE
    return FILE.replace(old, new)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><body>Request access</body></html>",
        FILE[: len(FILE) // 2],
        FILE[: FILE.index(b"<P>Country Group E")] + b"</DIV9>",
        changed(b"Supplement No. 1 to Part 740\xe2\x80\x94", b"Supplement No. 2 to Part 740\xe2\x80\x94"),
        changed(b"Erewhon</TD><TD></TD>", b"Erewhon</TD><TD>X</TD>"),
        changed(b'San Marino</TD><TD align="center">X</TD>', b"San Marino</TD><TD></TD>"),
        changed(b'San Marino</TD><TD align="center">X</TD>', b"San Marino</TD>"),
        changed(b'San Marino</TD><TD align="center">X</TD>', b"San Marino</TD><TD>Yes</TD>"),
        changed(b"<!-- Made", b"<!DOCTYPE x [<!ENTITY a 'b'>]><!-- Made"),
        FILE.replace(b"<P>[Made up for tests]</P>", b"<A>" * 200 + b"</A>" * 200),
        b"\xff\xfe" + FILE,
    ],
)
def test_what_is_not_the_whole_supplement_is_refused(data):
    with pytest.raises(InvalidInput) as refused:
        read_country_groups(data)
    assert refused.value.field


def imported(world):
    return world.add(
        CountryGroupsImported(
            EAR_COUNTRY_GROUPS, "2026-11-01", "00", read_country_groups(FILE).groups, "op", world.start
        )
    )


def codes(world, *, location=None, who="ann", **facts):
    request = world.request(who, "model-x", location=location)
    answer = decide(world.disclosing(request, **facts), world.state, world.now)
    return () if isinstance(answer, Permit) else answer.codes


ABROAD = {"us_person": (("ear", UsPerson.NO),)}


def test_without_an_import_the_pack_denies_nothing():
    world = plain_world()
    assert codes(world, location="SM", citizenships=("SM",), **ABROAD) == ()
    assert codes(world, location="UA-43") == ()


def test_location_nationality_and_seat_are_each_looked_at():
    world = imported(plain_world())
    assert codes(world, citizenships=("FR",), **ABROAD) == ()
    assert codes(world, location="SM") == (Code.COUNTRY_EMBARGO,)
    assert codes(world, location="SM-07") == (Code.COUNTRY_EMBARGO,)
    assert codes(world, location="UA-43") == (Code.COUNTRY_EMBARGO,)
    assert codes(world, location="UA-14-DNR") == (Code.COUNTRY_EMBARGO,)
    assert codes(world, location="UA-46") == ()
    assert codes(world, location="LI") == ()
    assert codes(world, citizenships=("FR", "AD"), **ABROAD) == (Code.COUNTRY_EMBARGO,)
    assert codes(world, citizenships=("AD",), us_person=(("ear", UsPerson.YES),)) == ()


def test_not_disclosing_the_nationality_or_the_organisation_is_no_way_round():
    world = imported(plain_world())
    assert Code.NATIONALITY_UNDECLARED in codes(world, citizenships=None, us_person=())
    assert codes(world, citizenships=(), **ABROAD) == ()
    state = world.state
    seat = state.organisations["org-a"].registered.country
    groups = {**read_country_groups(FILE).groups, seat: ("E:1",)}
    world.add(CountryGroupsImported(EAR_COUNTRY_GROUPS, "2026-11-02", "01", groups, "op", world.start))
    assert codes(world) == (Code.COUNTRY_EMBARGO,)
    assert Code.COUNTRY_EMBARGO in codes(world, organisation=None)


def test_the_most_recent_nationality_counts_where_the_passport_discloses_it():
    world = imported(plain_world())
    born_there = {"citizenships": ("AD", "FR"), **ABROAD}
    assert codes(world, **born_there) == (Code.COUNTRY_EMBARGO,)
    assert codes(world, deemed_export=(("ear", ("FR",)),), **born_there) == ()
    assert codes(world, deemed_export=(("ear", ("AD",)),), citizenships=None, **ABROAD) == (
        Code.COUNTRY_EMBARGO,
    )


def test_an_embargo_cites_the_supplement_and_is_told_openly():
    world = imported(plain_world())
    request = world.request("ann", "model-x", location="SM")
    (reason,) = decide(request, world.state, world.now).reasons
    assert (reason.rule, reason.version, reason.withheld) == ("us.ear.country/location", "1", False)
    assert "part 740, supplement no. 1" in reason.source


@pytest.fixture
def instance():
    instance = instance_world()
    instance.record.commit(load_shipped())
    return instance


def test_an_import_makes_the_pack_run_and_its_status_says_so(instance):
    before = country_groups_now(instance, OPERATOR)
    assert not before.active
    assert "denies nothing until" in before.said
    ask = ImportCountryGroups(FILE.decode(), "2026-11-01")
    import_country_groups(instance, OPERATOR, ask)
    after = country_groups_now(instance, OPERATOR)
    assert after.active
    assert after.packs == ("us.ear.country@1",)
    assert instance.record.state.country_groups[EAR_COUNTRY_GROUPS].unmatched == ("Erewhon",)
    for other in ("2026-11-01", "2026-10-31"):
        with pytest.raises(Conflict):
            import_country_groups(instance, OPERATOR, ImportCountryGroups(FILE.decode(), other))


def test_only_an_operator_imports_country_groups(instance):
    for caller in (ADJUDICATOR, LAB):
        with pytest.raises(Forbidden):
            import_country_groups(instance, caller, ImportCountryGroups(FILE.decode(), "2026-11-01"))
    with pytest.raises(Forbidden):
        country_groups_now(instance, LAB)
    assert not instance.record.state.country_groups
