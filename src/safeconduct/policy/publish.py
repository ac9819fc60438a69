"""Validation of a policy pack before it is published.

Owns what a pack must be to enter the record: Cedar that fits the schema, only `forbid`, every policy with its own id, code,
source and remedy; or the data of an ownership regime. Refuses packs that could permit, that cite nothing, or that are too large for a slice.
"""

from __future__ import annotations

from importlib import resources
from typing import Final

import cedarpy

from safeconduct.identity.ownership.regime import read_regime
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import check_name
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.kernel.vocabulary import TERMINAL_CODES, Code
from safeconduct.policy.selection import SCOPES
from safeconduct.policy.slices import MAX_POLICIES
from safeconduct.record.events.trust import PackPublished

STATUSES: Final = ("draft", "active", "suspended", "rescinded")
KINDS: Final = ("decision", "computation")
ANNOTATIONS: Final = ("id", "code", "source", "detail", "remedy")


def schema_text() -> str:
    """The Cedar schema that every pack is validated against."""
    return (resources.files(__package__) / "packs" / "schema.cedarschema").read_text("utf-8")


def validate(pack: PackPublished) -> None:
    """Raise InvalidInput, naming the field, unless the pack may be published."""
    check_name(pack.pack, "pack")
    if not pack.version:
        raise InvalidInput("a version is expected", field="version")
    if pack.kind not in KINDS:
        raise InvalidInput(
            f"packs of kind {pack.kind[:40]!r} are not run by this build",
            field="kind",
            remedy="use `decision` or `computation`",
        )
    if pack.status not in STATUSES:
        raise InvalidInput(
            f"unknown status {pack.status[:40]!r}{did_you_mean(pack.status, STATUSES)}",
            field="status",
            remedy=f"use one of {', '.join(STATUSES)}",
        )
    if not pack.legal_source:
        raise InvalidInput("a legal source is expected", field="legal_source")
    if pack.effective_until is not None and pack.effective_until <= pack.effective_from:
        raise InvalidInput("it would end before it begins", field="effective_until")
    if sha256_hex(pack.policies.encode()) != pack.sha256:
        raise InvalidInput("the digest is not that of the policies", field="sha256")
    if pack.kind == "computation":
        if not pack.policies.lstrip().startswith("{"):
            raise InvalidInput(
                "of packs of kind 'computation' only ownership regimes are published",
                field="kind",
                remedy="give the regime's data as JSON in `policies`",
            )
        if read_regime(pack.policies, version=pack.version).regime != pack.pack:
            raise InvalidInput("the regime in it has another name", field="policies.regime")
        return
    scope = pack.parameters.get("scope")
    if scope not in SCOPES:
        raise InvalidInput(
            f"unknown scope {str(scope)[:40]!r}",
            field="parameters.scope",
            remedy=f"use one of {', '.join(SCOPES)}",
        )
    _validate_policies(pack)


def _validate_policies(pack: PackPublished) -> None:
    try:
        parsed = cedarpy.PolicySet.from_str(pack.policies).to_pst()
    except ValueError as error:
        raise InvalidInput(f"not Cedar: {str(error)[:400]}", field="policies") from None
    policies = dict(parsed.static_policies)
    if parsed.templates:
        raise InvalidInput("templates are not run", field="policies", remedy="write static policies")
    if not policies:
        raise InvalidInput("there is no policy in it", field="policies")
    if len(policies) > MAX_POLICIES - 1:
        raise InvalidInput(
            f"{len(policies)} policies, {MAX_POLICIES - 1} fit a slice",
            field="policies",
            remedy="split the pack",
        )
    seen: set[str] = set()
    for position, policy in policies.items():
        _validate_policy(pack, f"policies.{position}", policy, seen)
    checked = cedarpy.validate_policies(pack.policies, schema_text())
    if not checked.validation_passed:
        raise InvalidInput(
            f"the schema does not admit it: {'; '.join(map(str, checked.errors))[:600]}", field="policies"
        )


def _validate_policy(pack: PackPublished, field: str, policy: object, seen: set[str]) -> None:
    notes: dict[str, str] = dict(getattr(policy, "annotations", {}))
    if getattr(policy, "effect", None) != "forbid":
        raise InvalidInput("a pack only forbids", field=field, remedy="turn the permit into a forbid")
    for name in ANNOTATIONS:
        if not notes.get(name):
            raise InvalidInput(
                f"the annotation @{name} is missing", field=field, remedy=f'add @{name}("...")'
            )
    if notes["id"] in seen:
        raise InvalidInput(f"@id {notes['id'][:80]!r} stands twice", field=field, remedy="give each its own")
    seen.add(notes["id"])
    if not notes["id"].startswith(f"{pack.pack}/"):
        raise InvalidInput(
            f"@id {notes['id'][:80]!r} is not of this pack",
            field=field,
            remedy=f'begin it with "{pack.pack}/"',
        )
    codes = [code.value for code in Code]
    if notes["code"] not in codes:
        raise InvalidInput(
            f"unknown code {notes['code'][:40]!r}{did_you_mean(notes['code'], codes)}", field=field
        )
    if Code(notes["code"]) in TERMINAL_CODES or notes["code"] == Code.ACCESS_RESTRICTED:
        raise InvalidInput(
            f"{notes['code']} is not a policy's to give",
            field=field,
            remedy="use a code of an unmet condition",
        )
