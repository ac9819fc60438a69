"""Asks `domain_rules.cedar` what a drawn world answers: the outcome and the codes, without the code that decides.

Owns the writing of drawn values as Cedar entities and of orders' predicates as Cedar conditions. Imports nothing of the
product. A fact that was not disclosed is unknown: an order bites whom it may mean, an exception exempts only whom it means.
"""

import json
import re
from pathlib import Path

import cedarpy
from tests.support.drawn_worlds import HOME, NOW, PROVIDER_ORGANISATION, Drawn

RULES = Path(__file__).parents[1] / "properties" / "domain_rules.cedar"
TEXT = RULES.read_text("utf-8")
HEAD, CANDIDATES = TEXT.split("// ---- Candidates", 1)
MAIN = cedarpy.PolicySet.from_str(HEAD)
ASKED_OF_CANDIDATES = cedarpy.PolicySet.from_str("// " + CANDIDATES)
# In the order of the file, which is the order of the codes. The first policy is the one that permits.
CODES = re.findall(r'^@code\("([A-Z_]+)"\)', HEAD, re.MULTILINE)
ENDING = ("MODEL_UNKNOWN", "PASSPORT_INVALID", "BINDING_MISSING")
FOREVER = 2**53


def _uid(kind, name):
    return {"__entity": {"type": kind, "id": str(name)}}


def _entity(kind, name, attributes, parents=()):
    return {
        "uid": {"type": kind, "id": str(name)},
        "attrs": {key: value for key, value in attributes.items() if value is not None},
        "parents": [{"type": kind, "id": str(name)} for kind, name in parents],
    }


def _uid_or_none(kind, name):
    return None if name is None else _uid(kind, name)


def _uids(kind, names):
    return [_uid(kind, name) for name in names]


# -- The demand of a variant (registry, not decision): what findings add to what is declared ------------------------------
LADDER = ("below", "alert", "high", "critical")
ASKS = {"high": 2, "critical": 3}


def demanded(variant):
    """Level and compartments: high asks for C2, critical for C3; what cannot be ruled out is one rung up."""
    level, compartments = variant["declared"], set(variant["compartments"])
    for domain, severity, unsure in variant["findings"]:
        rung = LADDER[min(LADDER.index(severity) + unsure, 3)]
        if rung in ASKS:
            level = max(level, ASKS[rung])
            compartments.add(domain)
    return level, sorted(compartments)


