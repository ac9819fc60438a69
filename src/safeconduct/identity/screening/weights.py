"""The scorer's weights: data with a version and a digest, so that a result says by which it was scored and can be run again."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Final

import msgspec

from safeconduct.identity.screening.features import ORGANISATION_FEATURES, PERSON_FEATURES
from safeconduct.kernel.errors import InvalidInput

# Changes whenever code changes what a pair of names is found to be; weights have their own digest.
SCORER: Final = "safeconduct-names-1"


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """bias: what a pair has before anything speaks against it, in log-odds. weights: of each feature, 0 or more."""

    bias: float
    weights: dict[str, float]


class Bands(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Scores, 0 to 1, from which on a hit is reviewed and blocks.

    review_non_latin: instead of `review` for names in another script, since romanisations agree less.
    """

    review: float
    review_non_latin: float
    block: float


class Shifts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What facts beside the name add to a score, never across the border of its band. A list's dates are wrong by a day or a year
    often, so no date and no country rules anybody out.
    """

    birth_date: float
    birth_year: float
    birth_contradicts: float
    country: float
    country_contradicts: float
    identifier: float


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a score depends on beside the two names.

    candidates: rows that the index proposes per reading of a name. compared: how many of them are scored.
    """

    version: str
    person: Terms
    organisation: Terms
    bands: Bands
    shifts: Shifts
    candidates: int
    compared: int

    def digest(self) -> str:
        """SHA-256 (hex) of the weights in one order, with the scorer they are for."""
        return hashlib.sha256(SCORER.encode() + b"\n" + msgspec.json.encode(self, order="sorted")).hexdigest()


def read_weights(raw: bytes) -> Weights:
    """Weights from JSON. Errors: InvalidInput for unknown or missing features, and bands out of order."""
    try:
        weights = msgspec.json.decode(raw, type=Weights)
    except msgspec.MsgspecError as error:
        raise InvalidInput(str(error), field="weights", remedy="start from the shipped weights") from None
    for field, terms, known in (
        ("person", weights.person, PERSON_FEATURES),
        ("organisation", weights.organisation, ORGANISATION_FEATURES),
    ):
        if set(terms.weights) != set(known):
            odd = ", ".join(sorted(set(terms.weights) ^ set(known)))
            raise InvalidInput(f"not this scorer's features: {odd}", field=f"weights.{field}")
        if any(not 0 <= weight <= 1_000 for weight in terms.weights.values()):
            raise InvalidInput("a weight is below 0 or above 1,000", field=f"weights.{field}")
    bands = weights.bands
    if not 0 < bands.review_non_latin <= bands.review < bands.block < 1:
        raise InvalidInput(
            "bands are out of order",
            field="weights.bands",
            remedy="0 < review_non_latin <= review < block < 1",
        )
    if not 1 <= weights.compared <= weights.candidates <= 1_000:
        raise InvalidInput("must be 1 to 1,000, compared at most candidates", field="weights.candidates")
    return weights


@cache
def shipped() -> Weights:
    """The weights this version ships, chosen by `bench/fit_screening.py`."""
    return read_weights(resources.files(__package__).joinpath("weights.json").read_bytes())
