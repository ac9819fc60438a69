"""The same story at other dates and under other names: what holds must not hang on a date, a country or a name."""

from __future__ import annotations

import datetime as dt
import re

import msgspec

from safeconduct.cli.sample.reconstruction import Sample
from safeconduct.cli.story.play import Expected

_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")


def transformed(sample: Sample, expected: Expected, *, days: int, renamed: bool) -> tuple[Sample, Expected]:
    """Both with every date moved by `days`, and with models, organisations and countries renamed."""
    texts = [msgspec.json.encode(sample).decode(), msgspec.json.encode(expected).decode()]
    if days:
        texts = [_DATE.sub(lambda found: _moved(found[0], days), text) for text in texts]
    if renamed:
        # Longest first, so that no name is changed inside another.
        for name in sorted(_names(sample), key=len, reverse=True):
            texts = [text.replace(f'"{name}"', f'"{_other(name)}"') for text in texts]
    return msgspec.json.decode(texts[0], type=Sample), msgspec.json.decode(texts[1], type=Expected)


def _moved(day: str, days: int) -> str:
    return (dt.date.fromisoformat(day) + dt.timedelta(days=days)).isoformat()


def _names(sample: Sample) -> set[str]:
    names = {one.id for one in sample.organisations} | {one.id for one in sample.providers}
    names |= {model.model for model in sample.models}
    names |= {one.variant for model in sample.models for one in model.variants}
    names |= {one.country for one in sample.organisations}
    names |= {country for one in sample.subjects for country in one.citizenships}
    return names | {sample.jurisdiction, sample.authority.jurisdiction}


def _other(name: str) -> str:
    if re.fullmatch(r"[A-Z]{2}", name):
        # Another code of two letters for each; user-assigned ones, so that none means a real place.
        return "X" + chr(ord("A") + (ord(name[0]) * 7 + ord(name[1])) % 26)
    return "other-" + name[::-1].strip("-.")
