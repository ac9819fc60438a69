"""Identifiers and addresses of the token endpoint, as issuer and clients both write them (RFC 8693 2.1, RFC 8628 3.4)."""

from __future__ import annotations

from typing import Final

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
PASSPORT_TOKEN_TYPE: Final = "urn:safeconduct:params:oauth:token-type:passport"  # noqa: S105 - an identifier
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - a path
DEVICE_PATH: Final = "/oauth/device_authorization"
