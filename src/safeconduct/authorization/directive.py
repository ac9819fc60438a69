"""Directives: what an authority orders, as a signed document (`directive+jwt`, formats.md 4).

Owns their reading, their own consistency and their signing at an authority's desk. Refuses kinds, visibilities, members and
operators that this build does not enforce: an order that is taken in and not carried out is worse than one refused.
What needs the state (numbers used, directives amended, variants known) is checked by the use case with `check_amendment`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from safeconduct.authorization.annex import AnnexLine, read_annex
from safeconduct.authorization.document import Members
from safeconduct.authorization.predicate import (
    EVERYBODY,
    OrganisationIn,
    Predicate,
    annexes_named,
    leaves,
    lists_named,
    parse,
    parse_exceptions,
)
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput
from safeconduct.kernel.ids import DirectiveId, VariantId
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import Signer
from safeconduct.kernel.vocabulary import ENFORCED_KINDS, DirectiveKind, Force, InFlight, Visibility

TYP = "directive+jwt"

RESTRICTING = frozenset(
    {DirectiveKind.LICENCE_REQUIRED, DirectiveKind.SUSPEND, DirectiveKind.RESTRICT_TO_LIST}
)
AMENDING = frozenset({DirectiveKind.PARTIALLY_AUTHORISE, DirectiveKind.RESCIND})


class AnnexReference(msgspec.Struct, frozen=True):
    """An annex as the signed directive names it; sha256 in hex."""

    name: str
    media_type: str
    sha256: str


class Directive(msgspec.Struct, frozen=True):
    """A directive as read. variants and amends are names as written; times are seconds since the epoch."""

    authority: str
    number: str
    version: int
    kind: DirectiveKind
    force: Force
    visibility: Visibility
    variants: tuple[str, ...]
    applies_to: dict[str, Any]
    except_: tuple[dict[str, Any], ...]
    amends: tuple[str, ...]
    effective_from: int
    effective_until: int | None
    in_flight: InFlight
    annexes: tuple[AnnexReference, ...]
    legal_source: str
    title: str
    packs: tuple[str, ...]
    predicates: tuple[Predicate, ...]

    @property
    def id(self) -> DirectiveId:
        """`authority/number/version`, used once."""
        return directive_id(self.authority, self.number, self.version)

    @property
    def lists(self) -> frozenset[str]:
        """Ids of the lists of organisations that its predicates name."""
        return frozenset().union(*(lists_named(predicate) for predicate in self.predicates))


def directive_id(authority: str, number: str, version: int) -> DirectiveId:
    """The id of a directive."""
    return DirectiveId(f"{authority}/{number}/{version}")


def sign_directive(claims: Mapping[str, Any], signer: Signer) -> str:
    """Sign a directive at the authority's desk, having read it first. Raises InvalidInput for what would be refused."""
    read_directive(dict(claims))
    return sign_jwt(dict(claims), typ=TYP, signer=signer)


def read_directive(claims: Mapping[str, Any]) -> Directive:
    """Read a directive's claims. Raises InvalidInput naming the member by its JSON path."""
    members = Members(claims)
    authority = members.text("iss", limit=100)
    members.instant("iat")
    number = members.text("number", limit=100)
    version = members.number("version")
    kind = members.choice("kind", DirectiveKind)
    force = members.choice("force", Force)
    visibility = members.choice("visibility", Visibility)
    variants = members.texts(
        "variants", needed=kind in RESTRICTING or kind is DirectiveKind.PARTIALLY_AUTHORISE
    )
    applies_to = members.take("applies_to")
    except_ = members.take("except", [])
    amends = members.texts("amends", needed=kind in AMENDING)
    effective_from = members.instant("effective_from")
    effective_until = members.instant_or_none("effective_until")
    in_flight = members.choice("in_flight", InFlight)
    annexes = tuple(
        _annex_reference(value, f"annexes[{place}]")
        for place, value in enumerate(members.items("annexes", limit=16))
    )
    legal_source = members.text("legal_source")
    title = members.text_or("title", "", limit=300)
    packs = members.texts("packs")
    members.finish()
    _check_enforced(kind, force, visibility)
    if effective_until is not None and effective_until <= effective_from:
        raise InvalidInput("it ends before it begins", field="effective_until")
    if kind is DirectiveKind.RESCIND and effective_until is not None:
        raise InvalidInput(
            "what a rescind ends does not begin again",
            field="effective_until",
            remedy="use partially_authorise to lift it for a time",
        )
    predicates = (parse(applies_to), *parse_exceptions(except_))
    _check_kind(kind, predicates, amends)
    names = [annex.name for annex in annexes]
    if len(set(names)) != len(names):
        raise InvalidInput("two annexes have the same name", field="annexes")
    for predicate in predicates:
        for name in annexes_named(predicate) - set(names):
            raise InvalidInput(
                f"a predicate names annex {name[:60]!r}, which the directive does not have",
                field="annexes",
                remedy="add it with its digest, or correct the name",
            )
    return Directive(
        authority=authority,
        number=number,
        version=version,
        kind=kind,
        force=force,
        visibility=visibility,
        variants=variants,
        applies_to=applies_to,
        except_=tuple(except_),
        amends=amends,
        effective_from=effective_from,
        effective_until=effective_until,
        in_flight=in_flight,
        annexes=annexes,
        legal_source=legal_source,
        title=title or f"{kind} {number}",
        packs=packs,
        predicates=predicates,
    )


def _annex_reference(value: Any, where: str) -> AnnexReference:
    members = Members(value, f"{where}.")
    reference = AnnexReference(
        name=members.text("name", limit=100),
        media_type=members.text("media_type", limit=100),
        sha256=members.digest("sha256"),
    )
    members.finish()
    return reference


