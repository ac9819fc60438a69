"""Use case: what a rule about customer identification misses in a customer's file. Lists; denies nothing."""

from __future__ import annotations

from safeconduct.identity.customer_file import CustomerFile
from safeconduct.policy.completeness import Completeness, missing, read_asked
from safeconduct.policy.packs import load_computations


def check_customer_file(file: CustomerFile) -> tuple[Completeness, ...]:
    """The result of every shipped computation pack about completeness, ordered by pack."""
    return tuple(
        Completeness(
            pack=metadata.pack,
            version=metadata.version,
            status=metadata.status,
            legal_source=metadata.legal_source,
            missing=missing(read_asked(metadata.parameters), file),
        )
        for metadata, _cases in load_computations().values()
    )
