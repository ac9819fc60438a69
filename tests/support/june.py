"""The story of June 2026 at the level of states, with every name, country and date a parameter."""

import msgspec
from tests.support.worlds import DAY, EXEMPT_EMPLOYEES, World, instant, order

from safeconduct.kernel.vocabulary import (
    Compartment,
    Level,
    PassportStatus,
    Purpose,
    Stage,
    SubjectKind,
    Surface,
    UsPerson,
)
from safeconduct.record.events import MisuseSignalReceived

COLUMNS = ("06-11", "06-12", "06-25", "06-26", "06-29", "06-30")

ALLOW = "allow"
LICENCE = "LICENCE_MISSING"
UNLISTED = "ORG_NOT_LISTED LICENCE_MISSING"
UNDECLARED = "NATIONALITY_UNDECLARED LICENCE_MISSING"
UNDECLARED_UNLISTED = "NATIONALITY_UNDECLARED ORG_NOT_LISTED LICENCE_MISSING"
REVOKED = "PASSPORT_REVOKED"

# row -> (who, which model, expected per column)
TABLE = {
    "citizen": ("citizen", "restricted", (ALLOW,) * 6),
    "annexed": ("annexed", "restricted", (ALLOW, LICENCE, LICENCE, ALLOW, ALLOW, ALLOW)),
    "annexed, other model": ("annexed", "lesser", (ALLOW, LICENCE, LICENCE, LICENCE, LICENCE, ALLOW)),
    "subsidiary": ("subsidiary", "restricted", (ALLOW, LICENCE, LICENCE, UNLISTED, UNLISTED, ALLOW)),
    "employee": ("employee", "restricted", (ALLOW, LICENCE, LICENCE, ALLOW, ALLOW, ALLOW)),
    "resident": ("resident", "restricted", (ALLOW,) * 6),
    "undeclared": (
        "undeclared",
        "restricted",
        (ALLOW, UNDECLARED, UNDECLARED, UNDECLARED_UNLISTED, UNDECLARED_UNLISTED, ALLOW),
    ),
    "misuse": ("misuse", "restricted", (ALLOW, LICENCE, f"{REVOKED} {LICENCE}", REVOKED, REVOKED, REVOKED)),
    "agent": ("agent", "restricted", (ALLOW, LICENCE, LICENCE, ALLOW, ALLOW, ALLOW)),
    "listed": ("annexed", "gated", (ALLOW,) * 6),
    "unlisted": ("outsider", "gated", ("ORG_NOT_LISTED",) * 6),
}

NAMES = {
    "restricted": "mythos-5",
    "lesser": "fable-5",
    "gated": "gpt-5.6-sol",
    "lab": "lab-one",
    "lab2": "lab-two",
    "home": "US",
    "abroad": "FR",
    "elsewhere": "IN",
    "annexed-org": "org-annexed",
    "subsidiary-org": "org-subsidiary",
    "domestic-org": "org-domestic",
    "outside-org": "org-outside",
}


