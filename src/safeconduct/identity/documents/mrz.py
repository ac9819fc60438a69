"""Machine readable zones of travel documents (ICAO 9303 parts 3 to 7): TD1, TD2, TD3, MRV-A and MRV-B.

Owns reading the zone and its check digits. They find slips, not forgeries: about one wrong character in fourteen passes them
all, so a zone by itself is never more than FAIR evidence. Refuses to repair what it reads.
"""

from __future__ import annotations

import enum
import re

import msgspec

from safeconduct.identity.documents.nationality_codes import NationalityCode, nationality_code
from safeconduct.kernel.errors import InvalidInput

_WEIGHTS = (7, 3, 1)
_VALUE = {char: number for number, char in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")} | {"<": 0}
_ALPHABET = re.compile(r"[0-9A-Z<]*")
_DATE = re.compile(r"[0-9<]{6}")
MAX_TEXT = 512


class Format(enum.StrEnum):
    """Shape of the zone: lines x characters."""

    TD1 = "TD1"
    TD2 = "TD2"
    TD3 = "TD3"
    MRV_A = "MRV-A"
    MRV_B = "MRV-B"


_SHAPES = {(3, 30): Format.TD1, (2, 36): Format.TD2, (2, 44): Format.TD3}
_VISAS = {Format.TD3: Format.MRV_A, Format.TD2: Format.MRV_B}


class PartialDate(msgspec.Struct, frozen=True):
    """A date whose month or day the document may leave out (9303-3 4.8). year: four digits, None when not even it is known."""

    year: int | None
    month: int | None = None
    day: int | None = None

    @property
    def complete(self) -> bool:
        """Year, month and day are known."""
        return None not in (self.year, self.month, self.day)

    def text(self) -> str:
        """`2001-02-03`, with `--` for what is not known."""
        year = "----" if self.year is None else f"{self.year:04d}"
        month = "--" if self.month is None else f"{self.month:02d}"
        day = "--" if self.day is None else f"{self.day:02d}"
        return f"{year}-{month}-{day}"


class Check(msgspec.Struct, frozen=True):
    """One check digit: what it covers and whether it fits."""

    covers: str
    given: str
    computed: str

    @property
    def passed(self) -> bool:
        """The digit fits."""
        return self.given == self.computed


class MachineReadableZone(msgspec.Struct, frozen=True):
    """What the zone says.

    surname, given_names: as transliterated there, parts parted by one blank. truncated: a name fills its field to the last
    character, so parts may be missing. sex: `M`, `F` or `X`. expires: None on documents without a date.
    """

    format: Format
    document_code: str
    issuer: NationalityCode
    document_number: str
    nationality: NationalityCode
    birth_date: PartialDate
    sex: str
    expires: PartialDate | None
    surname: str
    given_names: str
    truncated: bool
    optional: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def consistent(self) -> bool:
        """Every check digit fits. No sign that the document is genuine."""
        return all(check.passed for check in self.checks)

    def failed(self) -> tuple[str, ...]:
        """What the digits that do not fit cover."""
        return tuple(check.covers for check in self.checks if not check.passed)


def check_digit(text: str) -> str:
    """The check digit of 9303-3 4.9: weights 7, 3, 1, modulo 10. Raises InvalidInput on a character outside the alphabet."""
    try:
        return str(sum(_VALUE[char] * _WEIGHTS[place % 3] for place, char in enumerate(text)) % 10)
    except KeyError as error:
        raise InvalidInput(
            f"{error.args[0]!r} cannot stand in a machine readable zone",
            field="mrz",
            remedy="read it again: 0-9, A-Z and < only",
        ) from None


def read_mrz(text: str, *, year: int) -> MachineReadableZone:
    """Read a zone. year: of the reading, four digits; it settles the century of two-digit years.

    Check digits that do not fit are told in `checks`, not raised. Raises InvalidInput, naming line and remedy, when the text
    is no machine readable zone.
    """
    lines = _lines(text)
    shape = _SHAPES.get((len(lines), len(lines[0])))
    if shape is None:
        raise InvalidInput(
            f"{len(lines)} lines of {len(lines[0])} characters are no known zone",
            field="mrz",
            remedy="send 3 lines of 30, 2 of 36 or 2 of 44 characters",
        )
    if shape is Format.TD1:
        return _read_td1(lines, year)
    if lines[0][0] == "V":
        return _read_two_lines(lines, _VISAS[shape], year)
    return _read_two_lines(lines, shape, year)


def _lines(text: str) -> list[str]:
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"is longer than {MAX_TEXT} characters", field="mrz", remedy="send the zone only")
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if len(lines) == 1 and len(lines[0]) in (72, 88, 90):
        whole = lines[0]
        width = 30 if len(whole) == 90 else len(whole) // 2
        lines = [whole[start : start + width] for start in range(0, len(whole), width)]
    if not lines:
        raise InvalidInput("is empty", field="mrz", remedy="send the lines of the zone")
    for number, line in enumerate(lines, 1):
        end = _ALPHABET.match(line)
        if end is None or end.end() != len(line):
            place = end.end() if end is not None else 0
            raise InvalidInput(
                f"line {number} holds {line[place]!r} at character {place + 1}",
                field="mrz",
                remedy="read it again: 0-9, A-Z and < only",
            )
        if len(line) != len(lines[0]):
            raise InvalidInput(
                f"line {number} has {len(line)} characters, line 1 has {len(lines[0])}",
                field="mrz",
                remedy="send whole lines",
            )
    return lines


