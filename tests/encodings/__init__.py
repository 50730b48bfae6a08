"""How often the encoding of a file that is not UTF-8 is found, by language and number of records."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from resources.file_reader.delimited.encoding import detect_encoding
from schemas.counts import numbered

ROWS = (1, 10, 100, 2_000)
LANGUAGES = {
    "cp1252": ("es_ES", "fr_FR", "de_DE", "pt_BR", "it_IT", "nl_NL", "sv_SE", "da_DK", "no_NO", "fi_FI"),
    "cp1250": ("cs_CZ", "pl_PL", "hu_HU", "sl_SI", "hr_HR", "ro_RO", "sk_SK"),
    "cp1251": ("ru_RU", "bg_BG", "uk_UA"),
    "cp1253": ("el_GR",),
    "cp1254": ("tr_TR",),
    "cp1257": ("lt_LT", "lv_LV", "et_EE"),
    "cp932": ("ja_JP",),
    "euc_jp": ("ja_JP",),
    "gb18030": ("zh_CN",),
    "big5": ("zh_TW",),
    "euc_kr": ("ko_KR",),
    "mac_roman": ("fr_FR", "es_ES", "de_DE"),
    "cp850": ("de_DE", "es_ES", "fr_FR"),
    "cp866": ("ru_RU",),
    "koi8_r": ("ru_RU",),
}
"""Encodings, each with Faker's names of languages that are written in it."""

_CEDILLAS = str.maketrans("șțȘȚ", "şţŞŢ")  # cp1250 has no commas below


@dataclass(frozen=True)
class Found:
    """In how many of the files with this encoding and number of records it was found."""

    encoding: str
    rows: int
    files: int
    right: int


def text(language: str, rows: int, seed: int, encoding: str) -> str:
    """Return a CSV file of names, places, and companies or sentences, without characters that the encoding lacks."""
    from faker import Faker  # which takes as long to import as the tests of encodings

    fake = Faker(language)
    fake.seed_instance(seed)
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(["external_id", "name", "city", "notes", "email"])
    for number in range(rows):
        notes = fake.company() if seed % 2 else fake.sentence(6)
        row = [f"K-{number:05}", fake.name(), fake.city(), notes, f"a{number}@example.com"]
        writer.writerow([it.translate(_CEDILLAS).encode(encoding, "ignore").decode(encoding) for it in row])
    return written.getvalue()


def found(encoding: str, rows: int, seeds: range) -> Found:
    """Return in how many files the encoding was found: one for each language and seed, if it is not also UTF-8."""
    files = right = 0
    for language in LANGUAGES[encoding]:
        for seed in seeds:
            content = text(language, rows, seed, encoding)
            data = content.encode(encoding)
            if data.decode(errors="ignore").encode() != data:
                files += 1
                right += data.decode(detect_encoding(io.BytesIO(data), "in.csv").name, "replace") == content
    return Found(encoding, rows, files, right)


def table(seeds: int) -> Iterator[str]:
    """Yield the lines of a table in Markdown: for each encoding and number of records, how often it was found."""
    yield "| encoding | languages | " + " | ".join(numbered(rows, "record") for rows in ROWS) + " |"
    yield "| --- | ---: |" + " ---: |" * len(ROWS)
    for encoding, languages in LANGUAGES.items():
        each = [found(encoding, rows, range(seeds if rows < 2_000 else 2)) for rows in ROWS]
        cells = [f"{it.right / it.files:.1%} of {it.files}" if it.files else "" for it in each]
        yield f"| {encoding} | {len(languages)} | {' | '.join(cells)} |"
