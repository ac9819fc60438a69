"""Countries' names, as lists write them, to ISO 3166-1 alpha-2.

The names come from the kept data set of the `iso3166` package; here are only the other spellings that publishers use. A region, a
former state and a word like "undetermined" have no code: nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import iso3166

# How OFAC, the UN, the EU, the UK and the US Consolidated Screening List write what ISO 3166-1 writes otherwise.
_OTHER_SPELLINGS = """
AE: uae
AG: antigua barbuda
AX: aaland islands
BA: bosnia herzegovina, bosnia & herzegovina
BN: brunei
BO: bolivia
BS: the bahamas, bahamas the
CC: cocos islands
CD: democratic republic of the congo, democratic republic of congo, congo the democratic republic of the, drc, dr congo,
    congo kinshasa, congo democratic republic
CG: congo republic of the, republic of the congo, republic of congo, congo brazzaville, congo republic
CI: ivory coast, cote divoire, cote d ivoire, republic of cote divoire
CN: people's republic of china, peoples republic of china, china people's republic of, prc
CV: cape verde
CZ: czech republic, czechia, the czech republic
FK: falkland islands
FM: micronesia
GB: great britain, united kingdom, uk, england, scotland, wales, northern ireland, united kingdom of great britain and northern ireland,
    united kingdom of great britain & northern ireland
GM: the gambia, gambia the, gambia
HK: hong kong, china hong kong special administrative region, hong kong sar, hong kong china, hong kong sar china, china hong kong
IM: man isle of, isle of man
IR: iran, iran islamic republic of, islamic republic of iran
KG: kyrgyz republic
KM: union of the comoros
KN: st kitts and nevis, saint kitts & nevis
KP: north korea, korea north, democratic people's republic of korea, dprk, korea democratic people's republic of,
    democratic peoples republic of korea
KR: south korea, korea south, republic of korea
LA: laos, lao people's democratic republic, lao pdr
LC: st lucia
LY: libyan arab jamahiriya, state of libya
MD: moldova, republic of moldova
MK: macedonia, north macedonia, north macedonia the republic of, republic of north macedonia, former yugoslav republic of macedonia,
    macedonia the former yugoslav republic of
MM: burma, myanmar burma, burma myanmar
MO: macau, macao, china macao special administrative region, macau sar, macao sar
NL: the netherlands, netherlands, kingdom of the netherlands
PH: the philippines
PS: palestine, palestinian, state of palestine, palestinian territories, occupied palestinian territory, occupied palestinian territories,
    palestinian territory occupied, palestinian territory
RU: russia, russian federation
RW: republic of rwanda
SD: the sudan
SH: saint helena, st helena
SS: republic of south sudan
ST: sao tome & principe
SX: sint maarten
SY: syria, syrian arab republic
SZ: swaziland
TL: east timor
TR: turkey, turkiye
TT: trinidad & tobago
TW: taiwan, taiwan province of china, chinese taipei
TZ: tanzania, united republic of tanzania
US: usa, us, united states, united states of america, the united states of america
VA: vatican city, holy see
VC: saint vincent & the grenadines, st vincent and the grenadines
VE: venezuela, bolivarian republic of venezuela, venezuela bolivarian republic of
VG: british virgin islands, virgin islands british, virgin islands uk
VI: us virgin islands, virgin islands us, virgin islands u s
VN: vietnam, viet nam, socialist republic of vietnam
XK: kosovo, republic of kosovo
"""
_CODE = re.compile(r"[A-Z]{2}\Z")


def _key(name: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w&]+", " ", plain.replace("\u2019", "").replace("'", "")).split())


@cache
def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    for country in iso3166.countries:
        for name in (country.name, country.apolitical_name, country.alpha3):
            table[_key(name)] = country.alpha2
    code = ""
    for line in _OTHER_SPELLINGS.strip().splitlines():
        head, colon, names = line.partition(": ")
        if colon:
            code = head
        for name in (names if colon else line).split(","):
            if name.strip():
                table[_key(name)] = code
    return table


@cache
def _codes() -> frozenset[str]:
    return frozenset(country.alpha2 for country in iso3166.countries) | {"XK"}


def country_code(written: str) -> str | None:
    """ISO 3166-1 alpha-2 (and XK for Kosovo, user-assigned), or None.

    written: a name in English or an alpha-2 or alpha-3 code. `UK` and `Region: ...` are what they are: the first is GB, the second none.
    """
    text = written.strip()
    if _CODE.match(text) and text in _codes():
        return text
    return _table().get(_key(text))