class June:
    """The world day by day. `shift`: days that every date moves by; `names`: other names for models, organisations, places."""

    def __init__(self, shift=0, names=None, packs=True):
        self.names = {**NAMES, **(names or {})}
        self.shift = shift
        self.world = World(start=self.at("2026-01-01"), end=self.at("2029-01-01"), packs=packs)
        self._build()

    def at(self, text):
        return instant(text) + self.shift * DAY

    def noon(self, column):
        return self.at(f"2026-{column}") + DAY // 2

    def _build(self):
        n, w = self.names, self.world
        w.provider(n["lab"]).provider(n["lab2"])
        self.staff = f"org-{n['lab']}"
        w.org_list("approved", [n["annexed-org"]])
        w.organisation(n["annexed-org"])
        w.organisation(n["subsidiary-org"], parent=n["annexed-org"])
        w.organisation(n["domestic-org"]).organisation(n["outside-org"])
        w.variant(n["restricted"], n["lab"], level=Level.C3, compartments=(Compartment.CYB,))
        w.variant(n["lesser"], n["lab"], level=Level.C2)
        w.variant(
            n["gated"],
            n["lab2"],
            level=Level.C2,
            stage=Stage.GOVERNMENT_APPROVED_ORGANISATIONS,
            org_list="approved",
        )
        people = {
            "citizen": (n["domestic-org"], UsPerson.YES, (n["home"],)),
            "annexed": (n["annexed-org"], UsPerson.NO, (n["abroad"],)),
            "subsidiary": (n["subsidiary-org"], UsPerson.NO, (n["abroad"],)),
            "employee": (self.staff, UsPerson.NO, (n["abroad"],)),
            "resident": (n["domestic-org"], UsPerson.YES, (n["elsewhere"],)),
            "undeclared": (n["outside-org"], UsPerson.UNDECLARED, None),
            "misuse": (n["annexed-org"], UsPerson.NO, (n["abroad"],)),
            "outsider": (n["outside-org"], UsPerson.NO, (n["abroad"],)),
            "undeclared-annexed": (n["annexed-org"], UsPerson.UNDECLARED, None),
        }
        for subject, (organisation, us_person, citizenships) in people.items():
            w.person(subject, organisation, us_person=us_person, citizenships=citizenships)
        for organisation in {organisation for organisation, *_ in people.values()}:
            subjects = [name for name, (theirs, *_) in people.items() if theirs == organisation]
            w.project(f"proj-{organisation}", organisation)
            w.admit(n["lab"], organisation, subjects, [n["restricted"], n["lesser"]])
            w.admit(n["lab2"], organisation, subjects, [n["gated"]])
        w.agent("agent", "annexed", n["annexed-org"])

    def events_of(self, column):
        """What is recorded on the way to this column, at 00:00 of its date (the misuse on the 20th)."""
        n, both = self.names, (self.names["restricted"], self.names["lesser"])
        foreign = {"us_person": "no"}
        if column == "06-12":
            return [
                order(
                    "1",
                    "licence_required",
                    both,
                    self.at("2026-06-12"),
                    foreign,
                    packs=("us.is_informed.2026",),
                )
            ]
        if column == "06-25":
            signal = MisuseSignalReceived(
                signal="s-1",
                sender=n["lab"],
                subject="misuse",
                organisation=None,
                variant=n["restricted"],
                kind="misuse",
                evidence="00",
                document="00",
                received_at=self.at("2026-06-20"),
            )
            return [signal, *World(packs=False).passport_status("misuse", PassportStatus.INVALID).events]
        if column == "06-26":
            return [
                order(
                    "2",
                    "partially_authorise",
                    both[:1],
                    self.at("2026-06-26"),
                    foreign,
                    except_=({"organisation": {"in": "annex:a"}}, EXEMPT_EMPLOYEES),
                    amends=("1",),
                    annexes={"a": [n["annexed-org"]]},
                )
            ]
        if column == "06-30":
            return [order("3", "rescind", both, self.at("2026-06-30"), amends=("1",))]
        return []

    def request(self, who, model, column):
        variant = self.names[model]
        noon = self.noon(column)
        if who == "agent":
            mandate = f"mandate-{column}"
            project = f"proj-{self.names['annexed-org']}"
            if mandate not in self.world.state.mandates:
                self.world.mandate(
                    mandate,
                    "agent",
                    "annexed",
                    [variant],
                    project=project,
                    valid_from=noon - 60,
                    signed_at=noon - 60,
                )
            asked = self.world.request(
                "agent",
                variant,
                holder="annexed",
                mandates=(mandate,),
                project=project,
                kind=SubjectKind.AGENT,
            )
            return msgspec.structs.replace(asked, authenticated_at=noon - 60)
        organisation = self.world.claims[who].organisation
        return self.world.request(
            who,
            variant,
            project=f"proj-{organisation}",
            authenticated_at=noon - 60,
            surface=Surface.API,
            purpose=Purpose.VULN_TRIAGE,
        )
