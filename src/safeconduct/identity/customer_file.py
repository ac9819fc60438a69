"""What is kept to identify a customer of computing services: values and their shape. What is missing is a pack's to say.

A member that is None or empty was not given. Owns shapes only: an address is text, a telephone number has digits, a network
address parses.
"""

from __future__ import annotations

import ipaddress
import re

import msgspec

from safeconduct.kernel.errors import InvalidInput

_MAX_TEXT = 500
_MAX_MANY = 50
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,253}")
_PHONE = re.compile(r"\+[0-9 ()./-]{5,30}")


class CustomerFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """natural_person: a person has no beneficial owners. nobody_behind: declares that there is no owner to name.

    payment_means: card, transfer ...; payment_source: from where. ip_addresses: addresses or networks it is used from.
    """

    natural_person: bool = False
    name: str | None = None
    address: str | None = None
    payment_means: str | None = None
    payment_source: str | None = None
    email: str | None = None
    phone: str | None = None
    ip_addresses: tuple[str, ...] = ()
    beneficial_owners: tuple[str, ...] = ()
    nobody_behind: bool = False


MEMBERS: tuple[str, ...] = CustomerFile.__struct_fields__


def check_customer_file(file: CustomerFile, field: str) -> CustomerFile:
    """Return a file whose members have their shape. Raises InvalidInput naming the member."""
    for name in ("name", "address", "payment_means", "payment_source", "email", "phone"):
        value = getattr(file, name)
        if value is not None and (not value.strip() or len(value) > _MAX_TEXT or not value.isprintable()):
            raise InvalidInput(f"not printable text of 1 to {_MAX_TEXT} characters", field=f"{field}.{name}")
    if file.email is not None and not _EMAIL.fullmatch(file.email):
        raise InvalidInput("not an e-mail address", field=f"{field}.email")
    if file.phone is not None and not _PHONE.fullmatch(file.phone):
        raise InvalidInput(
            "not a telephone number", field=f"{field}.phone", remedy="begin with + and the country's code"
        )
    for name in ("ip_addresses", "beneficial_owners"):
        if len(getattr(file, name)) > _MAX_MANY:
            raise InvalidInput(f"more than {_MAX_MANY}", field=f"{field}.{name}")
    for place, address in enumerate(file.ip_addresses):
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError:
            raise InvalidInput("not a network address", field=f"{field}.ip_addresses[{place}]") from None
    return file
