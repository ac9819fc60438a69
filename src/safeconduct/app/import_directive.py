"""Use case: take in a directive that an authority signed, with its annexes.

Everything it says is checked before it is an entry of the record; from then on it acts from its `effective_from`, also when
that lies in the past, and never on decisions already made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from safeconduct.app.commit import commit_checked, instant, is_production
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.reach import models_of, reach_of
from safeconduct.app.scope import require_own_document, require_role
from safeconduct.authorization.directive import (
    AMENDING,
    TYP,
    Amended,
    Directive,
    check_amendment,
    read_annexes,
    read_directive,
    resolve_amended,
)
from safeconduct.authorization.trust import KeyScope, check_may_sign, may_act_for, verify_document
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.orders import Annex, DirectiveImported, OrganisationEntry
from safeconduct.record.state import State
from safeconduct.registry.model import variants_named


class ImportDirective(msgspec.Struct, frozen=True):
    """jws: the signed directive. annexes: the bytes of each annex by its name."""

    jws: str
    annexes: dict[str, bytes] = {}


class ImportedDirective(msgspec.Struct, frozen=True):
    """unmatched: annex lines that name no registered organisation; they match as soon as one is registered.

    unknown_packs: packs it cites that are not published here; the order itself is enforced all the same.
    """

    directive: DirectiveImported
    unmatched: tuple[OrganisationEntry, ...]
    unknown_packs: tuple[str, ...]


def import_directive(instance: Instance, caller: Caller, ask: ImportDirective) -> ImportedDirective:
    """By an operator, or by the authority for its own.

    Raises VerificationFailed and Forbidden (untrusted, wrongly scoped), InvalidInput (malformed, not enforced, an annex
    whose digest differs), Conflict (a number used twice), LogUnavailable.
    """
    require_role(caller, Role.OPERATOR, Role.AUTHORITY)
    now = instant(instance)
    taken: list[DirectiveImported] = []

    def check(state: State) -> list[DirectiveImported]:
        document = verify_document(
            ask.jws, typ=TYP, trust=state.trust, now=now, production=is_production(instance)
        )
        require_own_document(caller, document.party)
        taken[:] = [
            directive_event(
                state, document.claims, ask.annexes, scope=document.scope, jws=ask.jws, recorded_at=now
            )
        ]
        return taken

    commit_checked(instance, check)
    event = taken[0]
    state = instance.record.state
    return ImportedDirective(
        directive=event,
        unmatched=state.directives[event.directive].unmatched,
        unknown_packs=tuple(pack for pack in event.packs if pack not in state.packs),
    )


def directive_event(
    state: State,
    claims: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    scope: KeyScope,
    jws: str,
    recorded_at: int,
) -> DirectiveImported:
    """The event that a directive becomes in that state, every rule of its import checked.

    scope: of the key that signed it, or that would. Raises Forbidden, InvalidInput, Conflict.
    """
    directive = read_directive(claims)
    if directive.id in state.directives:
        raise Conflict(
            f"{directive.id} was imported before: a number and version is used once",
            field="number",
            remedy="give a new number, or the next version",
        )
    variants = variants_named(directive.variants, models_of(state))
    check_may_sign(scope, f"directive:{directive.kind}", variants=reach_of(state, variants))
    amended = _amended(state, directive)
    check_amendment(directive.kind, directive.effective_from, variants, amended)
    for name in sorted(directive.lists):
        if name not in state.org_lists:
            raise InvalidInput(
                f"a predicate names list {name[:60]!r}, which is not published here",
                field="except" if directive.except_ else "applies_to",
                remedy="import the signed list first",
            )
    lines = read_annexes(directive, files)
    return DirectiveImported(
        directive=directive.id,
        authority=directive.authority,
        jurisdiction=scope.jurisdiction or "",
        number=directive.number,
        version=directive.version,
        kind=directive.kind,
        force=directive.force,
        visibility=directive.visibility,
        variants=variants,
        applies_to=directive.applies_to,
        except_=directive.except_,
        amends=tuple(one.id for one in amended),
        effective_from=directive.effective_from,
        effective_until=directive.effective_until,
        in_flight=directive.in_flight,
        annexes=tuple(
            Annex(
                name=annex.name,
                media_type=annex.media_type,
                sha256=annex.sha256,
                entries=tuple(
                    OrganisationEntry(
                        line.legal_name, line.lei, line.registry_authority, line.registry_number
                    )
                    for line in lines[annex.name]
                ),
            )
            for annex in directive.annexes
        ),
        legal_source=directive.legal_source,
        packs=directive.packs,
        title=directive.title,
        jws=jws,
        document=sha256_hex(jws.encode("utf-8")),
        signed_with=scope.kid,
        recorded_at=recorded_at,
    )


def _amended(state: State, directive: Directive) -> tuple[Amended, ...]:
    """The directives it names, among those that its issuer may touch: its own, and of parties it succeeds."""
    if directive.kind not in AMENDING:
        return ()
    candidates = [
        Amended(
            id=name,
            authority=entry.imported.authority,
            number=entry.imported.number,
            version=entry.imported.version,
            kind=entry.imported.kind,
            variants=frozenset(entry.imported.variants),
            rescinded_from=entry.rescinded_from,
        )
        for name, entry in state.directives.items()
        if may_act_for(directive.authority, entry.imported.authority, state.trust)
    ]
    return resolve_amended(directive.amends, candidates)
