"""From a reference to the key behind it: which adapter, and what it needs to reach the key.

Owns the choice and the messages that name what is missing. Adapters are loaded when one is asked for, so that an instance
whose keys are files needs none of their libraries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.signing import KeyWrapper, Secret, Signer

SCHEMES = ("pkcs11", "awskms", "azurekms", "gcpkms")


class _Adapter(Protocol):
    def signer(self, reference: str, alg: str) -> Signer: ...

    def wrapper(self, reference: str) -> KeyWrapper: ...


class KeyCustody:
    """Opens keys by reference. One per process: it keeps sessions and access tokens.

    pkcs11_module: the token's library, when references do not name it. pkcs11_pin, pkcs11_pin_file: one of the two.
    kms_credentials: JSON file of mode 0600 with a member for each cloud, see `cloud.read_credentials`.
    """

    def __init__(
        self,
        *,
        pkcs11_module: Path | None = None,
        pkcs11_pin: Secret | None = None,
        pkcs11_pin_file: Path | None = None,
        kms_credentials: Path | None = None,
    ) -> None:
        self._pkcs11_module = pkcs11_module
        self._pkcs11_pin = pkcs11_pin
        self._pkcs11_pin_file = pkcs11_pin_file
        self._kms_credentials = kms_credentials
        self._adapters: dict[str, _Adapter] = {}

    def __repr__(self) -> str:
        return "<KeyCustody>"

    def signer(self, reference: str, alg: str) -> Signer:
        """The signing key behind a reference; `alg` is what it has to sign with. Raises InvalidInput, UnsafeConfiguration."""
        return self._adapter(reference).signer(reference, alg)

    def wrapper(self, reference: str) -> KeyWrapper:
        """The wrapping key behind a reference. Raises InvalidInput, UnsafeConfiguration."""
        return self._adapter(reference).wrapper(reference)

    def _adapter(self, reference: str) -> _Adapter:
        scheme = reference.partition(":")[0]
        if scheme not in SCHEMES:
            raise InvalidInput(
                f"{scheme[:20]!r} is no place where keys are kept",
                field="key",
                remedy=f"one of {', '.join(f'{one}:' for one in SCHEMES)}",
            )
        known = self._adapters.get(scheme)
        if known is None:
            known = self._adapters[scheme] = self._load(scheme)
        return known

    def _load(self, scheme: str) -> _Adapter:
        if scheme == "pkcs11":
            from safeconduct.custody.pkcs11_token import Pkcs11Keys  # noqa: PLC0415

            return Pkcs11Keys(self._pkcs11_module, self._pin)
        from safeconduct.custody.cloud import read_credentials  # noqa: PLC0415

        credentials = read_credentials(self._kms_credentials, scheme)
        if scheme == "awskms":
            from safeconduct.custody.aws import AwsKeys  # noqa: PLC0415

            return AwsKeys(credentials)
        if scheme == "azurekms":
            from safeconduct.custody.azure import AzureKeys  # noqa: PLC0415

            return AzureKeys(credentials)
        from safeconduct.custody.google import GoogleKeys  # noqa: PLC0415

        return GoogleKeys(credentials)

    def _pin(self) -> str:
        from safeconduct.custody.cloud import read_private_text  # noqa: PLC0415

        if self._pkcs11_pin is not None:
            return self._pkcs11_pin.reveal()
        if self._pkcs11_pin_file is not None:
            return read_private_text(self._pkcs11_pin_file).strip()
        raise UnsafeConfiguration(
            "the token's PIN is not given",
            field="pkcs11_pin_file",
            remedy="name a file of mode 0600 with SAFECONDUCT_PKCS11_PIN_FILE; a PIN is never an argument",
        )
