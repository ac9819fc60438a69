"""Errors that carry facts and a remedy. HTTP statuses are given elsewhere (`web.problems`)."""

from __future__ import annotations


class SafeconductError(Exception):
    """Base of every error that is meant to be shown to a person.

    message: one sentence that says what is wrong.
    field: the input that is wrong (a JSON path such as `applies_to.all[0]`, an option, a header), or "".
    remedy: what the reader can do about it, or "".
    """

    kind = "error"

    def __init__(self, message: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.remedy = remedy

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        then = f" ({self.remedy})" if self.remedy else ""
        return f"{where}{self.message}{then}"


class InvalidInput(SafeconductError):
    """The input is malformed or contradicts itself; nothing was changed."""

    kind = "invalid_input"


class NotFound(SafeconductError):
    """The named thing does not exist, or the caller may not know that it does."""

    kind = "not_found"


class Conflict(SafeconductError):
    """The input is well-formed but the state does not admit it (a number used twice, a wrong transition)."""

    kind = "conflict"


class Forbidden(SafeconductError):
    """The caller is known and may not do this."""

    kind = "forbidden"


class Unauthenticated(SafeconductError):
    """The caller did not prove who they are."""

    kind = "unauthenticated"


class VerificationFailed(SafeconductError):
    """A signed object did not verify. `step` names the step of the specification that failed.

    step: for a passport one of `structure header signature times disclosures key_binding status`.
    code: the denial code a decision reports for this failure (a value of `vocabulary.Code`).
    """

    kind = "verification_failed"

    def __init__(
        self,
        message: str,
        *,
        step: str,
        code: str = "PASSPORT_INVALID",
        field: str = "",
        remedy: str = "",
    ) -> None:
        super().__init__(message, field=field, remedy=remedy)
        self.step = step
        self.code = code

    def __str__(self) -> str:
        return f"[{self.step}] {super().__str__()}"


class LogUnavailable(SafeconductError):
    """The log cannot write any more (failed fsync, full disk, second writer). Nothing may be allowed from now on."""

    kind = "log_unavailable"


class LogCorrupt(SafeconductError):
    """Stored bytes contradict the tree. `field` names the file and, where known, the entry."""

    kind = "log_corrupt"


class UnsafeConfiguration(SafeconductError):
    """The profile refuses to start or to do this (a development key in production, a simulated clock ...)."""

    kind = "unsafe_configuration"


class KeyUnavailable(UnsafeConfiguration):
    """A key that is kept elsewhere cannot be reached, or what is there does not sign with it."""

    kind = "key_unavailable"