class Reading:
    """One drawn world as Cedar sees it."""

    def __init__(self, found: Drawn):
        self.found = found
        self.entities = cedarpy.Entities.from_json_str(json.dumps(list(self._entities())))
        written = list(self._orders())
        self.orders = cedarpy.PolicySet.from_str("\n".join(written)) if written else None

    # -- entities --------------------------------------------------------------------------------------------------------
    def _entities(self):
        found = self.found
        for name, one in found.lists.items():
            yield _entity(
                "OrgList",
                name,
                {"from": one["from"], "until": FOREVER if one["until"] is None else one["until"]},
            )
        for name, one in found.organisations.items():
            above = [("OrgList", listed) for listed, at in found.lists.items() if name in at["organisations"]]
            above += [("Annex", number) for number, at in found.orders.items() if name in at["annex"]]
            yield _entity(
                "Organisation",
                name,
                {
                    key: one[key]
                    for key in (
                        "screening",
                        "verified_until",
                        "suspended",
                        "owned",
                        "owned_from",
                        "owned_until",
                    )
                },
                above,
            )
        for name, one in found.variants.items():
            level, compartments = demanded(one)
            yield _entity(
                "Variant",
                name,
                {
                    "registered": True,
                    "standing": one["standing"],
                    "level": level,
                    "compartments": compartments,
                    "stage": one["stage"],
                    "org_list": _uid_or_none("OrgList", one["org_list"]),
                    "cohort": _uid_or_none("OrgList", one["cohort"]),
                    "terms": one["terms"],
                    "minimum_age": one["minimum_age"],
                    "provider": _uid("Provider", "lab"),
                    "provider_organisation": _uid("Organisation", PROVIDER_ORGANISATION),
                },
            )
        for name, one in found.deployments.items():
            yield _entity(
                "Deployment",
                name,
                {
                    "of": _uid("Variant", one["of"]),
                    "region": one["region"],
                    "retired": one["retired"],
                    "in_enclave": one["enclave"] is not None,
                    "demanded": one["demanded"],
                    "certified": None
                    if one["certified"] is None
                    else {"from": one["certified"][0], "until": one["certified"][1]},
                },
            )
        yield from self._holders()
        yield from self._authorizations()

    def _holders(self):
        found = self.found
        for name, one in found.people.items():
            yield _entity(
                "Subject",
                name,
                {
                    "kind": one["kind"],
                    "organisation": _uid_or_none("Organisation", one["organisation"]),
                    "screening": one["screening"] or "not done",
                    "compartments": one["compartments"],
                    "caveats": one["caveats"],
                    "clearance": {
                        "level": one["level"],
                        "state": one["state"],
                        "from": one["from"],
                        "until": one["until"],
                        "first_adjudicator": one["adjudicators"][0],
                        "last_adjudicator": one["adjudicators"][-1],
                    },
                },
                [
                    ("Group", f"{org}/{group}")
                    for (org, group), members in found.groups.items()
                    if name in members
                ],
            )
        for agent in found.agents:
            yield _entity("Subject", agent, {"kind": "agent"})
        for name, one in found.passports.items():
            yield _entity("Passport", name, {**one, "holder": _uid("Subject", one["holder"])})
        for name, one in found.keys.items():
            yield _entity(
                "Key",
                name,
                {
                    "holder": _uid("Subject", one["holder"]),
                    "passport": _uid("Passport", f"pass-{one['holder']}"),
                    "has_networks": one["networks"],
                    "project": _uid_or_none("Project", one["project"]),
                    **{
                        key: one[key]
                        for key in ("loopback_only", "aal", "from", "until", "revoked", "level_limit")
                    },
                },
            )
        for name, one in found.mandates.items():
            yield _entity(
                "Mandate",
                name,
                {
                    **{
                        key: one[key] for key in ("purposes", "surfaces", "from", "until", "revoked", "depth")
                    },
                    "agent": _uid("Subject", one["agent"]),
                    "principal": _uid("Subject", one["principal"]),
                    "human": _uid("Subject", one["human"]),
                    "passport": _uid("Passport", one["passport"]),
                    "variants": _uids("Variant", one["variants"]),
                    "project": _uid_or_none("Project", one["project"]),
                    "parent": _uid_or_none("Mandate", one["parent"]),
                },
            )

    def _authorizations(self):
        found = self.found
        for name, one in found.projects.items():
            yield _entity(
                "Project",
                name,
                {
                    **{key: one[key] for key in ("purposes", "compartments", "from", "until", "ended")},
                    "organisation": _uid_or_none("Organisation", one["organisation"]),
                    "owner": _uid_or_none("Subject", one["owner"]),
                    "everybody": not one["members"],
                    "members": _uids("Subject", one["members"]),
                },
            )
        for name, one in found.grants.items():
            group = f"{one['by_organisation']}/{one['to_group']}" if one["to_group"] else None
            yield _entity(
                "Grant",
                name,
                {
                    **{
                        key: one[key] for key in ("purposes", "surfaces", "regions", "from", "until", "ended")
                    },
                    "variants": _uids("Variant", one["variants"]),
                    "everywhere": not one["regions"],
                    "by_provider": _uid_or_none("Provider", one["by_provider"]),
                    "by_organisation": _uid_or_none("Organisation", one["by_organisation"]),
                    "to_organisation": _uid_or_none("Organisation", one["to_organisation"]),
                    "to_subject": _uid_or_none("Subject", one["to_subject"]),
                    "to_group": _uid_or_none("Group", group),
                    "parent": _uid_or_none("Grant", one["parent"]),
                },
            )
        for name, one in found.licences.items():
            yield _entity(
                "Licence",
                name,
                {
                    **{
                        key: one[key]
                        for key in (
                            "authority",
                            "jurisdiction",
                            "classes",
                            "regions",
                            "purposes",
                            "from",
                            "until",
                            "ended",
                        )
                    },
                    "annex": _uids("Organisation", one["annex"]),
                    "any_organisation": not one["annex"],
                    "subjects": _uids("Subject", one["subjects"]),
                    "any_subject": not one["subjects"],
                    "any_class": not one["classes"],
                    "variants": _uids("Variant", one["variants"]),
                    "any_purpose": not one["purposes"],
                    "everywhere": not one["regions"],
                },
            )

    # -- orders as conditions --------------------------------------------------------------------------------------------
    def _in_force(self, number):
        one = self.found.orders[number]
        until = FOREVER if one["until"] is None else one["until"]
        ended = [
            f"({self._in_force(other)} && {_names(at)})"
            for other, at in self.found.orders.items()
            if at["kind"] == "rescind" and number in at["amends"]
        ]
        return " && ".join(
            [f"({one['from']} <= context.now && context.now < {until})", *(f"!{text}" for text in ended)]
        )

    def _exceptions(self, number):
        """(when it counts, the predicate, whose annex): the order's own, and those of amendments in force."""
        for predicate in self.found.orders[number]["except"]:
            yield "true", predicate, number
        for other, at in self.found.orders.items():
            if at["kind"] == "partially_authorise" and number in at["amends"]:
                for predicate in at["except"]:
                    yield f"({self._in_force(other)} && {_names(at)})", predicate, other

    def _orders(self):
        for number, one in self.found.orders.items():
            if one["kind"] not in ("licence_required", "suspend", "restrict_to_list"):
                continue
            exceptions = list(self._exceptions(number))
            bites = " && ".join(
                [
                    f"({self._in_force(number)})",
                    _names(one),
                    f"({self._possible(one['applies_to'], number)})",
                    *(f"!({when} && ({self._definite(what, whose)}))" for when, what, whose in exceptions),
                ]
            )
            yield f'permit (principal, action == Action::"bites", resource == Directive::"{number}") when {{ {bites} }};'
            lists = [(when, group) for when, what, whose in exceptions for group in _groups(what, whose)]
            named = " || ".join(f"({when})" for when, _ in lists) or "false"
            on_one = " || ".join(f"({when} && {self._listed(group)})" for when, group in lists) or "false"
            misses = f"({named}) && !({on_one})"
            if one["kind"] == "restrict_to_list":
                misses = "true"
            yield f'permit (principal, action == Action::"misses", resource == Directive::"{number}") when {{ {misses} }};'

            # A part that is undecided and asks for a nationality that was not told.
            parts = [("true", one["applies_to"], number), *exceptions]
            asks = " || ".join(
                f"({when} && ({self._possible(what, whose)}) && !({self._definite(what, whose)}) && ({_untold(what)}))"
                for when, what, whose in parts
            )
            yield f'permit (principal, action == Action::"asks_nationality", resource == Directive::"{number}") when {{ {asks} }};'

    def _listed(self, group):
        kind, name = group
        runs = "true"
        if kind == "OrgList":
            at = self.found.lists.get(name)
            runs = (
                "false"
                if at is None
                else f"({at['from']} <= context.now && context.now < {FOREVER if at['until'] is None else at['until']})"
            )
        return f'({runs} && context has organisation && context.organisation in {kind}::"{name}")'

    def _possible(self, predicate, whose):
        return f"!({self._not_definite(predicate, whose)})"

    def _not_definite(self, predicate, whose):
        """The condition under which the predicate is definitely false."""
        ((operator, value),) = ((key, item) for key, item in predicate.items() if key != "regime")
        if operator == "all":
            return " || ".join(f"({self._not_definite(part, whose)})" for part in value) or "false"
        if operator == "any":
            return " && ".join(f"({self._not_definite(part, whose)})" for part in value)
        if operator == "not":
            return self._definite(value, whose)
        if operator == "us_person":
            other = "no" if value == "yes" else "yes"
            return f'context.us_person.ear == "{other}"'
        if operator == "citizenship":
            return f"context has citizenships && !context.citizenships.containsAny({json.dumps(value['in'])})"
        if operator == "deemed_export":
            exports = _exports(predicate)
            return f'context.us_person.{_regime(predicate)} == "yes" || ({exports[0]} && !({exports[1]}))'
        if operator == "organisation":
            group = _group(value, whose)
            if group[0] == "OrgList":
                return f'context has organisation && {self._running(group[1])} && !(context.organisation in OrgList::"{group[1]}")'
            return f'context has organisation && !(context.organisation in Annex::"{group[1]}")'
        if operator == "employee_of_provider":
            return f"context has organisation && (context.organisation == context.variant.provider_organisation) != {json.dumps(value)}"
        if operator == "subject_kind":
            return f'context.kind != "{value}"'
        return f"context has location && !{json.dumps(value['in'])}.contains(context.location)"

    def _running(self, name):
        at = self.found.lists.get(name)
        if at is None:
            return "false"
        return f"({at['from']} <= context.now && context.now < {FOREVER if at['until'] is None else at['until']})"

    def _definite(self, predicate, whose):
        ((operator, value),) = ((key, item) for key, item in predicate.items() if key != "regime")
        if operator == "all":
            return " && ".join(f"({self._definite(part, whose)})" for part in value) or "true"
        if operator == "any":
            return " || ".join(f"({self._definite(part, whose)})" for part in value)
        if operator == "not":
            return self._not_definite(value, whose)
        if operator == "us_person":
            return f'context.us_person.ear == "{value}"'
        if operator == "citizenship":
            return f"context has citizenships && context.citizenships.containsAny({json.dumps(value['in'])})"
        if operator == "deemed_export":
            exports = _exports(predicate)
            return f'context.us_person.{_regime(predicate)} == "no" && {exports[0]} && {exports[1]}'
        if operator == "organisation":
            return self._listed(_group(value, whose))
        if operator == "employee_of_provider":
            return f"context has organisation && (context.organisation == context.variant.provider_organisation) == {json.dumps(value)}"
        if operator == "subject_kind":
            return f'context.kind == "{value}"'
        return f"context has location && {json.dumps(value['in'])}.contains(context.location)"

    # -- asking ----------------------------------------------------------------------------------------------------------
    def _ask(self, policies, facts, action, kind, name, context):
        answer = cedarpy.is_authorized(
            {
                "principal": {"type": "Subject", "id": facts["subject"]},
                "action": {"type": "Action", "id": action},
                "resource": {"type": kind, "id": name},
                "context": json.dumps(context),
            },
            policies,
            self.entities,
        )
        assert not answer.diagnostics.errors, (action, name, answer.diagnostics.errors)
        return answer

    def _holds(self, *asked):
        return self._ask(ASKED_OF_CANDIDATES, *asked).allowed

    def codes(self, facts):
        """The codes of the denial in order; empty when it is permitted."""
        found = self.found
        if facts["variant"] not in found.variants:
            # Not an entity of this world: the first rule is all there is to say.
            return ("MODEL_UNKNOWN",)
        context = self._context(facts)
        purposeless = {**context, "purpose_matters": False}
        context["purpose_matters"] = True
        # The likeliest first, since one will do; all are asked before there is said to be none.
        grants = sorted(found.grants, key=lambda name: found.grants[name]["to_subject"] != facts["holder"])
        context["chain"] = any(self._holds(facts, "rests_on", "Grant", name, context) for name in grants)
        context["chain_but_for_purpose"] = context["chain"] or any(
            self._holds(facts, "rests_on", "Grant", name, purposeless) for name in grants
        )
        context["mandates_hold"] = self._mandates_hold(facts, context)
        context |= self._ordered(facts, context)
        answer = self._ask(MAIN, facts, "use", "Variant", facts["variant"], context)
        if answer.allowed:
            return ()
        places = {int(name.removeprefix("policy")) for name in answer.diagnostics.reasons}
        earned = tuple(dict.fromkeys(CODES[place - 1] for place in sorted(places)))
        return next(((code,) for code in ENDING if code in earned), earned)

    def _context(self, facts):
        person = self.found.people[facts["holder"]]
        registered, claimed = HOME[facts["holder"]], person["claimed"]
        terms = self.found.variants[facts["variant"]]["terms"]
        signed = self.found.terms.get((facts["holder"], terms), 0)
        # Of an agent: what its human's authentication was when the chain began.
        first = self.found.mandates.get(facts["mandates"][0]) if facts["mandates"] else None
        values = {
            "now": NOW,
            "holder": _uid("Subject", facts["holder"]),
            "passport": _uid("Passport", facts["passport"]),
            "kind": facts["kind"],
            "aal": facts["aal"],
            "binding": facts["binding"],
            "network_permitted": facts["network_permitted"],
            "variant": _uid("Variant", facts["variant"]),
            "deployment": _uid("Deployment", facts["deployment"]),
            "surface": facts["surface"],
            "key": _uid_or_none("Key", facts["key"]),
            "named": _uid_or_none("Organisation", facts["named"]),
            "purpose": facts["purpose"],
            "project": _uid_or_none("Project", facts["project"]),
            "location": facts["location"],
            "ial": person["ial"],
            "affiliation": person["affiliation"],
            "evidence_expires": person["evidence_expires"],
            "claimed": _uid_or_none("Organisation", claimed),
            # What is known of the organisation: what was disclosed and stands so in the register.
            "organisation": _uid_or_none("Organisation", registered if registered == claimed else None),
            "us_person": {"ear": "undeclared", "itar": "undeclared", **person["us_person"]},
            "citizenships": person["citizenships"],
            "exports_ear": person["deemed_export"].get("ear"),
            "exports_itar": person["deemed_export"].get("itar"),
            "age_over_18": person["age_over_18"],
            "terms_until": FOREVER if signed is None else signed,
            "mandated": first and {"aal": first["aal"], "signed_at": first["signed_at"]},
        }
        return {key: value for key, value in values.items() if value is not None}

    def _mandates_hold(self, facts, context):
        if facts["subject"] == facts["holder"] or not facts["mandates"]:
            return False
        above, parent = facts["holder"], None
        for depth, name in enumerate(facts["mandates"], start=1):
            last = depth == len(facts["mandates"])
            given = self.found.mandates.get(name)
            agent = facts["subject"] if last else given and given["agent"]
            link = {
                "agent": _uid("Subject", agent),
                "principal": _uid("Subject", above),
                "depth": depth,
                "parent": _uid_or_none("Mandate", parent),
            }
            asked = {**context, "link": {key: value for key, value in link.items() if value is not None}}
            if not self._holds(facts, "carries", "Mandate", name, asked):
                return False
            above, parent = agent, name
        return True

    def _ordered(self, facts, context):
        told = {
            "turns_on_nationality": False,
            "misses_a_list": False,
            "unlicensed": False,
            "suspended": False,
        }
        for number, one in self.found.orders.items():
            if one["kind"] not in ("licence_required", "suspend", "restrict_to_list"):
                continue
            if not self._ask(self.orders, facts, "bites", "Directive", number, context).allowed:
                continue
            if one["kind"] == "licence_required":
                asked = {**context, "order": {"authority": one["authority"], "jurisdiction": "XX"}}
                if any(self._holds(facts, "answers", "Licence", name, asked) for name in self.found.licences):
                    continue
                told["unlicensed"] = True
            if one["kind"] == "suspend":
                told["suspended"] = True
            if self._ask(self.orders, facts, "misses", "Directive", number, context).allowed:
                told["misses_a_list"] = True
            if self._ask(self.orders, facts, "asks_nationality", "Directive", number, context).allowed:
                told["turns_on_nationality"] = True
        return told


