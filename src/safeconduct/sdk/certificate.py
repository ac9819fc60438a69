"""The holder's own client certificate: made over the passport's key when a client is built, never kept.

Owns the TLS context that presents it. The server's certificate is verified against the system's trust store, or `ca_file`.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.signing import FileSigner
from safeconduct.passport.certificate import CERTIFICATE_DAYS, make_certificate
from safeconduct.sdk.holder import Holder


def client_context(
    holder: Holder, *, now: float, ca_file: str | Path | None = None, days: int = CERTIFICATE_DAYS
) -> ssl.SSLContext:
    """A TLS context that presents a certificate over the holder's key. Raises InvalidInput when the key lies in no file."""
    signer = holder.signer
    if not isinstance(signer, FileSigner):
        raise InvalidInput(
            "the key does not lie in a file", field="key", remedy="use DPoP: leave certificate out"
        )
    pem = signer.to_pem()
    private = load_pem_private_key(pem, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise InvalidInput("the holder's key is not on P-256", field="key")
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python's ssl reads keys from files only. This one is its owner's alone and gone before the function returns.
    descriptor, name = tempfile.mkstemp(prefix="safeconduct-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(make_certificate(private.public_key(), now=now, days=days) + pem)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
    return context
