"""Three-letter codes of states and nationalities in travel documents: ISO 3166-1 and what ICAO 9303-3 section 5 adds.

Owns the mapping to the two-letter codes used elsewhere. Refuses to guess: an unknown code has no country.
"""

from __future__ import annotations

import msgspec

_ISO = (
    "AFG:AF ALA:AX ALB:AL DZA:DZ ASM:AS AND:AD AGO:AO AIA:AI ATA:AQ ATG:AG ARG:AR ARM:AM ABW:AW AUS:AU "
    "AUT:AT AZE:AZ BHS:BS BHR:BH BGD:BD BRB:BB BLR:BY BEL:BE BLZ:BZ BEN:BJ BMU:BM BTN:BT BOL:BO BES:BQ "
    "BIH:BA BWA:BW BVT:BV BRA:BR IOT:IO BRN:BN BGR:BG BFA:BF BDI:BI CPV:CV KHM:KH CMR:CM CAN:CA CYM:KY "
    "CAF:CF TCD:TD CHL:CL CHN:CN CXR:CX CCK:CC COL:CO COM:KM COG:CG COD:CD COK:CK CRI:CR CIV:CI HRV:HR "
    "CUB:CU CUW:CW CYP:CY CZE:CZ DNK:DK DJI:DJ DMA:DM DOM:DO ECU:EC EGY:EG SLV:SV GNQ:GQ ERI:ER EST:EE "
    "SWZ:SZ ETH:ET FLK:FK FRO:FO FJI:FJ FIN:FI FRA:FR GUF:GF PYF:PF ATF:TF GAB:GA GMB:GM GEO:GE DEU:DE "
    "GHA:GH GIB:GI GRC:GR GRL:GL GRD:GD GLP:GP GUM:GU GTM:GT GGY:GG GIN:GN GNB:GW GUY:GY HTI:HT HMD:HM "
    "VAT:VA HND:HN HKG:HK HUN:HU ISL:IS IND:IN IDN:ID IRN:IR IRQ:IQ IRL:IE IMN:IM ISR:IL ITA:IT JAM:JM "
    "JPN:JP JEY:JE JOR:JO KAZ:KZ KEN:KE KIR:KI PRK:KP KOR:KR KWT:KW KGZ:KG LAO:LA LVA:LV LBN:LB LSO:LS "
    "LBR:LR LBY:LY LIE:LI LTU:LT LUX:LU MAC:MO MDG:MG MWI:MW MYS:MY MDV:MV MLI:ML MLT:MT MHL:MH MTQ:MQ "
    "MRT:MR MUS:MU MYT:YT MEX:MX FSM:FM MDA:MD MCO:MC MNG:MN MNE:ME MSR:MS MAR:MA MOZ:MZ MMR:MM NAM:NA "
    "NRU:NR NPL:NP NLD:NL NCL:NC NZL:NZ NIC:NI NER:NE NGA:NG NIU:NU NFK:NF MKD:MK MNP:MP NOR:NO OMN:OM "
    "PAK:PK PLW:PW PSE:PS PAN:PA PNG:PG PRY:PY PER:PE PHL:PH PCN:PN POL:PL PRT:PT PRI:PR QAT:QA REU:RE "
    "ROU:RO RUS:RU RWA:RW BLM:BL SHN:SH KNA:KN LCA:LC MAF:MF SPM:PM VCT:VC WSM:WS SMR:SM STP:ST SAU:SA "
    "SEN:SN SRB:RS SYC:SC SLE:SL SGP:SG SXM:SX SVK:SK SVN:SI SLB:SB SOM:SO ZAF:ZA SGS:GS SSD:SS ESP:ES "
    "LKA:LK SDN:SD SUR:SR SJM:SJ SWE:SE CHE:CH SYR:SY TWN:TW TJK:TJ TZA:TZ THA:TH TLS:TL TGO:TG TKL:TK "
    "TON:TO TTO:TT TUN:TN TUR:TR TKM:TM TCA:TC TUV:TV UGA:UG UKR:UA ARE:AE GBR:GB USA:US UMI:UM URY:UY "
    "UZB:UZ VUT:VU VEN:VE VNM:VN VGB:VG VIR:VI WLF:WF ESH:EH YEM:YE ZMB:ZM ZWE:ZW "
)
_COUNTRY = dict(pair.split(":") for pair in _ISO.split())
ALPHA_2 = frozenset(_COUNTRY.values()) | {"XK"}
"""The two-letter codes that can follow from a document."""

# ICAO 9303-3 section 5, parts B to E. None: no country follows from it.
_ADDED: dict[str, tuple[str | None, str]] = {
    "D": ("DE", "Germany"),
    "EUE": (None, "European Union (laissez-passer)"),
    "GBD": ("GB", "British Overseas Territories citizen"),
    "GBN": ("GB", "British National (Overseas)"),
    "GBO": ("GB", "British Overseas citizen"),
    "GBP": ("GB", "British protected person"),
    "GBS": ("GB", "British subject"),
    "RKS": ("XK", "Kosovo"),
    "UNO": (None, "United Nations Organization"),
    "UNA": (None, "United Nations specialised agency"),
    "UNK": (None, "United Nations Interim Administration in Kosovo"),
    "UTO": (None, "Utopia, for specimens: never a real document"),
    "XBA": (None, "African Development Bank"),
    "XCC": (None, "Caribbean Community"),
    "XCE": (None, "Council of Europe"),
    "XCO": (None, "Common Market for Eastern and Southern Africa"),
    "XEC": (None, "Economic Community of West African States"),
    "XIM": (None, "African Export-Import Bank"),
    "XMP": (None, "Parliamentary Assembly of the Mediterranean"),
    "XOM": (None, "Sovereign Military Order of Malta"),
    "XPO": (None, "Interpol"),
    "XXA": (None, "stateless person (1954 Convention)"),
    "XXB": (None, "refugee (1951 Convention)"),
    "XXC": (None, "refugee, other"),
    "XXX": (None, "unspecified nationality"),
}

SPECIMEN = "UTO"
STATELESS = frozenset({"XXA"})
REFUGEE = frozenset({"XXB", "XXC"})
# Citizens of one state under several statuses, of whom only these have that state's citizenship.
_NOT_CITIZENS = frozenset({"GBD", "GBN", "GBO", "GBP", "GBS"})


class NationalityCode(msgspec.Struct, frozen=True):
    """A code as read. country: ISO 3166-1 alpha-2 (XK for Kosovo), None when no state follows. known: it is in the tables.

    citizen: whether it says that the person is a citizen of that country.
    """

    code: str
    country: str | None
    known: bool
    citizen: bool
    description: str = ""


def nationality_code(code: str) -> NationalityCode:
    """What a code of a document means; fillers (`<`) at its end do not count."""
    plain = code.rstrip("<")
    country = _COUNTRY.get(plain)
    if country is not None:
        return NationalityCode(code=plain, country=country, known=True, citizen=True)
    added = _ADDED.get(plain)
    if added is None:
        return NationalityCode(code=plain, country=None, known=False, citizen=False)
    country, description = added
    citizen = country is not None and plain not in _NOT_CITIZENS
    return NationalityCode(code=plain, country=country, known=True, citizen=citizen, description=description)


def same_state(first: str, second: str) -> bool:
    """Whether two codes name one issuing state, whatever alphabet of codes they come from (`D` and `DEU`, `DE`)."""

    def state(code: str) -> str:
        plain = code.upper().rstrip("<")
        if plain == "UT":
            return SPECIMEN  # how certificates of specimens write it
        return nationality_code(plain).country or plain

    return bool(first) and state(first) == state(second)
