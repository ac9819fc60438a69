"""Synthetic states that issue synthetic passports: authorities, signers, security objects, with every algorithm in use.

Utopia does not exist; neither does anybody whose passport is made here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from functools import cache

from asn1crypto import algos, cms, core, keys, x509
from asn1crypto import crl as asn1_crl
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from safeconduct.identity.documents.csca import MASTER_LIST_OID, _MasterList
from safeconduct.identity.documents.curves import CURVES
from safeconduct.identity.documents.epassport import SECURITY_OBJECT_OID, _SecurityObject
from safeconduct.identity.documents.mrz import check_digit

HASHES = {
    "sha1": hashes.SHA1, "sha224": hashes.SHA224, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512
}  # fmt: skip
CURVE_CLASSES = {
    "prime192v1": ec.SECP192R1,
    "secp224r1": ec.SECP224R1,
    "prime256v1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
    "brainpoolP256r1": ec.BrainpoolP256R1,
    "brainpoolP384r1": ec.BrainpoolP384R1,
    "brainpoolP512r1": ec.BrainpoolP512R1,
}
YEAR = 365 * 86_400
HASH_OIDS = {
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}


@cache
def private_key(kind, number=0):
    """kind: `rsa2048`, `rsa1024` ... or a curve's name. One key per (kind, number), kept: making RSA keys is slow."""
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ec.generate_private_key(CURVE_CLASSES[kind]())


def explicit(kind, **changes):
    """Curve parameters spelled out. changes: to be wrong on purpose; compressed=True writes the generator short."""
    curve = next(each for each in CURVES if each.name == kind)
    size = (curve.p.bit_length() + 7) // 8
    x, y = changes.get("x", curve.x), changes.get("y", curve.y)
    base = b"\x04" + x.to_bytes(size, "big") + y.to_bytes(size, "big")
    if changes.get("compressed"):
        base = bytes([2 + (y & 1)]) + x.to_bytes(size, "big")
    return keys.SpecifiedECDomain(
        {
            "version": 1,
            "field_id": {"field_type": "prime_field", "parameters": core.Integer(changes.get("p", curve.p))},
            "curve": {
                "a": changes.get("a", curve.a).to_bytes(size, "big"),
                "b": changes.get("b", curve.b).to_bytes(size, "big"),
            },
            "base": keys.ECPoint(contents=base),
            "order": changes.get("n", curve.n),
            "cofactor": changes.get("h", curve.h),
        }
    )


def key_info(key, parameters=None):
    """SubjectPublicKeyInfo, with curve parameters spelled out when given."""
    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    info = keys.PublicKeyInfo.load(der)
    if parameters is not None:
        info["algorithm"]["parameters"] = keys.ECDomainParameters(name="specified", value=parameters)
    return info


