"""Credentials that nobody gave, of every kind that a caller can send: endless and repeatable."""

import base64
import hashlib
import json


def _part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def bad_credential(number):
    """One that does not verify: what it looks like changes with its number."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    match number % 4:
        case 0:
            return digest
        case 1:
            return f"sc_dev_key_{digest[:16]}_{digest}"
        case 2:
            claims = {"iss": "https://issuer.example", "sub": digest, "exp": 4_000_000_000, "jti": digest}
            return f"{_part({'alg': 'ES256', 'typ': 'at+jwt', 'kid': digest})}.{_part(claims)}.{'A' * 86}"
        case _:
            return f"{_part({'alg': 'none'})}.{_part({})}.~{digest}~"
