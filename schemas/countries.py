"""Names and codes of countries, in several languages, from the Unicode CLDR."""

from collections.abc import Mapping
from functools import cache

_LANGUAGES = ("en", "de", "fr", "es", "it")
_NO_COUNTRIES = frozenset(("AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"))
"""Codes of the CLDR that ISO 3166-1 does not assign to a country."""
_MORE = {"USA": "US", "UK": "GB", "England": "GB", "Scotland": "GB", "Holland": "NL", "Deutschl.": "DE"}


@cache
def country_codes() -> frozenset[str]:
    """Returns the codes of ISO 3166-1 alpha-2, and XK for Kosovo."""
    return frozenset(country_names().values())


@cache
def country_names() -> Mapping[str, str]:
    """Returns the code of each name of a country, and of each code of three letters."""
    from babel import Locale
    from babel.core import get_global

    names = dict(_MORE)
    for language in _LANGUAGES:
        for code, name in Locale(language).territories.items():
            if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRIES:
                names.setdefault(name, code)
    codes = set(names.values())
    for other, (code, *more) in get_global("territory_aliases").items():
        if len(other) == 3 and other.isalpha() and not more and code in codes:
            names.setdefault(other, code)
    return names
