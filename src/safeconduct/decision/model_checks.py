"""Checks of what is reached: the variant, its deployment, its stage and standing; and of the credential's tie to it.

Owns the conditions that end an evaluation (they answer alone) and the release stages. Refuses to take a header or a region
for an attestation: an enclave is not served until one can be verified.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from safeconduct.decision import rules
from safeconduct.decision.inquiry import Inquiry
from safeconduct.decision.request import DecisionRequest
from safeconduct.kernel.vocabulary import Binding, Level, Stage, Standing, SubjectKind
from safeconduct.record.projections import DeploymentState

_INSPECTING: Final = frozenset({SubjectKind.EVALUATOR, SubjectKind.REGULATOR})
# Members of an enumeration are looked up slowly on Python 3.11; these stand on the hot path.
_C1, _C2, _C3, _C4 = Level.C1, Level.C2, Level.C3, Level.C4
_KEY = Binding.KEY
_ACTIVE = Standing.ACTIVE
_GENERAL, _INTERNAL, _EVALUATION = Stage.GENERAL, Stage.INTERNAL, Stage.GOVERNMENT_EVALUATION
_VERIFIED = Stage.VERIFIED
_STOPPED: Final = frozenset({Standing.SUSPENDED, Standing.WITHDRAWN, Standing.RECALLED, Standing.RETIRED})

# Stages whose list decides alone; at the others a list is an additional bound when one is named.
_LISTED: Final = frozenset({Stage.GOVERNMENT_APPROVED_ORGANISATIONS})


def unknown_model(
    request: DecisionRequest, deployment: DeploymentState | None, has_ended: Callable[[int | None], bool]
) -> str:
    """Why the deployment asked for (as the state knows it) is none of this variant, or an empty string."""
    if request.deployment is None:
        return ""
    if deployment is None or deployment.registered.variant != request.variant:
        return "there is no such deployment of this variant"
    if has_ended(deployment.retired_at):
        return "the deployment is retired"
    return ""


def invalid_credential(inquiry: Inquiry) -> str:
    """Why the passport or the gateway key does not hold, or an empty string."""
    request, issued = inquiry.request, inquiry.passport.issued
    if issued.subject != request.holder:
        return "the passport is another subject's"
    if not inquiry.within(issued.valid_from, issued.valid_until):
        return "the passport has expired or is not valid yet"
    if request.subject == request.holder and request.kind is not inquiry.holder.enrolled.kind:
        return "the subject is not of the kind that the credential says"
    if request.gateway_key is None:
        return ""
    key = inquiry.state.gateway_keys.get(request.gateway_key)
    if (
        key is None
        or key.registered.subject != request.subject
        or key.registered.passport != request.passport
    ):
        return "there is no such gateway key of this subject"
    if key.revoked_at is not None:
        return "the gateway key is revoked"
    if not inquiry.within(key.registered.valid_from, key.registered.valid_until):
        return "the gateway key has expired or is not valid yet"
    return ""


def missing_binding(inquiry: Inquiry) -> str:
    """Why the credential's binding is too weak for the variant's level, or an empty string."""
    request, level = inquiry.request, inquiry.level
    if not request.network_permitted:
        return "the key may not be used from this network"
    bare = request.binding is _KEY
    if bare and level >= _C3:
        return f"a bare key is not accepted at C{level:d}"
    if request.gateway_key is None:
        if bare and level >= _C1:
            return f"an unbound credential is not accepted at C{level:d}"
        return ""
    key = inquiry.state.gateway_keys[request.gateway_key].registered
    limit = min(key.level_limit, _C2)
    if level > limit:
        return f"the gateway key is good to C{limit:d}, C{level:d} is asked for"
    if level == _C2 and not key.networks and not key.loopback_only:
        return "at C2 a gateway key needs a list of networks or a loopback bind"
    return ""


def check_stage(inquiry: Inquiry) -> None:
    """The release stage admits the subject, and the standing does not stop it."""
    variant = inquiry.variant
    stage, standing = variant.stage, variant.standing
    if standing is not _ACTIVE:
        if standing in _STOPPED:
            inquiry.deny(rules.STAGE, f"the variant is {standing.value}")
        elif not inquiry.is_on(variant.cohort):
            inquiry.deny(rules.STAGE, "the variant is restored to a cohort that the organisation is not in")
    if stage is _GENERAL:
        return
    if stage is _INTERNAL:
        if not inquiry.is_of_provider:
            inquiry.deny(rules.STAGE, "the variant is internal to its provider")
    elif stage is _EVALUATION:
        if not (
            inquiry.is_of_provider
            or inquiry.holder.enrolled.kind in _INSPECTING
            or inquiry.is_on(variant.org_list)
        ):
            inquiry.deny(rules.STAGE, "the variant is under evaluation by a government")
    elif stage is _VERIFIED:
        if variant.org_list is not None and not inquiry.is_on(variant.org_list):
            inquiry.deny(rules.STAGE_LIST, f"the organisation is not on the list {variant.org_list}")
        elif (inquiry.claims.ial or 0) < 2:
            inquiry.deny(rules.STAGE, "the variant is open to verified users only (IAL2)")
    elif (stage in _LISTED or variant.org_list is not None) and not inquiry.is_on(variant.org_list):
        named = f"the list {variant.org_list}" if variant.org_list else "any list: none is published"
        inquiry.deny(rules.STAGE_LIST, f"the organisation is not on {named}")


def closed_stage(inquiry: Inquiry) -> tuple[bool, bool]:
    """Whether the stage admits a list only, and whether the organisation is on it: facts for the packs."""
    variant = inquiry.variant
    closed = variant.stage in _LISTED
    return closed, closed and inquiry.is_on(variant.org_list)


def check_enclave(inquiry: Inquiry) -> None:
    """C4, and any deployment inside an enclave, need an attestation; none can be verified yet, so they are denied."""
    if inquiry.level >= _C4:
        inquiry.deny(rules.ENCLAVE, "C4 is served only from an attested enclave")
    elif inquiry.deployment is not None and inquiry.deployment.registered.enclave is not None:
        inquiry.deny(rules.ENCLAVE, "the deployment runs in an enclave that is not attested")


def check_certification(inquiry: Inquiry) -> None:
    """Every certification that the deployment is offered under is on record and current."""
    deployment = inquiry.deployment
    if deployment is None or not (deployment.certifications or deployment.registered.certifications):
        return
    schemes = {*deployment.registered.certifications, *(one.scheme for one in deployment.certifications)}
    for scheme in sorted(schemes):
        # Each is looked at, so that every expiry counts towards `valid_until`.
        current = [
            inquiry.within(one.valid_from, one.valid_until)
            for one in deployment.certifications
            if scheme in {one.scheme, f"{one.scheme} {one.level}"}
        ]
        if not any(current):
            inquiry.deny(
                rules.CERTIFICATION, f"the certification {scheme} of the deployment is missing or has expired"
            )
