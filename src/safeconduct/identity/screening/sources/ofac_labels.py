"""What OFAC calls the identifiers of its entries, and what an entry calls them."""

from __future__ import annotations

import re

# Identifiers as the remarks name them, the longest first so that none is taken for another.
IDENTIFIERS: tuple[tuple[str, str], ...] = tuple(
    sorted(
        (
            ("Passport", "passport"),
            ("Diplomatic Passport", "passport"),
            ("Stateless Person Passport", "passport"),
            ("Cedula No.", "cedula"),
            ("Cedula de Ciudadania", "cedula"),
            ("Cedula de Residencia", "cedula_de_residencia"),
            ("National ID No.", "national_id"),
            ("National Foreign ID Number", "national_foreign_id"),
            ("Citizen's Card Number", "national_id"),
            ("Personal ID Card", "personal_id_card"),
            ("Identification Number", "identification_number"),
            ("Identification Number IMO", "imo"),
            ("Residency Number", "residency_number"),
            ("Driver's License No.", "drivers_licence"),
            ("Birth Certificate Number", "birth_certificate"),
            ("Refugee ID Card", "refugee_id"),
            ("Turkish Identification Number", "national_id"),
            ("Kenyan ID No.", "national_id"),
            ("Bosnian Personal ID No.", "national_id"),
            ("SSN", "ssn"),
            ("US FEIN", "us_fein"),
            ("D.N.I.", "dni"),
            ("N.I.E.", "nie"),
            ("C.U.R.P.", "curp"),
            ("R.F.C.", "rfc"),
            ("RFC", "rfc"),
            ("I.F.E.", "ife"),
            ("Credencial electoral", "electoral_credential"),
            ("Electoral Registry No.", "electoral_registry"),
            ("Cartilla de Servicio Militar Nacional", "military_service_card"),
            ("LE Number", "le_number"),
            ("C.U.I.P.", "cuip"),
            ("C.U.I.T.", "cuit"),
            ("CNPJ", "cnpj"),
            ("NIT #", "nit"),
            ("RUC #", "ruc"),
            ("RIF #", "rif"),
            ("RTN", "rtn"),
            ("Tax ID No.", "tax_id"),
            ("V.A.T. Number", "vat"),
            ("Italian Fiscal Code", "tax_id"),
            ("Fiscal Code", "tax_id"),
            ("Numero de Identidad", "national_id"),
            ("Registration ID", "registration_id"),
            ("Registration Number", "registration_number"),
            ("Company Number", "company_number"),
            ("Company Number IMO", "imo_company"),
            ("UK Company Number", "company_number"),
            ("Business Registration Number", "business_registration"),
            ("Business Registration Document #", "business_registration"),
            ("Business Number", "business_number"),
            ("Commercial Registry Number", "commercial_registry"),
            ("Chamber of Commerce Number", "chamber_of_commerce"),
            ("Certificate of Incorporation Number", "certificate_of_incorporation"),
            ("Public Registration Number", "public_registration"),
            ("Registered Charity No.", "registered_charity"),
            ("Trade License No.", "trade_licence"),
            ("License", "licence"),
            ("C.R. No.", "commercial_registry"),
            ("Folio Mercantil No.", "folio_mercantil"),
            ("Matricula Mercantil No", "matricula_mercantil"),
            ("Government Gazette Number", "government_gazette"),
            ("Legal Entity Number", "legal_entity_number"),
            ("Unified Social Credit Code (USCC)", "uscc"),
            ("Organization Code", "organisation_code"),
            ("D-U-N-S Number", "duns"),
            ("Central Registration System Number", "registration_number"),
            ("Enterprise Number", "enterprise_number"),
            ("Economic Register Number (CBLS)", "registration_number"),
            ("SWIFT/BIC", "bic"),
            ("BIK (RU)", "bik"),
            ("ISIN", "isin"),
            ("Chinese Commercial Code", "chinese_commercial_code"),
            ("MMSI", "mmsi"),
            ("Vessel Registration Identification IMO", "imo"),
            ("Vessel Registration Identification", "vessel_registration"),
            ("Aircraft Manufacturer's Serial Number (MSN)", "aircraft_serial_number"),
            ("Aircraft Construction Number (also called L/N or S/N or F/N)", "aircraft_construction_number"),
            ("Aircraft Tail Number", "aircraft_tail_number"),
            ("Aircraft Mode S Transponder Code", "aircraft_transponder"),
            ("Vessel Call Sign", "call_sign"),
            ("Equity Ticker", "equity_ticker"),
            ("Email Address", "email"),
            ("Website", "website"),
        ),
        key=lambda pair: -len(pair[0]),
    )
)

_BY_LABEL = {label.lower().rstrip(".# "): kind for label, kind in IDENTIFIERS}
# In the advanced format these are values of features, without the marks that the remarks need.
_ALSO = {"swift/bic": "bic", "vessel call sign": "call_sign", "mmsi": "mmsi", "isin": "isin"}


def identifier_kind(label: str, *, known: bool = False) -> str:
    """An entry's word for OFAC's label; made of the label itself where there is none, or "" with known."""
    key = label.strip().lower().rstrip(".# ").removesuffix(" no").rstrip(". ")
    found = _BY_LABEL.get(key) or _BY_LABEL.get(f"{key} no") or _ALSO.get(key)
    if found is None and not known:
        found = re.sub(r"\W+", "_", label.lower()).strip("_") or "document"
    return found or ""
