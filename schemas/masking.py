"""Masks values of personal fields for people who may not read them."""

MASK = "•••"


def masked_value(value: str, expected: str) -> str:
    """Returns the mask and, in brackets, what is wrong with the value if that can be said without it.

    `expected` is the broken rule in words, for example "must be an e-mail address".
    """
    hint = safe_hint(value, expected)
    return f"{MASK} ({hint})" if hint else MASK


def safe_hint(value: str, expected: str) -> str:
    """Returns what is visibly wrong with the value, without quoting any of it; empty if nothing is."""
    about_address = "e-mail" in expected
    about_number = "number" in expected or "decimal" in expected
    found = {
        "begins with a space": value[:1].isspace(),
        "ends with a space": value[-1:].isspace(),
        "has a line break": "\n" in value or "\r" in value,
        "has an invisible character": any(not it.isprintable() and not it.isspace() for it in value),
        "no @": about_address and "@" not in value,
        "more than one @": about_address and value.count("@") > 1,
        "no dot after the @": about_address and value.count("@") == 1 and "." not in value.partition("@")[2],
        "a space inside": about_address and any(it.isspace() for it in value.strip()),
        "has letters": about_number and any(it.isalpha() for it in value),
    }
    return ", ".join(hint for hint, is_so in found.items() if is_so)
