"""What a caller wrote, as it may stand in an entry or an error: without anything that looks like a credential.

People paste keys where they do not belong: as a model's name, into a path, as a member's name. Entries are kept for years and
shown to auditors, errors are logged by clients, so such text is withheld. The service's own log redacts again by itself.
"""

from __future__ import annotations

import re

WITHHELD = "(withheld)"

_CREDENTIAL = re.compile(
    r"""
    (?:
        sc_[A-Za-z0-9]+_            # our gateway keys
      | (?:sk|pk|rk)-[A-Za-z0-9_-]{8}
      | (?:AKIA|ASIA)[0-9A-Z]{12}
      | eyJ[A-Za-z0-9_-]{6}         # a JWS: `{"` in base64url
      | WyJ[A-Za-z0-9_-]{8}         # a disclosure: `["`
      | -----BEGIN
      | [A-Za-z0-9+_=-]{40}         # longer than any name, long enough for a key
    )
    [^/\s?&"']*
    """,
    re.VERBOSE,
)


def quotable(text: str) -> str:
    """The text, with `(withheld)` in the place of whatever looks like a credential."""
    return _CREDENTIAL.sub(WITHHELD, text)
