"""The state of Utopia, for demonstrations: an authority, a signer of documents, and passports with genuine signatures of nobody's state.

Utopia (ICAO's code UTO) does not exist, and neither does anybody whose passport is made here. A production profile refuses its
documents. Owns the making of certificates, EF.SOD and DG1 with P-256 and SHA-256; reads none of them.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import secrets

from asn1crypto import algos, cms, core, keys, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from safeconduct.identity.documents.epassport import SECURITY_OBJECT_OID, _SecurityObject
from safeconduct.identity.documents.mrz import check_digit
from safeconduct.kernel.canonical import canonical_json

COUNTRY = "UT"
_YEAR = 365 * 86_400
_SHA256_OID = "2.16.840.1.101.3.4.2.1"
_LETTERS = "ABCDEFGHJKLMNPRTUVWXYZ0123456789"


def _moment(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


def _time(seconds: int) -> core.GeneralizedTime:
    return core.GeneralizedTime(_moment(seconds))


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _info(key: ec.EllipticCurvePrivateKey) -> keys.PublicKeyInfo:
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return keys.PublicKeyInfo.load(der)


def _tlv(tag: int, value: bytes) -> bytes:
    head = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    if len(value) < 0x80:
        return head + bytes([len(value)]) + value
    size = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return head + bytes([0x80 | len(size)]) + size + value


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    start: int,
    end: int,
    authority: bool,
) -> bytes:
    algorithm = algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"})
    body = x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": secrets.randbits(64),
            "signature": algorithm,
            "issuer": x509.Name.build({"country_name": COUNTRY, "common_name": issuer}),
            "validity": {
                "not_before": x509.Time(name="general_time", value=_time(start)),
                "not_after": x509.Time(name="general_time", value=_time(end)),
            },
            "subject": x509.Name.build({"country_name": COUNTRY, "common_name": name}),
            "subject_public_key_info": _info(key),
            "extensions": [
                {"extn_id": "basic_constraints", "critical": True, "extn_value": {"ca": authority}},
                {"extn_id": "key_identifier", "extn_value": core.OctetString(_info(key).sha1)},
                {
                    "extn_id": "authority_key_identifier",
                    "extn_value": x509.AuthorityKeyIdentifier({"key_identifier": _info(issuer_key).sha1}),
                },
            ],
        }
    )
    signed: bytes = x509.Certificate(
        {
            "tbs_certificate": body,
            "signature_algorithm": algorithm,
            "signature_value": _sign(issuer_key, body.dump()),
        }
    ).dump()
    return signed


class Utopia:
    """A new authority with a signer. authority: its certificate (DER), for the operator to import."""

    def __init__(self, *, now: int) -> None:
        self._now = now
        authority_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        name = f"Utopia specimen authority {secrets.token_hex(4)}"
        self.authority = _certificate(
            name,
            authority_key,
            issuer=name,
            issuer_key=authority_key,
            start=now - _YEAR,
            end=now + 15 * _YEAR,
            authority=True,
        )
        self._signer = _certificate(
            "Utopia specimen signer",
            self._key,
            issuer=name,
            issuer_key=authority_key,
            start=now - 86_400,
            end=now + 11 * _YEAR,
            authority=False,
        )

    def export(
        self,
        *,
        surname: str,
        given_names: str,
        birth: dt.date,
        number: str | None = None,
        nationality: str = "UTO",
        expires: dt.date | None = None,
    ) -> bytes:
        """What a phone's reader exports of a new passport: JSON with SOD, DG1 and a portrait that shows nobody."""
        chosen = number or "".join(secrets.choice(_LETTERS) for _ in range(9))
        ends = expires or _moment(self._now + 5 * _YEAR).date()
        zone = _zone((surname, given_names), birth, number=chosen, nationality=nationality, expires=ends)
        groups = {
            1: _tlv(0x61, _tlv(0x5F1F, zone.encode())),
            2: _tlv(0x75, _tlv(0x7F61, b"\x02\x01\x01 no portrait: nobody is shown")),
        }
        files = {
            "sod": self._security_object(groups),
            **{f"dg{number}": data for number, data in groups.items()},
        }
        return canonical_json({name: base64.b64encode(data).decode() for name, data in files.items()})

    def _security_object(self, groups: dict[int, bytes]) -> bytes:
        content = _SecurityObject(
            {
                "version": 0,
                "hash_algorithm": {"algorithm": _SHA256_OID, "parameters": core.Any(core.Null())},
                "hashes": [
                    {"number": number, "value": hashlib.sha256(data).digest()}
                    for number, data in sorted(groups.items())
                ],
            }
        ).dump()
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": [cms.ContentType(SECURITY_OBJECT_OID)]},
                {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
                {
                    "type": "signing_time",
                    "values": [cms.Time(name="generalized_time", value=_time(self._now - 3_600))],
                },
            ]
        )
        signer = x509.Certificate.load(self._signer)
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [{"algorithm": "sha256"}],
                "encap_content_info": {
                    "content_type": SECURITY_OBJECT_OID,
                    "content": core.ParsableOctetString(content),
                },
                "certificates": [cms.CertificateChoices(name="certificate", value=signer)],
                "signer_infos": [
                    {
                        "version": "v1",
                        "sid": cms.SignerIdentifier(
                            name="issuer_and_serial_number",
                            value={"issuer": signer.issuer, "serial_number": signer.serial_number},
                        ),
                        "digest_algorithm": {"algorithm": "sha256"},
                        "signed_attrs": attributes,
                        "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
                        "signature": _sign(self._key, attributes.dump()),
                    }
                ],
            }
        )
        return _tlv(0x77, cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())


def _zone(names: tuple[str, str], birth: dt.date, *, number: str, nationality: str, expires: dt.date) -> str:
    """The two lines of a TD3 zone with their digits (ICAO 9303-4 4.2.2)."""

    def date(day: dt.date) -> str:
        text = day.strftime("%y%m%d")
        return text + check_digit(text)

    written = "<<".join(names).upper().replace(" ", "<")
    first = number.ljust(9, "<")[:9]
    first += check_digit(first)
    rest = f"{date(expires)}{'<' * 14}0"
    born = date(birth)
    head = f"P<UTO{written}".ljust(44, "<")[:44]
    return f"{head}{first}{nationality.ljust(3, '<')}{born}X{rest}{check_digit(first + born + rest)}"
