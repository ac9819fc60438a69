"""Identity assurance computed from evidence: the tables of SP 800-63A-4 4.1-4.3 as data, and the reading of them.

The result names each sentence that was met or missed, with its clause, so that a person can see what to bring next.
Evidence under dispute (the same document shown for somebody else) is left out before this is called.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import msgspec

from safeconduct.identity.authenticator import Authenticator, Enrolment
from safeconduct.identity.evidence import (
    STRENGTH_ORDER,
    AttributeSource,
    Evidence,
    Outcome,
    Proofing,
    ProofingType,
    Strength,
    Validation,
    ValidationMethod,
    Verification,
    VerificationMethod,
)

# Our presentations go to one audience, with a nonce, and are bound to the holder's key: injection is excluded, which is
# what SP 800-63C-4 asks for at FAL2. FAL3 would need an authenticator bound at the relying party as well.
FAL = 2

_M = VerificationMethod
_ANY_STRENGTH_IAL1 = frozenset(
    {
        _M.CODE_DIGITAL,
        _M.CODE_POSTAL,
        _M.MICRO_TRANSACTION,
        _M.FEDERATION_AAL2,
        _M.FEDERATION_AAL3,
        _M.FACIAL_AUTOMATED,
        _M.FACIAL_VISUAL,
        _M.BIOMETRIC,
    }
)
_IAL2_STRONG = frozenset(
    {
        _M.CODE_POSTAL,
        _M.FACIAL_VISUAL,
        _M.FACIAL_AUTOMATED,
        _M.BIOMETRIC,
        _M.FEDERATION_AAL2,
        _M.FEDERATION_AAL3,
    }
)

# Which method shows ownership of evidence of which strength: 4.1.6, 4.2.6.1-3, 4.3.6.
ACCEPTED_METHODS: dict[int, dict[Strength, frozenset[VerificationMethod]]] = {
    1: dict.fromkeys(Strength, _ANY_STRENGTH_IAL1),
    2: {
        Strength.FAIR: frozenset(
            {
                _M.CODE_DIGITAL,
                _M.CODE_POSTAL,
                _M.MICRO_TRANSACTION,
                _M.FEDERATION_AAL2,
                _M.FEDERATION_AAL3,
                _M.FACIAL_AUTOMATED,
                _M.FACIAL_VISUAL,
            }
        ),
        Strength.STRONG: _IAL2_STRONG,
        Strength.SUPERIOR: _IAL2_STRONG - {_M.FEDERATION_AAL2},
    },
    3: dict.fromkeys(
        Strength, frozenset({_M.DEVICE_PORTRAIT, _M.FACIAL_AUTOMATED, _M.FACIAL_VISUAL, _M.BIOMETRIC})
    ),
}


class Requirement(msgspec.Struct, frozen=True):
    """One sentence that was asked, where it stands, and whether it is met. subject: `IAL2`, `C3` ..."""

    subject: str
    clause: str
    sentence: str
    met: bool


class IdentityAssurance(msgspec.Struct, frozen=True):
    """ial: 0 when not even IAL1 is reached. expires: the earliest expiry of the evidence it rests on, None for never."""

    ial: int
    expires: int | None
    requirements: tuple[Requirement, ...]


class _Usable(msgspec.Struct, frozen=True):
    """A piece of evidence that is in date and was found genuine, at the strength it counts for."""

    evidence: Evidence
    strength: Strength
    attributes: bool
    methods: frozenset[VerificationMethod]


def _usable(
    evidence: Evidence, validations: Iterable[Validation], verifications: Iterable[Verification], now: int
) -> _Usable | None:
    if evidence.expires is not None and evidence.expires <= now:
        return None
    mine = [check for check in validations if check.evidence == evidence.id]
    passed = [check for check in mine if check.outcome is Outcome.PASS]
    # A document that failed any check is not evidence, whatever else it passed.
    if not passed or len(passed) != len(mine):
        return None
    cryptographic = any(check.method is ValidationMethod.CRYPTOGRAPHIC for check in passed)
    # 4.2.4: SUPERIOR evidence that was not validated cryptographically counts as STRONG.
    strength = (
        Strength.STRONG if evidence.strength is Strength.SUPERIOR and not cryptographic else evidence.strength
    )
    sources = {check.attributes for check in passed}
    attributes = bool(sources & {AttributeSource.CREDIBLE, AttributeSource.AUTHORITATIVE}) or (
        AttributeSource.SIGNED in sources and strength is Strength.SUPERIOR
    )
    shown = [check for check in verifications if check.evidence == evidence.id]
    failed = {check.method for check in shown if check.outcome is Outcome.FAIL}
    return _Usable(
        evidence=evidence,
        strength=strength,
        attributes=attributes,
        methods=frozenset(check.method for check in shown if check.outcome is Outcome.PASS) - failed,
    )


def _owned(piece: _Usable, ial: int) -> bool:
    return bool(piece.methods & ACCEPTED_METHODS[ial][piece.strength])


def _sets(pieces: list[_Usable], ial: int) -> list[tuple[_Usable, ...]]:
    """The combinations that satisfy evidence collection: 4.1.2, 4.2.2, 4.3.2."""
    if ial == 1:
        return [(piece,) for piece in pieces]
    singles: list[tuple[_Usable, ...]] = [(p,) for p in pieces if p.strength is Strength.SUPERIOR]
    pairs: list[tuple[_Usable, ...]] = [
        pair
        for pair in combinations(pieces, 2)
        if max(STRENGTH_ORDER[piece.strength] for piece in pair) >= STRENGTH_ORDER[Strength.STRONG]
    ]
    return singles + pairs


def _set_owned(chosen: tuple[_Usable, ...], ial: int) -> bool:
    if ial == 2:
        return all(_owned(piece, ial) for piece in chosen)  # 4.2.6: all of it
    if ial == 3:  # 4.3.6: the strongest piece
        strongest = max(STRENGTH_ORDER[piece.strength] for piece in chosen)
        return any(_owned(piece, ial) for piece in chosen if STRENGTH_ORDER[piece.strength] == strongest)
    return _owned(chosen[0], ial)


def _expiry(chosen: tuple[_Usable, ...]) -> float:
    ends = [piece.evidence.expires for piece in chosen]
    return min((float(end) for end in ends if end is not None), default=float("inf"))


_COLLECTION = {
    1: ("SP 800-63A-4 4.1.2", "one piece of FAIR or better evidence, in date and validated (4.1.4)"),
    2: (
        "SP 800-63A-4 4.2.2",
        "one FAIR and one STRONG, or one SUPERIOR piece, in date and validated (4.2.4; SUPERIOR cryptographically)",
    ),
    3: (
        "SP 800-63A-4 4.3.2",
        "one STRONG and one FAIR or better, or one SUPERIOR piece, in date and validated (4.3.4)",
    ),
}
_ATTRIBUTES = {
    1: "SP 800-63A-4 4.1.5",
    2: "SP 800-63A-4 4.2.5",
    3: "SP 800-63A-4 4.3.5",
}
_OWNERSHIP = {
    1: ("SP 800-63A-4 4.1.6", "ownership of one piece verified by an accepted method"),
    2: (
        "SP 800-63A-4 4.2.6",
        "ownership of every piece relied on verified by a method accepted for its strength",
    ),
    3: (
        "SP 800-63A-4 4.3.6",
        "ownership of the strongest piece verified by portrait or biometric comparison",
    ),
}


def _requirements(
    ial: int,
    pieces: list[_Usable],
    proofing: Proofing | None,
    authenticators: tuple[Authenticator, ...],
) -> tuple[list[Requirement], tuple[_Usable, ...]]:
    """Every sentence of one level, and the evidence it would rest on (empty when collection is not met)."""
    name = f"IAL{ial}"
    collected = _sets(pieces, ial)
    # Sentences are judged on one and the same set of evidence: the one that meets most of them, then lasts longest.
    ranked = sorted(
        collected,
        key=lambda chosen: (
            _set_owned(chosen, ial) and any(piece.attributes for piece in chosen),
            _set_owned(chosen, ial),
            _expiry(chosen),
        ),
    )
    best = ranked[-1] if ranked else ()
    clause, sentence = _COLLECTION[ial]
    asked = [Requirement(name, clause, sentence, bool(best))]
    asked.append(
        Requirement(
            name,
            _ATTRIBUTES[ial],
            "core attributes confirmed by an authoritative or credible source, or by the signature on SUPERIOR evidence",
            any(piece.attributes for piece in best),
        )
    )
    clause, sentence = _OWNERSHIP[ial]
    asked.append(Requirement(name, clause, sentence, bool(best) and _set_owned(best, ial)))
    if ial == 3:
        asked.append(
            Requirement(
                name,
                "SP 800-63A-4 4.3.1",
                "proofing was onsite and attended",
                proofing is not None and proofing.type is ProofingType.ONSITE_ATTENDED,
            )
        )
        asked.append(
            Requirement(
                name,
                "SP 800-63A-4 4.3.3",
                "a biometric sample was collected and retained",
                proofing is not None and proofing.biometric_sample,
            )
        )
        asked.append(
            Requirement(
                name,
                "SP 800-63A-4 4.3 (initial authenticator binding)",
                "an authenticator was enrolled onsite",
                any(record.enrolled is Enrolment.ONSITE for record in authenticators),
            )
        )
    return asked, best


def identity_assurance(
    evidence: tuple[Evidence, ...],
    validations: tuple[Validation, ...],
    verifications: tuple[Verification, ...],
    proofing: Proofing | None,
    authenticators: tuple[Authenticator, ...],
    *,
    now: int,
) -> IdentityAssurance:
    """The highest IAL all of whose own sentences are met.

    Each level of SP 800-63A-4 4 is complete in itself: IAL3 accepts methods that IAL2 does not list, so that missing a
    sentence of IAL2 does not undo an IAL3. now: seconds since the epoch.
    """
    pieces = [
        piece
        for piece in (_usable(item, validations, verifications, now) for item in evidence)
        if piece is not None
    ]
    reached = 0
    expires: int | None = None
    sentences: list[Requirement] = []
    for ial in (1, 2, 3):
        asked, best = _requirements(ial, pieces, proofing, authenticators)
        sentences += asked
        if all(requirement.met for requirement in asked):
            reached = ial
            end = _expiry(best)
            expires = None if end == float("inf") else int(end)
    return IdentityAssurance(ial=reached, expires=expires, requirements=tuple(sentences))