def _names(one):
    return (
        f"[{', '.join(f'Variant::{json.dumps(name)}' for name in one['variants'])}].contains(context.variant)"
    )


def _untold(predicate):
    """The condition under which a nationality that the predicate asks for was not told."""
    ((operator, value),) = ((key, item) for key, item in predicate.items() if key != "regime")
    if operator in ("all", "any"):
        return " || ".join(f"({_untold(part)})" for part in value) or "false"
    if operator == "not":
        return _untold(value)
    if operator == "us_person":
        return 'context.us_person.ear == "undeclared"'
    if operator == "deemed_export":
        told, there = _exports(predicate)
        regime = _regime(predicate)
        return (
            f'context.us_person.{regime} != "yes" && (!({told}) || '
            f'(context.us_person.{regime} == "undeclared" && {there}))'
        )
    return "!(context has citizenships)" if operator == "citizenship" else "false"


def _regime(predicate):
    return predicate.get("regime", "ear")


def _exports(predicate):
    """Whether the countries were told, and whether one of those named is among them."""
    fact = f"exports_{_regime(predicate)}"
    named = json.dumps(predicate["deemed_export"]["in"])
    return f"context has {fact}", f"(context has {fact} && context.{fact}.containsAny({named}))"


def _group(value, whose):
    source, name = value["in"].split(":")
    return ("Annex", whose) if source == "annex" else ("OrgList", name)


def _groups(predicate, whose):
    """Every list or annex that a predicate asks for."""
    ((operator, value),) = ((key, item) for key, item in predicate.items() if key != "regime")
    if operator in ("all", "any"):
        return [group for part in value for group in _groups(part, whose)]
    if operator == "not":
        return _groups(value, whose)
    return [_group(value, whose)] if operator == "organisation" else []
