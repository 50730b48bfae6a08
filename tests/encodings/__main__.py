"""Prints the table of encodings of resources/README.md: python -m tests.encodings."""

from tests.encodings import table

for line in table(30):
    print(line, flush=True)
