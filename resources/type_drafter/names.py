"""Names made from headers and file names."""

import keyword
import re
import unicodedata

from schemas import model

LONGEST_NAME = 60
_TAKEN = frozenset({*dir(model.RecordModel), "field"})
"""Names that no field can have: they would hide a part of the model, or the function that makes fields."""


def literal_of(text: str) -> str:
    """Returns the text as a Python literal, in the quotes that need fewer backslashes, preferably double ones."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    escaped = (f"\\{c}" if c in (quote, "\\") else c if c.isprintable() else repr(c)[1:-1] for c in text)
    return f"{quote}{''.join(escaped)}{quote}"


def snake_case(text: str, *, ascii_only: bool = False) -> str:
    """Returns a name made from the text: "Ärztliche ID-Nr." gives arztliche_id_nr. Empty if no character fits."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = unicodedata.normalize("NFKC", plain)
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    plain = unicodedata.normalize("NFKC", plain.casefold())
    kept = "".join(c if f"a{c}".isidentifier() and (c.isascii() or not ascii_only) else "_" for c in plain)
    name = re.sub(r"_+", "_", kept).strip("_")[:LONGEST_NAME].strip("_")
    if name and not name.isidentifier():
        name = f"n_{name}"
    return f"{name}_" if name in _TAKEN or keyword.iskeyword(name) else name
