"""Last lines of a file that are no records: totals, and what the program that wrote the file says about it."""

import re
from collections.abc import Collection, Sequence
from enum import StrEnum

_TOTALS = {
    *("total", "totals", "grand total", "subtotal", "sub-total", "sub total", "sum", "sums"),
    *("summe", "summen", "gesamt", "gesamtsumme", "gesamtbetrag", "insgesamt", "zwischensumme", "totaal", "totalt"),
    *("total general", "total général", "totale", "somme", "somma", "suma", "suma total", "soma", "toplam"),
    *("razem", "celkem", "összesen", "yhteensä", "итого", "всего", "合计", "总计", "合計", "합계"),
}
_NOTE = re.compile(
    r"(generated|created|exported|produced|printed|downloaded|report|erstellt|generiert|exportiert|gedruckt|généré|"
    r"exporté|créé|generado|exportado|creado|generato|esportato|creato)\b.*\b(by|on|at|from|with|am|von|mit|par|le|por|"
    r"el|da|il)\b|copyright\b|©|\(c\) |end of (report|file|data|list)\b|"
    r"\(?[0-9][0-9.,]* (rows?|records?|lines?|contacts?|zeilen|datensätze|lignes|filas|righe)\b",
    re.IGNORECASE,
)


class Footer(StrEnum):
    """What is done with last lines that look like no records: leave them out, or read them as records."""

    SKIP = "skip"
    KEEP = "keep"


def is_footer(texts: Sequence[str], key: Collection[int], width: int) -> bool:
    """Returns whether a last record looks like no record.

    Its key is a word for a total. If the key is empty or fields are missing, its first text counts. (Suma is a first
    name too.) Or its first text is a note, and most of its fields are empty.

    texts: its fields. key: the positions of the key. width: the number of columns.
    """
    filled = [text.strip() for text in texts if text.strip()]
    if not filled:
        return False
    names = [texts[at] for at in key if at < len(texts) and texts[at].strip()]
    if not names or len(texts) < width:
        names.append(filled[0])
    if any(name.strip().rstrip(": ").casefold() in _TOTALS for name in names):
        return True
    return _NOTE.match(filled[0]) is not None and len(filled) * 2 <= max(width, 2)
