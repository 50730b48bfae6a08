"""Last lines of a file that are no records: totals, and what the program that wrote the file says about it."""

import re
from collections.abc import Collection, Sequence
from enum import StrEnum

TOTALS = {
    *("total", "totals", "grand total", "subtotal", "sub-total", "sub total", "sum", "sums"),
    *("summe", "summen", "gesamt", "gesamtsumme", "gesamtbetrag", "insgesamt", "zwischensumme", "totaal", "totalt"),
    *("total general", "total général", "totale", "somme", "somma", "suma", "suma total", "soma", "toplam"),
    *("razem", "celkem", "összesen", "yhteensä", "итого", "всего", "合计", "总计", "合計", "합계"),
}
_NOTE = re.compile(
    r"(generated|created|exported|produced|printed|downloaded|report|erstellt|generiert|exportiert|gedruckt|généré|"
    r"exporté|créé|generado|exportado|creado|generato|esportato|creato)\b.*\b(by|on|at|from|with|am|von|mit|par|le|por|"
    r"el|da|il)\b|copyright\b|©|\(c\) |end of (report|file|data|list)\b|"
    r"\(?[0-9][0-9.,]* (rows?|records?|lines?|contacts?|zeilen|datensätze|lignes|filas|righe)\b|"
    r"(page|seite|página|pagina) [0-9]+ ?(of|/|von|sur|de|di) ?[0-9]+|"
    r"(source|quelle|fuente|fonte|notes?|hinweis|disclaimer)\s*:|confidential\b|vertraulich\b",
    re.IGNORECASE,
)
_COUNT = re.compile(
    rf"({'|'.join(sorted(TOTALS, key=len, reverse=True))}|(record|row|line)s? count|count|anzahl|number of \w+)"
    r"(\s*[:=]\s*|\s+)(\w+\s*[:=]?\s*)?[0-9][0-9.,]*(\s+\w+)?",
    re.IGNORECASE,
)
_MARKS = {"trl", "trailer", "eof", "end", "end of file", "ende", "fin", "footer"}
_FIGURES = {
    *("count", "record count", "row count", "records", "rows", "anzahl", "max", "maximum", "min", "minimum", "average"),
    *("avg", "mean", "median", "mittelwert", "durchschnitt", "moyenne", "promedio", "media"),
}
"""Words that are keys, too. They count only where all other keys have a digit."""


class Footer(StrEnum):
    """What is done with last lines that look like no records: leave them out, or read them as records."""

    SKIP = "skip"
    KEEP = "keep"


def is_total(text: str) -> bool:
    """Returns whether a text is a word for a total."""
    return _folded(text) in TOTALS


def is_figure(text: str) -> bool:
    """Returns whether a text is a word for a total, for another figure such as an average, or for the end of a file."""
    return is_total(text) or _folded(text) in _MARKS | _FIGURES


def is_footer(texts: Sequence[str], key: Collection[int], width: int, keys: Sequence[str] = ()) -> bool:
    """Returns whether a last record looks like no record.

    Its key is a word for a total. If the key is empty or fields are missing, its first text counts. (Suma is a first
    name too.) Or its first text is a note, and most of its fields are empty.

    texts: its fields. key: the positions of the key. width: the number of columns. keys: the keys of other records.
    """
    filled = [text.strip() for text in texts if text.strip()]
    if not filled:
        return False
    names = [texts[at] for at in key if at < len(texts) and texts[at].strip()]
    if not names or len(texts) < width:
        names.append(filled[0])
    if any(is_total(name) or _COUNT.fullmatch(name.strip()) for name in names):
        return True
    if keys and all(map(_has_digit, keys)) and any(map(is_figure, names)):
        return True
    return _NOTE.match(filled[0]) is not None and len(filled) * 2 <= max(width, 2)


def is_remark(texts: Sequence[str], keys: Sequence[str]) -> bool:
    """Returns whether a last record is a text of several words alone, though other keys are single words."""
    filled = [text for text in texts if text.strip()]
    is_of_words = len(texts) > 1 and len(filled) == 1 and " " in filled[0].strip()
    return is_of_words and bool(keys) and not any(" " in key.strip() for key in keys)


def _folded(text: str) -> str:
    return text.strip().rstrip(": ").casefold()


def _has_digit(text: str) -> bool:
    return any(map(str.isdigit, text))
