"""Keys that are kept outside the key directory: PKCS#11 tokens and cloud key services. Implements `storage`'s `Custody`."""

from safeconduct.custody.opening import KeyCustody

__all__ = ["KeyCustody"]
