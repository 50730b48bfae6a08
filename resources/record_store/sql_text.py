"""Texts as SQL, for places where DuckDB takes no bound value."""

from pathlib import Path


def literal(text: str | Path) -> str:
    """Return a text as SQL: a file name, an option, a query in a query."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return a name as SQL. Every identifier that does not come from this package is quoted here."""
    return '"' + name.replace('"', '""') + '"'