def algorithm_of(key, hash_name, pss=False):
    """The signature algorithm identifier."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return algos.SignedDigestAlgorithm({"algorithm": f"{hash_name}_ecdsa"})
    if not pss:
        return algos.SignedDigestAlgorithm({"algorithm": f"{hash_name}_rsa", "parameters": core.Null()})
    return algos.SignedDigestAlgorithm(
        {
            "algorithm": "rsassa_pss",
            "parameters": {
                "hash_algorithm": {"algorithm": hash_name},
                "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": hash_name}},
                "salt_length": HASHES[hash_name]().digest_size,
                "trailer_field": 1,
            },
        }
    )


def sign(key, data, hash_name, pss=False):
    hash_ = HASHES[hash_name]()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(hash_))
    scheme = padding.PSS(padding.MGF1(HASHES[hash_name]()), hash_.digest_size) if pss else padding.PKCS1v15()
    return key.sign(data, scheme, hash_)


def moment(seconds):
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC)


def certificate(
    name,
    key,
    *,
    issuer=None,
    issuer_key=None,
    country="UT",
    issuer_country=None,
    start=0,
    end=20 * YEAR,
    serial=1,
    authority=False,
    hash_name="sha256",
    pss=False,
    parameters=None,
    issuer_parameters=None,
):
    """One certificate (DER), self-signed without an issuer."""
    signer = issuer_key or key
    subject = x509.Name.build({"country_name": country, "common_name": name})
    above = (
        x509.Name.build({"country_name": issuer_country or country, "common_name": issuer})
        if issuer
        else subject
    )
    info = key_info(key, parameters)
    above_info = key_info(signer, issuer_parameters if issuer_key is not None else parameters)
    algorithm = algorithm_of(signer, hash_name, pss)
    body = x509.TbsCertificate(
        {
            "version": "v3",
            "serial_number": serial,
            "signature": algorithm,
            "issuer": above,
            "validity": {
                "not_before": x509.Time(name="general_time", value=core.GeneralizedTime(moment(start))),
                "not_after": x509.Time(name="general_time", value=core.GeneralizedTime(moment(end))),
            },
            "subject": subject,
            "subject_public_key_info": info,
            "extensions": [
                {"extn_id": "basic_constraints", "critical": True, "extn_value": {"ca": authority}},
                {"extn_id": "key_identifier", "extn_value": core.OctetString(info.sha1)},
                {
                    "extn_id": "authority_key_identifier",
                    "extn_value": x509.AuthorityKeyIdentifier({"key_identifier": above_info.sha1}),
                },
            ],
        }
    )
    return x509.Certificate(
        {
            "tbs_certificate": body,
            "signature_algorithm": algorithm,
            "signature_value": sign(signer, body.dump(), hash_name, pss),
        }
    ).dump()


def tlv(tag, value):
    head = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    if len(value) < 0x80:
        return head + bytes([len(value)]) + value
    size = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    return head + bytes([0x80 | len(size)]) + size + value


def zone_td3(
    *, issuer="UTO", nationality="UTO", number="L898902C3", names="ERIKSSON<<ANNA<MARIA", expires="320415"
):
    """88 characters with right digits."""
    first = number.ljust(9, "<") + check_digit(number.ljust(9, "<"))
    birth = "740812" + check_digit("740812")
    rest = expires + check_digit(expires) + "<" * 14 + "0"
    head = f"P<{issuer.ljust(3, '<')}{names}".ljust(44, "<")[:44]
    return head + first + nationality.ljust(3, "<") + birth + "F" + rest + check_digit(first + birth + rest)


def data_group_1(**facts):
    return tlv(0x61, tlv(0x5F1F, zone_td3(**facts).encode()))


def signed_data(
    content, oid, signer_der, key, *, hash_name="sha256", pss=False, signing_time=None, others=(), damage=""
):
    """CMS SignedData (DER). damage: `digest` or `signature`."""
    digest = hashlib.new(hash_name, content).digest()
    if damage == "digest":
        digest = bytes([digest[0] ^ 1]) + digest[1:]
    attributes = [
        {"type": "content_type", "values": [cms.ContentType(oid)]},
        {"type": "message_digest", "values": [digest]},
    ]
    if signing_time is not None:
        attributes.append(
            {
                "type": "signing_time",
                "values": [
                    cms.Time(name="generalized_time", value=core.GeneralizedTime(moment(signing_time)))
                ],
            }
        )
    attributes = cms.CMSAttributes(attributes)
    signature = sign(key, attributes.dump(), hash_name, pss)
    if damage == "signature":
        signature = sign(key, b"other", hash_name, pss)
    certificate_ = x509.Certificate.load(signer_der)
    return cms.ContentInfo(
        {
            "content_type": "signed_data",
            "content": cms.SignedData(
                {
                    "version": "v3",
                    "digest_algorithms": [{"algorithm": hash_name}],
                    "encap_content_info": {
                        "content_type": oid,
                        "content": core.ParsableOctetString(content),
                    },
                    "certificates": [
                        cms.CertificateChoices(name="certificate", value=x509.Certificate.load(each))
                        for each in (signer_der, *others)
                    ],
                    "signer_infos": [
                        {
                            "version": "v1",
                            "sid": cms.SignerIdentifier(
                                name="issuer_and_serial_number",
                                value={
                                    "issuer": certificate_.issuer,
                                    "serial_number": certificate_.serial_number,
                                },
                            ),
                            "digest_algorithm": {"algorithm": hash_name},
                            "signed_attrs": attributes,
                            "signature_algorithm": algorithm_of(key, hash_name, pss),
                            "signature": signature,
                        }
                    ],
                }
            ),
        }
    ).dump()


def security_object(groups, signer_der, key, *, hash_name="sha256", group_hash=None, wrap=True, **more):
    """EF.SOD over data groups."""
    group_hash = group_hash or hash_name
    content = _SecurityObject(
        {
            "version": 0,
            "hash_algorithm": {"algorithm": HASH_OIDS[group_hash], "parameters": core.Any(core.Null())},
            "hashes": [
                {"number": number, "value": hashlib.new(group_hash, data).digest()}
                for number, data in sorted(groups.items())
            ],
        }
    ).dump()
    data = signed_data(content, SECURITY_OBJECT_OID, signer_der, key, hash_name=hash_name, **more)
    return tlv(0x77, data) if wrap else data


def master_list(ders, signer_der, key, **more):
    content = _MasterList({"version": 0, "cert_list": [x509.Certificate.load(der) for der in ders]}).dump()
    return signed_data(content, MASTER_LIST_OID, signer_der, key, **more)


def revocation_list(
    name, key, serials, *, country="UT", this_update=0, next_update=20 * YEAR, hash_name="sha256"
):
    algorithm = algorithm_of(key, hash_name)
    revoked = [
        {
            "user_certificate": serial,
            "revocation_date": x509.Time(
                name="general_time", value=core.GeneralizedTime(moment(this_update))
            ),
        }
        for serial in serials
    ]
    fields = {
        "version": "v2",
        "signature": algorithm,
        "issuer": x509.Name.build({"country_name": country, "common_name": name}),
        "this_update": x509.Time(name="general_time", value=core.GeneralizedTime(moment(this_update))),
        "next_update": x509.Time(name="general_time", value=core.GeneralizedTime(moment(next_update))),
    }
    if revoked:
        fields["revoked_certificates"] = revoked
    body = asn1_crl.TbsCertList(fields)
    return asn1_crl.CertificateList(
        {
            "tbs_cert_list": body,
            "signature_algorithm": algorithm,
            "signature": sign(key, body.dump(), hash_name),
        }
    ).dump()


class State:
    """One state: an authority and a signer of documents."""

    def __init__(
        self,
        *,
        kind="prime256v1",
        signer_kind=None,
        hash_name="sha256",
        pss=False,
        country="UT",
        parameters=None,
        signer_parameters=None,
        start=0,
        end=20 * YEAR,
        signer_start=YEAR,
        signer_end=15 * YEAR,
        signer_country=None,
        name="Authority",
    ):
        self.hash_name, self.pss, self.name, self.country = hash_name, pss, name, country
        self.key = private_key(kind, 1)
        self.signer_key = private_key(signer_kind or kind, 2)
        self.authority = certificate(
            name, self.key, country=country, authority=True, hash_name=hash_name, pss=pss,
            parameters=parameters, start=start, end=end,
        )  # fmt: skip
        self.signer = certificate(
            "Signer", self.signer_key, issuer=name, issuer_key=self.key, country=signer_country or country,
            issuer_country=country, serial=77, hash_name=hash_name, pss=pss, parameters=signer_parameters,
            issuer_parameters=parameters, start=signer_start, end=signer_end,
        )  # fmt: skip

    def issue(self, groups=None, **more):
        """Data groups and their security object."""
        groups = groups or {1: data_group_1()}
        more = {"hash_name": self.hash_name, "pss": self.pss, "signing_time": 2 * YEAR, **more}
        return security_object(groups, self.signer, self.signer_key, **more), groups
