"""Which subject showed which document, key or reference before: keyed digests in the vault.

Owns that the vault's readable names say nothing: a document number is short enough to be guessed, so its name here is an HMAC
under a random key that lies encrypted in the vault itself. An erased subject's entries can no longer be read and are free.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac

from safeconduct.app.ports import Instance, StoredDocument
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.ids import SubjectId

_KIND = "evidence-index"
_SECRET = ("instance-secret", "evidence-index")
# The data key of what belongs to the instance and not to a subject.
INSTANCE_SUBJECT = "instance"


class EvidenceIndex:
    """Lookup by what was shown. Not safe for two threads at once: the importing use case holds a lock."""

    def __init__(self, instance: Instance) -> None:
        self._vault = instance.vault
        key = self._vault.get(*_SECRET)
        if key is None:
            made = StoredDocument(*_SECRET, INSTANCE_SUBJECT, instance.random(32))
            # Of two who make one at once, the first one's is it: under two keys nothing would be found again.
            with contextlib.suppress(Conflict):
                self._vault.exchange([made], expect={_SECRET: None})
            key = self._vault.get(*_SECRET)
            assert key is not None
        self._key = key

    def _name(self, what: str, parts: tuple[str, ...]) -> str:
        text = b"\x00".join(part.encode() for part in (what, *parts))
        return f"{what}:{hmac.new(self._key, text, hashlib.sha256).hexdigest()}"

    def holder(self, what: str, *parts: str) -> SubjectId | None:
        """Who showed it, or None."""
        found = self._vault.get(_KIND, self._name(what, parts))
        return None if found is None else SubjectId(found.decode())

    def binding(
        self, subject: SubjectId, what: str, *parts: str
    ) -> tuple[StoredDocument, tuple[tuple[str, str], bytes | None]]:
        """The write that binds it to the subject, whoever held it, and what has to be there still for it to be right."""
        name = self._name(what, parts)
        document = StoredDocument(_KIND, name, subject, subject.encode())
        return document, ((_KIND, name), self._vault.get(_KIND, name))

    def bind(self, subject: SubjectId, what: str, *parts: str) -> None:
        """Remember that the subject showed it; a binding that is there is left alone."""
        name = self._name(what, parts)
        if self._vault.get(_KIND, name) is None:
            self._vault.put(_KIND, name, subject, subject.encode())
