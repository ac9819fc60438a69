"""To which countries showing somebody controlled technology counts as an export."""

import pytest

from safeconduct.identity.nationality import (
    Citizenship,
    Residency,
    deemed_export,
    deemed_export_everywhere,
    us_person,
)
from safeconduct.kernel.vocabulary import UsPerson, UsStatus

NOW, YEAR = 1_780_000_000, 365 * 86_400
AGO = NOW - 10 * YEAR


def citizen(country, start=None, end=None):
    return Citizenship(country=country, from_=start, to=end)


def resident(country, start=None, status="permanent", end=None):
    return Residency(country=country, status=status, from_=start, to=end)


@pytest.mark.parametrize(
    ("citizenships", "residencies", "ear", "itar"),
    [
        # Iranian-born, now Canadian: the two regimes differ, whether the first citizenship was given up or not.
        ([citizen("IR"), citizen("CA", AGO)], [], ["CA"], ["CA", "IR"]),
        ([citizen("IR", None, AGO), citizen("CA", AGO)], [], ["CA"], ["CA", "IR"]),
        ([citizen("IN")], [resident("CA", AGO)], ["CA"], ["CA", "IN"]),
        ([citizen("IN")], [resident("CA", AGO, "temporary")], ["IN"], ["IN"]),
        ([citizen("IN")], [resident("CA", AGO, end=NOW)], ["IN"], ["IN"]),
        ([citizen("FR", AGO)], [resident("DE", AGO - YEAR)], ["FR"], ["DE", "FR"]),
        # Which one came last cannot be told: both count.
        ([citizen("FR"), citizen("IR")], [], ["FR", "IR"], ["FR", "IR"]),
        ([citizen("FR", AGO), citizen("IR", AGO)], [], ["FR", "IR"], ["FR", "IR"]),
        ([citizen("FR", NOW + YEAR), citizen("IR")], [], ["IR"], ["IR"]),
        ([], [], [], []),
        ([citizen("SU", None, AGO)], [], [], ["SU"]),
    ],
)
def test_ear_takes_the_most_recent_held_and_itar_every_one_ever_held(citizenships, residencies, ear, itar):
    given = (tuple(citizenships), tuple(residencies))
    assert list(deemed_export(*given, "ear", NOW)) == ear
    assert list(deemed_export(*given, "itar", NOW)) == itar


def test_what_is_undeclared_gives_no_claim():
    assert deemed_export_everywhere(None, (), NOW) == ()
    assert deemed_export_everywhere((citizen("FR"),), None, NOW) == ()
    assert deemed_export_everywhere((citizen("FR"),), (), NOW) == (("ear", ("FR",)), ("itar", ("FR",)))


@pytest.mark.parametrize("status", ["citizen", "national", "lpr", "refugee", "asylee"])
def test_a_permanent_resident_refugee_or_asylee_is_a_us_person(status):
    assert us_person(UsStatus(status), "ear") is us_person(UsStatus(status), "itar") is UsPerson.YES


def test_an_unknown_regime_is_no_silent_answer():
    with pytest.raises(KeyError):
        deemed_export((), (), "other", NOW)