def _read_td1(lines: list[str], year: int) -> MachineReadableZone:
    first, second, third = lines
    number, given, optional = _long_number(first[5:14], first[14], first[15:30])
    surname, given_names, truncated = _names(third)
    return MachineReadableZone(
        format=Format.TD1,
        document_code=first[:2].rstrip("<"),
        issuer=nationality_code(first[2:5]),
        document_number=number,
        nationality=nationality_code(second[15:18]),
        birth_date=_birth(second[:6], year),
        sex=_sex(second[7]),
        expires=_expiry(second[8:14], year),
        surname=surname,
        given_names=given_names,
        truncated=truncated,
        optional=tuple(part for part in (optional, second[18:29].strip("<")) if part),
        checks=(
            Check("document_number", given, check_digit(_number_field(number, first[5:14]))),
            Check("birth_date", second[6], check_digit(second[:6])),
            Check("expires", second[14], check_digit(second[8:14])),
            Check(
                "composite",
                second[29],
                check_digit(first[5:30] + second[:7] + second[8:15] + second[18:29]),
            ),
        ),
    )


def _read_two_lines(lines: list[str], shape: Format, year: int) -> MachineReadableZone:
    first, second = lines
    visa = shape in (Format.MRV_A, Format.MRV_B)
    passport = shape is Format.TD3
    optional = second[28:42] if passport else second[28:] if visa else second[28:35]
    number, given = second[:9].rstrip("<"), second[9]
    if shape is Format.TD2:
        number, given, optional = _long_number(second[:9], second[9], optional)
    checks = [
        Check("document_number", given, check_digit(_number_field(number, second[:9]))),
        Check("birth_date", second[19], check_digit(second[13:19])),
        Check("expires", second[27], check_digit(second[21:27])),
    ]
    if passport:
        personal, digit = second[28:42], second[42]
        # 9303-4 4.2.2: an empty personal number may have `<` or 0 as its digit.
        if digit != "<" or personal.strip("<"):
            checks.append(Check("personal_number", digit, check_digit(personal)))
        checks.append(
            Check("composite", second[43], check_digit(second[:10] + second[13:20] + second[21:43]))
        )
    elif not visa:
        checks.append(
            Check("composite", second[35], check_digit(second[:10] + second[13:20] + second[21:35]))
        )
    surname, given_names, truncated = _names(first[5:])
    stripped = optional.strip("<")
    return MachineReadableZone(
        format=shape,
        document_code=first[:2].rstrip("<"),
        issuer=nationality_code(first[2:5]),
        document_number=number,
        nationality=nationality_code(second[10:13]),
        birth_date=_birth(second[13:19], year),
        sex=_sex(second[20]),
        expires=_expiry(second[21:27], year),
        surname=surname,
        given_names=given_names,
        truncated=truncated,
        optional=(stripped,) if stripped else (),
        checks=tuple(checks),
    )


def _long_number(field: str, digit: str, optional: str) -> tuple[str, str, str]:
    """Document number, its check digit and what is left of the optional data (9303-5 4.2.2 note j, 9303-6 4.2.2 note j)."""
    if digit != "<":
        return field.rstrip("<"), digit, optional.strip("<")
    # More than nine characters: the rest stands at the start of the optional data, its last character is the digit.
    rest, _, left = optional.partition("<")
    if not rest:
        return field.rstrip("<"), digit, left.strip("<")
    return field + rest[:-1], rest[-1], left.strip("<")


def _number_field(number: str, field: str) -> str:
    """What the digit of the document number covers: the field with its fillers, or the whole of a longer number."""
    return number if len(number) > len(field) else field


def _names(field: str) -> tuple[str, str, bool]:
    """Surname, given names, and whether names were cut (9303-3 4.6, 9303-4 4.2.3)."""
    surname, _, given = field.partition("<<")
    if "<<" in given.strip("<"):
        raise InvalidInput(
            "the name field holds three parts",
            field="mrz",
            remedy="read it again: << parts surname and names",
        )
    return _words(surname), _words(given), not field.endswith("<")


def _words(text: str) -> str:
    return " ".join(part for part in text.split("<") if part)


def _sex(char: str) -> str:
    if char not in "MFX<":
        raise InvalidInput(f"{char!r} is no sex marker", field="mrz", remedy="read it again: M, F, X or <")
    return "X" if char == "<" else char


def _parts(text: str, field: str) -> tuple[int | None, int | None, int | None]:
    if not _DATE.fullmatch(text):
        raise InvalidInput(
            f"the {field} {text!r} holds letters",
            field="mrz",
            remedy="read it again: digits, or < if unknown",
        )
    values: list[int | None] = []
    for start, limit in ((0, 99), (2, 12), (4, 31)):
        part = text[start : start + 2]
        if "<" in part or (start and part == "00"):
            values.append(None)
            continue
        if int(part) > limit:
            raise InvalidInput(
                f"the {field} {text!r} is no date", field="mrz", remedy="read it again: year, month, day"
            )
        values.append(int(part))
    return values[0], values[1], values[2]


def _birth(text: str, year: int) -> PartialDate:
    short, month, day = _parts(text, "birth date")
    if short is None:
        return PartialDate(None, month, day)
    # Nobody is born after the day of the reading.
    full = year - (year - short) % 100
    return PartialDate(full, month, day)


def _expiry(text: str, year: int) -> PartialDate | None:
    short, month, day = _parts(text, "date of expiry")
    if short is None:
        return None
    # Within fifty years of the reading: documents live ten years or so, and old ones are shown too.
    full = year + (short - year + 50) % 100 - 50
    return PartialDate(full, month, day)
