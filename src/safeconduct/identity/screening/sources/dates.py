"""Dates as lists write them, to `ListedDate`. What is not one of the known forms is no date; it stays in the remarks."""

from __future__ import annotations

import datetime
import re

from safeconduct.identity.screening.entry import ListedDate

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january",
            "feb february",
            "mar march",
            "apr april",
            "may",
            "jun june",
            "jul july",
            "aug august",
            "sep sept september",
            "oct october",
            "nov november",
            "dec december",
        ),
        1,
    )
    for name in names.split()
}
_ABOUT = re.compile(r"^(?:circa|c\.|ca\.|approximately|approx\.?|about)\s*", re.IGNORECASE)
_RANGE = re.compile(r"^(?:between\s+)?(.+?)\s+(?:to|and|-)\s+(.+)$", re.IGNORECASE)
_WORDS = re.compile(r"^(?:(\d{1,2})\s+)?([A-Za-z]{3,9})\.?\s+(\d{4})$")
_AMERICAN = re.compile(r"^([A-Za-z]{3,9})\.?\s+(\d{1,2}),\s*(\d{4})$")
_ISO = re.compile(
    r"^(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?(?:T[\d:.]+(?:Z|[+-]\d\d:?\d\d)?|[+-]\d\d:\d\d|Z)?$"
)
_BRITISH = re.compile(r"^(\d{1,2}|dd)/(\d{1,2}|mm)/(\d{4})$", re.IGNORECASE)


def iso(year: int, month: int | None = None, day: int | None = None) -> str | None:
    """`YYYY`, `YYYY-MM` or `YYYY-MM-DD`, or None when the calendar has no such day. A zero month or day is an unknown one."""
    if not 1 <= year <= 9_999:
        return None
    if not month:
        return f"{year:04d}"
    if not 1 <= month <= 12:
        return None
    if not day:
        return f"{year:04d}-{month:02d}"
    try:
        return datetime.date(year, month, day).isoformat()
    except ValueError:
        return None


def read_day(written: str) -> str | None:
    """One date, as far as it is known: `7 Oct 1954`, `Oct 1954`, `October 7, 1954`, `1954`, `1954-10-07`, `07/10/1954` (day first)."""
    text = written.strip().rstrip(".")
    if found := _ISO.match(text):
        year, month, day = found.groups()
        return iso(int(year), int(month or 0), int(day or 0))
    if found := _WORDS.match(text):
        day, word, year = found.groups()
        month_number = _MONTHS.get(word.lower())
        return iso(int(year), month_number, int(day or 0)) if month_number else None
    if found := _AMERICAN.match(text):
        word, day, year = found.groups()
        month_number = _MONTHS.get(word.lower())
        return iso(int(year), month_number, int(day)) if month_number else None
    if found := _BRITISH.match(text):
        day, month, year = (0 if part.isalpha() else int(part) for part in found.groups())
        return iso(year, month, day)
    return None


def read_date(written: str) -> ListedDate | None:
    """A date or a range of dates: `circa 1965`, `1960 to 1962`, `Between 1960 and 1962`, or what `read_day` reads."""
    text = written.strip().rstrip(".")
    about = _ABOUT.match(text)
    if about:
        text = text[about.end() :]
    if day := read_day(text):
        return ListedDate(day, day, circa=about is not None)
    if found := _RANGE.match(text):
        first_about, last_about = _ABOUT.match(found[1]), _ABOUT.match(found[2])
        first = read_day(found[1][first_about.end() :] if first_about else found[1])
        last = read_day(found[2][last_about.end() :] if last_about else found[2])
        if first and last and first <= last:
            return ListedDate(first, last, circa=bool(about or first_about or last_about))
    return None
