"""Worlds and questions drawn from a seed: mostly in order, each thing wrong now and then, so that permits and every code
come up. Plain values only: `told_to_the_core` makes events of them, `cedar_reading` makes Cedar entities."""

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec
from tests.support.worlds import JURISDICTION, World, lei_of, order

from safeconduct.decision.request import DecisionRequest
from safeconduct.identity.ownership.regime import Outcome
from safeconduct.kernel.vocabulary import (
    Affiliation,
    Binding,
    ClearanceState,
    Compartment,
    FindingDomain,
    Level,
    PassportStatus,
    Purpose,
    Screening,
    Sector,
    Severity,
    Stage,
    Standing,
    SubjectKind,
    Surface,
    UsPerson,
)
from safeconduct.passport.claims import Claims
from safeconduct.policy.packs import load_shipped
from safeconduct.record.events import (
    ClearanceGranted,
    DeploymentRetired,
    FindingRecorded,
    GatewayKeyRevoked,
    GrantEnded,
    LicenceEnded,
    MandateRevoked,
    OrganisationRegistered,
    OrganisationStandingChanged,
    PassportIssued,
    PassportStatusChanged,
    ProjectEnded,
    StandingChanged,
    SubjectEnrolled,
    SubjectScreened,
)

NOW = 1_000_000
DAY = 86_400
LATER = NOW + 500_000
PACKS = tuple(load_shipped(recorded_at=0))

PURPOSES = ("vuln_triage", "coding", "general")
PROVIDER_ORGANISATION = "org-lab"
HUMANS = ("ann", "bob", "cat", "dan", "lea")
HOME = {"ann": "org-a", "bob": "org-a", "cat": "org-b", "dan": None, "lea": PROVIDER_ORGANISATION}
VARIANTS = ("low", "mid", "high")


@dataclass
class Drawn:
    """What was drawn, by kind and id. Times are seconds; a missing thing is None."""

    organisations: dict[str, dict[str, Any]] = field(default_factory=dict)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    agents: dict[str, str] = field(default_factory=dict)
    passports: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    mandates: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    terms: dict[tuple[str, str], int] = field(default_factory=dict)
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    deployments: dict[str, dict[str, Any]] = field(default_factory=dict)
    lists: dict[str, dict[str, Any]] = field(default_factory=dict)
    projects: dict[str, dict[str, Any]] = field(default_factory=dict)
    grants: dict[str, dict[str, Any]] = field(default_factory=dict)
    licences: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)