def _check_enforced(kind: DirectiveKind, force: Force, visibility: Visibility) -> None:
    if kind not in ENFORCED_KINDS:
        raise InvalidInput(
            f"this build does not enforce directives of kind {kind}, so it does not take one in",
            field="kind",
            remedy=f"it enforces {', '.join(sorted(ENFORCED_KINDS))}",
        )
    if visibility is not Visibility.PUBLIC:
        raise InvalidInput(
            f"this build does not keep a {visibility} directive from those it concerns, so it does not take one in",
            field="visibility",
            remedy="it enforces public",
        )
    if force is Force.VOLUNTARY and kind in RESTRICTING:
        raise InvalidInput(
            f"a voluntary {kind} would bind nobody, and this build would enforce it",
            field="force",
            remedy="say binding, contractual or internal, or send kind information",
        )


def _check_kind(kind: DirectiveKind, predicates: tuple[Predicate, ...], amends: tuple[str, ...]) -> None:
    applies_to, exceptions = predicates[0], predicates[1:]
    if kind not in AMENDING and amends:
        raise InvalidInput(
            f"a {kind} amends nothing", field="amends", remedy="use partially_authorise or rescind"
        )
    if kind is DirectiveKind.RESCIND and applies_to != EVERYBODY:
        # It would look like a rescission for some and act as one for all.
        raise InvalidInput(
            "a rescind ends what it names for everybody",
            field="applies_to",
            remedy='write {"all": []}, or use partially_authorise to exempt some',
        )
    if kind is DirectiveKind.PARTIALLY_AUTHORISE and not exceptions:
        raise InvalidInput("it exempts nobody", field="except", remedy="say who is authorised")
    if kind is DirectiveKind.RESCIND and exceptions:
        raise InvalidInput(
            "a rescind has no exceptions", field="except", remedy="use partially_authorise to exempt some"
        )
    if kind is DirectiveKind.RESTRICT_TO_LIST and not any(
        isinstance(leaf, OrganisationIn) for exception in exceptions for leaf in leaves(exception)
    ):
        raise InvalidInput(
            "it names no list", field="except", remedy='add {"organisation": {"in": "annex:<name>"}}'
        )


def read_annexes(directive: Directive, files: Mapping[str, bytes]) -> dict[str, tuple[AnnexLine, ...]]:
    """The lines of every annex by its name. Raises InvalidInput when one is missing, differs or was not asked for."""
    for name in files:
        if all(annex.name != name for annex in directive.annexes):
            raise InvalidInput(
                f"the directive has no annex {name[:60]!r}", field="annexes", remedy="leave the file out"
            )
    lines: dict[str, tuple[AnnexLine, ...]] = {}
    for annex in directive.annexes:
        if annex.name not in files:
            raise InvalidInput(
                f"the file of annex {annex.name!r} is missing",
                field=f"annexes.{annex.name}",
                remedy=f"send the file whose SHA-256 is {annex.sha256}",
            )
        lines[annex.name] = read_annex(
            files[annex.name], annex.sha256, name=annex.name, media_type=annex.media_type
        )
    return lines


class Amended(msgspec.Struct, frozen=True):
    """What an amendment needs to know of a directive that it may mean."""

    id: DirectiveId
    authority: str
    number: str
    version: int
    kind: DirectiveKind
    variants: frozenset[VariantId]
    rescinded_from: int | None


def resolve_amended(references: Iterable[str], candidates: Iterable[Amended]) -> tuple[Amended, ...]:
    """The directives that `amends` means: by full id, by `number/version`, or by number (all its versions).

    candidates: the directives of the issuer and of those it succeeds. Raises InvalidInput for an unknown reference,
    Conflict for one that could mean two numbers.
    """
    known = tuple(candidates)
    found: dict[DirectiveId, Amended] = {}
    for place, reference in enumerate(references):
        meant = [one for one in known if reference in (one.id, f"{one.number}/{one.version}", one.number)]
        if not meant:
            raise InvalidInput(
                f"the issuer has no directive {reference[:100]!r}",
                field=f"amends[{place}]",
                remedy="give the number of one of its own directives, or its full id",
            )
        if len({(one.authority, one.number) for one in meant}) > 1:
            raise Conflict(
                f"{reference!r} could mean {' or '.join(sorted(one.id for one in meant))}",
                field=f"amends[{place}]",
                remedy="give the full id",
            )
        found.update((one.id, one) for one in meant)
    return tuple(found[name] for name in sorted(found))


def check_amendment(
    kind: DirectiveKind, effective_from: int, variants: Iterable[VariantId], amended: Iterable[Amended]
) -> None:
    """Check that an amendment names directives it can change and only their variants; other kinds pass.

    Raises Conflict, Forbidden.
    """
    if kind not in AMENDING:
        return
    reach: set[VariantId] = set()
    for one in amended:
        if kind is DirectiveKind.PARTIALLY_AUTHORISE and one.kind not in RESTRICTING:
            raise Conflict(f"{one.id} is a {one.kind}: there is nothing in it to narrow", field="amends")
        if one.kind is DirectiveKind.RESCIND:
            raise Conflict(
                f"{one.id} is itself a rescission; what it ended does not come back",
                field="amends",
                remedy="issue a new directive",
            )
        if one.rescinded_from is not None and one.rescinded_from <= effective_from:
            raise Conflict(f"{one.id} is rescinded by then already", field="amends")
        reach |= one.variants
    for variant in variants:
        if variant not in reach:
            raise Forbidden(
                f"none of the directives it names is about variant {variant!r}",
                field="variants",
                remedy="an amendment reaches only what it amends",
            )