class Dice:
    """Draws. `mostly` gives the first value but for a share of the time."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def mostly(self, good, *bad, share=0.012):
        return self.random.choice(bad) if self.random.random() < share else good

    def some(self, share):
        return self.random.random() < share

    def one(self, *values):
        return self.random.choice(values)

    def span(self, share=0.012):
        """Usually running at NOW, now and then over or not begun, with both edges exact."""
        begin = self.mostly(self.one(0, NOW - 5, NOW), NOW + 1, NOW + 50, share=share / 3)
        end = self.mostly(self.one(LATER, NOW + 1, NOW + 9), NOW, NOW - 1, share=share)
        return begin, end


def draw(dice: Dice) -> Drawn:
    """One world."""
    found = Drawn()
    for name in ("org-a", "org-b", PROVIDER_ORGANISATION):
        found.organisations[name] = {
            "screening": dice.mostly("clear", "match", "possible", "none"),
            "verified_until": dice.mostly(LATER, NOW, NOW - 9, share=0.015),
            "suspended": dice.mostly(False, True, share=0.01),
            # What its owners make of it, and from when to when: a regime's dates are a matter of the clock alone.
            "owned": dice.mostly("clear", "blocked", "unknown", share=0.035),
            "owned_from": dice.mostly(0, NOW, NOW + 1, share=0.1),
            "owned_until": dice.mostly(LATER, NOW, NOW + 1, share=0.1),
            # A subsidiary: nothing is inherited from the owner.
            "parent": "org-a" if name == "org-b" else None,
        }
    for name in ("ok", "cohort"):
        begin, end = dice.span()
        found.lists[name] = {
            "organisations": dice.mostly(
                ("org-a", "org-b", PROVIDER_ORGANISATION), ("org-a",), ("org-b",), (), share=0.3
            ),
            "from": begin,
            "until": dice.one(end, None) if end > NOW else end,
        }
    _draw_models(dice, found)
    for name in HUMANS:
        _draw_person(dice, found, name)
    for organisation in ("org-a", "org-b"):
        found.groups[(organisation, "team")] = {
            name for name in HUMANS if HOME[name] == organisation and dice.some(0.8)
        }
    _draw_projects(dice, found)
    _draw_grants(dice, found)
    _draw_delegations(dice, found)
    _draw_orders(dice, found)
    return found


def _draw_models(dice, found):
    for name, level in zip(VARIANTS, (dice.one(0, 1), 2, 3), strict=True):
        compartments = {
            "low": (),
            "mid": dice.one((), (), ("CYB",)),
            "high": dice.one(("CYB",), (), ("AUT",), ("BIO",)),
        }[name]
        stage = dice.mostly("general", "internal", "government_evaluation", "verified", share=0.03)
        if dice.some(0.06):
            stage = "government_approved_organisations"
        standing = dice.mostly("active", "suspended", "withdrawn", "recalled", "retired", share=0.03)
        if dice.some(0.03):
            standing = "cohort_restored"
        findings = []
        if dice.some(0.15):
            findings.append(
                (
                    dice.one("CYB", "AUT", "MAN"),
                    dice.one("below", "below", "alert", "high", "critical"),
                    dice.some(0.3),
                )
            )
        found.variants[name] = {
            "declared": dice.mostly(level, 4, share=0.01),
            "compartments": compartments,
            "findings": findings,
            "stage": stage,
            "org_list": dice.mostly("ok", None, "nowhere", share=0.04)
            if stage == "government_approved_organisations"
            else None,
            "standing": standing,
            "cohort": "cohort" if standing == "cohort_restored" else None,
            "terms": dice.one(None, None, "t-1", "t-2"),
            "minimum_age": dice.mostly(dice.one(None, None, 18), 21, share=0.01),
        }
        demanded = "cert" if dice.some(0.15) else None
        found.deployments[f"{name}-1"] = {
            "of": name,
            "region": dice.one("r1", "r1", "r2"),
            "enclave": dice.mostly(None, "e-1", share=0.01),
            "demanded": demanded,
            "certified": dice.span(0.06) if demanded and dice.some(0.95) else None,
            "retired": dice.mostly(False, True, share=0.01),
        }


def _draw_person(dice, found, name):
    home = HOME[name]
    level = dice.mostly(3, 2, 1, share=0.02)
    begin, end = dice.span()
    found.people[name] = {
        "organisation": home,
        "kind": dice.mostly("human", "evaluator", share=0.02),
        "screening": dice.mostly("clear", "match", "possible", share=0.03) if dice.some(0.9) else None,
        "level": level,
        "compartments": dice.mostly(("CYB", "AUT", "BIO", "MAN"), ("AUT",), (), share=0.03),
        "caveats": dice.mostly(
            (), ("US_PERSON",), ("US_PERSON:itar",), ("NO_ZDR",), ("ENCLAVE:e-1",), share=0.12
        ),
        "state": dice.mostly(
            dice.one("granted", "granted", "interim", "conditional", "reinstated"),
            "suspended",
            "revoked",
            "expired",
            "none",
        ),
        "from": begin,
        "until": end,
        "adjudicators": dice.mostly(("adj-1", "adj-2"), ("adj-1", "adj-1"), ("adj-1",), share=0.03),
        "us_person": {
            "ear": dice.one("yes", "yes", "yes", "no", "no", "undeclared"),
            **({"itar": dice.one("yes", "no")} if dice.some(0.5) else {}),
        },
        "citizenships": dice.one(("AA",), ("BB",), ("AA", "BB"), None),
        "deemed_export": dice.one(
            {},
            {"ear": ("AA",), "itar": ("AA", "BB")},
            {"ear": ("BB",)},
            {"ear": ("AA", "BB"), "itar": ("BB",)},
        ),
        "ial": dice.mostly(dice.one(2, 3, 3), 1, None),
        "affiliation": dice.mostly(
            dice.one("org_attested", "registry"), "domain_email", "self", None, share=0.025
        )
        if home
        else dice.one("self", None),
        "evidence_expires": dice.mostly(dice.one(LATER, NOW + 1), NOW, NOW - 5, None, share=0.02),
        "claimed": dice.mostly(home, None, "org-b", share=0.02)
        if home
        else dice.mostly(None, "org-a", share=0.05),
        "age_over_18": dice.mostly(True, False, None, share=0.06),
    }
    for suffix in ("", "-old"):
        begin, end = dice.span(0.015 if not suffix else 0.9)
        found.passports[f"pass-{name}{suffix}"] = {
            "holder": name,
            "from": begin,
            "until": end,
            "aal": dice.mostly(3, 2, share=0.02),
            "status": dice.mostly("valid", "invalid", "suspended", share=0.02),
        }
    for terms in ("t-1", "t-2"):
        if dice.some(0.97):
            found.terms[(name, terms)] = dice.mostly(dice.one(None, LATER, NOW + 1), NOW, NOW - 4, share=0.03)
    begin, end = dice.span(0.04)
    found.keys[f"k-{name}"] = {
        "holder": name,
        "networks": dice.mostly(True, False, share=0.08),
        "loopback_only": dice.some(0.1),
        "project": dice.mostly(None, "proj-org-a", share=0.15),
        "aal": dice.mostly(2, 3, 1, share=0.1),
        "from": begin,
        "until": end,
        "revoked": dice.mostly(False, True, share=0.03),
        "level_limit": dice.mostly(2, 1, 3, share=0.1),
    }


def _draw_projects(dice, found):
    for organisation in ("org-a", "org-b", PROVIDER_ORGANISATION):
        begin, end = dice.span()
        found.projects[f"proj-{organisation}"] = {
            "organisation": organisation,
            "owner": None,
            "purposes": dice.mostly(("vuln_triage", "coding", "general"), ("coding",), share=0.03),
            "compartments": dice.mostly(("CYB", "AUT", "BIO", "MAN"), (), ("CYB",), share=0.03),
            "members": dice.mostly((), ("ann", "cat"), ("bob",), share=0.04),
            "from": begin,
            "until": end,
            "ended": dice.mostly(False, True, share=0.01),
        }
    found.projects["own"] = {
        **found.projects["proj-org-a"],
        "organisation": None,
        "owner": "dan",
        "members": (),
    }


def _scope(dice):
    begin, end = dice.span()
    return {
        "variants": dice.mostly(VARIANTS, ("mid",), ("low", "mid"), share=0.01),
        "purposes": dice.mostly(PURPOSES, ("vuln_triage",), ("coding",), share=0.04),
        "surfaces": dice.mostly(("api", "agent"), ("agent",), share=0.008),
        "regions": dice.mostly((), ("r1",), ("r2",), share=0.015),
        "from": begin,
        "until": end,
        "ended": dice.mostly(False, True, share=0.008),
        "parent": None,
        "by_provider": None,
        "by_organisation": None,
        "to_organisation": None,
        "to_group": None,
        "to_subject": None,
    }


def _draw_grants(dice, found):
    for organisation in ("org-a", "org-b", PROVIDER_ORGANISATION):
        top = f"top-{organisation}"
        found.grants[top] = {
            **_scope(dice),
            "by_provider": dice.mostly("lab", "rival", share=0.006),
            "to_organisation": organisation,
        }
        for name in HUMANS:
            if HOME[name] != organisation or dice.some(0.01):
                continue
            found.grants[f"to-{name}"] = {
                **_scope(dice),
                "by_organisation": organisation,
                "to_subject": name,
                "parent": dice.mostly(top, "top-org-a", None, share=0.006),
            }
        if (organisation, "team") in found.groups and dice.some(0.3):
            found.grants[f"team-{organisation}"] = {
                **_scope(dice),
                "by_organisation": organisation,
                "to_group": "team",
                "parent": top,
            }
    found.grants["direct"] = {
        **_scope(dice),
        "by_provider": "lab",
        # Now and then around the organisation of its grantee.
        "to_subject": dice.mostly("dan", "ann", share=0.1),
    }


def _draw_delegations(dice, found):
    for human in ("ann", "dan"):
        above, parent = human, None
        aal, signed_at = (
            dice.mostly(3, 2, share=0.05),
            NOW - dice.mostly(dice.one(60, DAY), DAY + 1, 3 * DAY, share=0.06),
        )
        for depth in range(1, 6):
            agent = f"bot-{human}-{depth}"
            found.agents[agent] = human
            begin, end = dice.span(0.01)
            found.mandates[f"m-{human}-{depth}"] = {
                "agent": agent,
                "principal": above,
                "human": human,
                "passport": f"pass-{human}",
                "variants": dice.mostly(VARIANTS, ("mid",), share=0.04),
                "purposes": dice.mostly(PURPOSES, ("vuln_triage",), share=0.04),
                "surfaces": ("api", "agent"),
                "project": dice.mostly(None, "proj-org-a", share=0.1),
                "aal": aal,
                "signed_at": signed_at,
                "from": begin,
                "until": end,
                "revoked": dice.mostly(False, True, share=0.02),
                "depth": depth,
                "parent": parent,
            }
            above, parent = agent, f"m-{human}-{depth}"


def _draw_orders(dice, found):
    for number in range(dice.one(0, 0, 0, 0, 0, 1, 1, 2)):
        begin, end = dice.span(0.15)
        found.orders[str(number)] = {
            "kind": dice.one("licence_required", "licence_required", "suspend", "restrict_to_list"),
            "variants": dice.one(VARIANTS, ("mid",), ("high",), ("mid", "high")),
            "applies_to": dice.one(
                {"us_person": "no"},
                {"us_person": "no"},
                {"not": {"us_person": "yes"}},
                {"citizenship": {"in": ["BB"]}},
                {"deemed_export": {"in": ["BB"]}},
                {"deemed_export": {"in": ["BB", "CC"]}, "regime": "itar"},
                {"not": {"deemed_export": {"in": ["AA"]}}},
                {"location": {"in": ["AA"]}},
                {"subject_kind": "agent"},
                {"employee_of_provider": False},
                {"all": []},
                {"all": [{"us_person": "no"}, {"subject_kind": "human"}]},
                {"any": [{"citizenship": {"in": ["AA"]}}, {"subject_kind": "agent"}]},
            ),
            "except": dice.one(
                (),
                (),
                ({"organisation": {"in": "annex:a"}},),
                ({"employee_of_provider": True},),
                ({"organisation": {"in": "list:ok"}},),
                ({"us_person": "yes"},),
                ({"all": [{"organisation": {"in": "annex:a"}}, {"us_person": "yes"}]},),
            ),
            "amends": (),
            "annex": dice.one(("org-a",), ("org-a", "org-b"), ()),
            "from": begin,
            "until": dice.one(end, None) if end > NOW else end,
            "authority": dice.one("authority:sample", "authority:other"),
        }
    earlier = list(found.orders)
    for number in range(len(earlier), len(earlier) + (dice.one(0, 1, 1, 2) if earlier else 0)):
        begin, end = dice.span(0.1)
        kind = dice.one("partially_authorise", "partially_authorise", "rescind")
        found.orders[str(number)] = {
            "kind": kind,
            "variants": dice.one(VARIANTS, ("mid",), ("mid", "high")),
            "applies_to": {"all": []},
            "except": ()
            if kind == "rescind"
            else dice.one(
                ({"organisation": {"in": "annex:a"}},),
                ({"organisation": {"in": "annex:a"}}, {"employee_of_provider": True}),
                (),
            ),
            "amends": (dice.one(*found.orders),),
            "annex": dice.one(("org-a",), ("org-b",), ("org-a", PROVIDER_ORGANISATION)),
            "from": begin,
            "until": dice.one(end, None) if end > NOW else end,
            "authority": "authority:sample",
        }
    for number in range(dice.one(0, 1, 2)):
        begin, end = dice.span(0.1)
        found.licences[f"l-{number}"] = {
            "authority": dice.mostly("authority:sample", "authority:other", share=0.3),
            "jurisdiction": dice.mostly(JURISDICTION, "YY", share=0.05),
            "annex": dice.one((), ("org-a",), ("org-a", "org-b")),
            "subjects": dice.one((), (), ("ann", "dan")),
            "classes": dice.one((), (), ("foreign_national",), ("us_person",), ("employee_of_provider",)),
            "variants": dice.one(VARIANTS, ("mid",)),
            "regions": dice.one((), (), ("r1",)),
            "purposes": dice.one((), (), ("vuln_triage",)),
            "from": begin,
            "until": end,
            "ended": dice.mostly(False, True, share=0.05),
        }


def draw_question(dice: Dice, found: Drawn) -> dict[str, Any]:
    """One question to a drawn world, as plain values."""
    human = dice.one("ann", "ann", "ann", "bob", "bob", "cat", "cat", "lea", "lea", "dan")
    usual = (
        ("low", "low", "low", "mid")
        if human == "dan"
        else ("low", "low", "mid", "mid", "mid", "high", "high")
    )
    variant = dice.mostly(dice.one(*usual), "Mid", "nothing", share=0.01)
    person = found.people[human]
    facts = {
        "subject": human,
        "holder": human,
        "kind": dice.mostly(person["kind"], "service", share=0.01),
        "passport": dice.mostly(f"pass-{human}", f"pass-{human}-old", "pass-bob", "pass-none", share=0.015),
        "aal": dice.mostly(3, 2, 1, share=0.025),
        "binding": dice.one("dpop", "dpop", "mtls"),
        "purpose": dice.mostly(
            dice.one("vuln_triage", "vuln_triage", "coding"),
            "ransomware",
            "general",
            "resale",
            None,
            share=0.045,
        ),
        "variant": variant,
        "deployment": dice.mostly(f"{variant}-1", "low-1", share=0.01)
        if variant in found.variants
        else "mid-1",
        "named": dice.mostly(None, person["organisation"] or "org-a", "org-b", share=0.03),
        "mandates": (),
        "project": dice.mostly(
            f"proj-{HOME[human]}" if HOME[human] else "own", None, "proj-org-b", "nothing", share=0.035
        ),
        "location": dice.one(None, "AA", "BB"),
        "key": None,
        "network_permitted": True,
        "surface": dice.mostly("api", "agent", "console", share=0.01),
    }
    if dice.some(0.16):
        facts |= {
            "binding": dice.mostly("key", "dpop", share=0.1),
            "key": dice.mostly(f"k-{human}", None, "k-bob", "k-none", share=0.06),
            "network_permitted": dice.mostly(True, False, share=0.04),
            "aal": found.keys[f"k-{human}"]["aal"],
        }
        if dice.some(0.7):
            # What a key was made for; it goes to C2.
            facts |= {"variant": "mid", "deployment": "mid-1"}
    elif human in ("ann", "dan") and dice.some(0.5):
        depth = dice.mostly(dice.one(1, 1, 2, 3, 4), 5, share=0.03)
        chain = [f"m-{human}-{link}" for link in range(1, depth + 1)]
        facts |= {
            "subject": f"bot-{human}-{depth}",
            "kind": "agent",
            "mandates": tuple(dice.mostly(chain, chain[1:], chain[:-1], [*chain[:-1], "m-none"], share=0.05)),
            "aal": 3,
        }
        if dice.some(0.02):
            facts["subject"] = "bot-ann-5"
    return facts


def told_to_the_core(found: Drawn, packs: bool) -> World:
    """The drawn world as events of the record."""
    world = World(start=0, end=LATER, packs=False)
    if packs:
        world.add(*PACKS)
    world.provider("lab").provider("rival")
    for name, one in found.organisations.items():
        world.add(
            OrganisationRegistered(
                organisation=name,
                legal_name=f"Sample {name}",
                country="XX",
                sector=Sector.OTHER,
                lei=lei_of(name),
                provider="lab" if name == PROVIDER_ORGANISATION else None,
                parent=one["parent"],
            ),
            OrganisationStandingChanged(
                organisation=name,
                verified_until=one["verified_until"],
                screening=Screening(one["screening"]),
                screened_at=0,
                list_digests=(),
                evidence="00",
                suspended=one["suspended"],
            ),
        )
        if one["owned"] != "clear":
            world.owned(name, Outcome(one["owned"]), one["owned_from"], one["owned_until"])
    for name, one in found.lists.items():
        world.org_list(name, one["organisations"], valid_from=one["from"], valid_until=one["until"])
    for name, one in found.variants.items():
        deployed = found.deployments[f"{name}-1"]
        world.variant(
            name,
            "lab",
            level=Level(one["declared"]),
            compartments=tuple(Compartment(value) for value in one["compartments"]),
            stage=Stage(one["stage"]),
            org_list=one["org_list"],
            terms=one["terms"],
            minimum_age=one["minimum_age"],
            region=deployed["region"],
            enclave=deployed["enclave"],
            certifications=(deployed["demanded"],) if deployed["demanded"] else (),
        )
        for domain, severity, unsure in one["findings"]:
            world.add(
                FindingRecorded(
                    variant=name,
                    domain=FindingDomain(domain),
                    scheme="s",
                    raw="r",
                    normalised=Severity(severity),
                    cannot_rule_out=unsure,
                    evidence="00",
                )
            )
        if one["standing"] != "active":
            world.add(
                StandingChanged(
                    variant=name,
                    standing=Standing(one["standing"]),
                    cohort=one["cohort"],
                    cause="",
                    by="lab",
                    at=0,
                )
            )
        if deployed["certified"]:
            world.certification(f"{name}-1", "cert", *deployed["certified"])
        if deployed["retired"]:
            world.add(DeploymentRetired(deployment=f"{name}-1", at=NOW))
    _tell_people(found, world)
    _tell_grants(found, world)
    _tell_orders(found, world)
    return world


def _tell_people(found, world):
    for name, one in found.people.items():
        world.add(
            SubjectEnrolled(subject=name, kind=SubjectKind(one["kind"]), organisation=one["organisation"]),
            ClearanceGranted(
                subject=name,
                level=Level(one["level"]),
                compartments=tuple(Compartment(value) for value in one["compartments"]),
                caveats=one["caveats"],
                state=ClearanceState(one["state"]),
                valid_from=one["from"],
                valid_until=one["until"],
                adjudicators=one["adjudicators"],
                evidence="00",
            ),
        )
        if one["screening"]:
            world.add(
                SubjectScreened(
                    subject=name, screening=Screening(one["screening"]), screened_at=0, list_digests=()
                )
            )
    for name, one in found.passports.items():
        world.add(
            PassportIssued(
                passport=name,
                subject=one["holder"],
                status_index=world.number(),
                key="thumb",
                valid_from=one["from"],
                valid_until=one["until"],
                commitment="00",
                aal=one["aal"],
            )
        )
        if one["status"] != "valid":
            world.add(
                PassportStatusChanged(
                    passport=name,
                    status=PassportStatus[one["status"].upper()],
                    cause="",
                    by="adj",
                    at=0,
                )
            )
    for (name, terms), until in found.terms.items():
        world.terms(name, terms, until=until)
    for (organisation, group), members in found.groups.items():
        for name in sorted(members):
            world.group(organisation, group, name)
    for name, one in found.keys.items():
        world.key(
            name,
            one["holder"],
            networks=("127.0.0.0/8",) if one["networks"] else (),
            loopback_only=one["loopback_only"],
            project=one["project"],
            aal=one["aal"],
            valid_from=one["from"],
            valid_until=one["until"],
            level_limit=Level(one["level_limit"]),
        )
        if one["revoked"]:
            world.add(GatewayKeyRevoked(key=name, by="x", at=NOW))
    for agent, human in found.agents.items():
        world.agent(agent, human, HOME[human])
    for name, one in found.mandates.items():
        world.mandate(
            name,
            one["agent"],
            one["human"],
            one["variants"],
            principal=one["principal"],
            parent=one["parent"],
            depth=one["depth"],
            project=one["project"],
            purposes=tuple(Purpose(value) for value in one["purposes"]),
            surfaces=tuple(Surface(value) for value in one["surfaces"]),
            valid_from=one["from"],
            valid_until=one["until"],
            aal=one["aal"],
            signed_at=one["signed_at"],
        )
        if one["revoked"]:
            world.add(MandateRevoked(mandate=name, by="x", at=NOW))


def _tell_grants(found, world):
    for name, one in found.projects.items():
        world.project(
            name,
            one["organisation"],
            purposes=tuple(Purpose(value) for value in one["purposes"]),
            compartments=tuple(Compartment(value) for value in one["compartments"]),
            members=one["members"],
            valid_from=one["from"],
            valid_until=one["until"],
        )
        if one["owner"]:
            world.events[-1] = msgspec.structs.replace(world.events[-1], owner=one["owner"])
        if one["ended"]:
            world.add(ProjectEnded(project=name, at=NOW))
    for name, one in found.grants.items():
        world.grant(
            name,
            one["variants"],
            by_provider=one["by_provider"],
            by_organisation=one["by_organisation"],
            to_organisation=one["to_organisation"],
            to_group=one["to_group"],
            to_subject=one["to_subject"],
            parent=one["parent"],
            purposes=tuple(Purpose(value) for value in one["purposes"]),
            surfaces=tuple(Surface(value) for value in one["surfaces"]),
            regions=one["regions"],
            valid_from=one["from"],
            valid_until=one["until"],
        )
    for name, one in found.grants.items():
        if one["ended"]:
            world.add(GrantEnded(grant=name, by="x", at=NOW))


def _tell_orders(found, world):
    for number, one in found.orders.items():
        world.add(
            msgspec.structs.replace(
                order(
                    number,
                    one["kind"],
                    one["variants"],
                    one["from"],
                    one["applies_to"],
                    except_=one["except"],
                    annexes={"a": one["annex"]},
                    effective_until=one["until"],
                    authority=one["authority"],
                    # A pack may read more people into an order than its predicate does; here they say the same.
                    packs=_cited(one),
                ),
                directive=number,
                amends=one["amends"],
            )
        )
    for name, one in found.licences.items():
        world.licence(
            name,
            one["variants"],
            annex=one["annex"],
            subjects=one["subjects"],
            classes=one["classes"],
            authority=one["authority"],
            jurisdiction=one["jurisdiction"],
            regions=one["regions"],
            purposes=tuple(Purpose(value) for value in one["purposes"]),
            valid_from=one["from"],
            valid_until=one["until"],
        )
        if one["ended"]:
            world.add(LicenceEnded(licence=name, by="x", at=NOW))


def _cited(one: dict[str, Any]) -> tuple[str, ...]:
    if one["kind"] != "licence_required":
        return ()
    if one["applies_to"] == {"us_person": "no"}:
        return ("us.is_informed.2026",)
    return ("us.deemed_export",) if "deemed_export" in one["applies_to"] else ()


def asked_of_the_core(found: Drawn, facts: dict[str, Any]) -> DecisionRequest:
    """The drawn question as the core takes it."""
    person = found.people[facts["holder"]]
    return DecisionRequest(
        subject=facts["subject"],
        holder=facts["holder"],
        kind=SubjectKind(facts["kind"]),
        passport=facts["passport"],
        claims=Claims(
            ial=person["ial"],
            fal=2,
            affiliation=None if person["affiliation"] is None else Affiliation(person["affiliation"]),
            evidence_expires=person["evidence_expires"],
            citizenships=person["citizenships"],
            us_person=tuple((regime, UsPerson(value)) for regime, value in person["us_person"].items()),
            organisation=person["claimed"],
            age_over_18=person["age_over_18"],
            deemed_export=tuple(person["deemed_export"].items()),
        ),
        aal=facts["aal"],
        authenticated_at=NOW - 60,
        binding=Binding(facts["binding"]),
        purpose=None if facts["purpose"] is None else Purpose(facts["purpose"]),
        variant=facts["variant"],
        deployment=facts["deployment"],
        organisation=facts["named"],
        mandates=facts["mandates"],
        project=facts["project"],
        location=facts["location"],
        gateway_key=facts["key"],
        network_permitted=facts["network_permitted"],
        surface=Surface(facts["surface"]),
    )
