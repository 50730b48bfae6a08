"""Counts the values of a column that fit one way of writing them."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from schemas.characters import shown
from schemas.counts import numbered

_LONGEST = 40
"""The characters of a value that are shown."""


@dataclass
class Fit:
    """How many values fit, the first one and its record. `what` is the word for one of them."""

    what: str
    values: int = 0
    first: int = 0
    example: str = ""

    def add(self, fitting: pa.Array, texts: pa.Array, records: pa.Array) -> None:
        """Count the values of a chunk: which fit, their texts, and the numbers of their records."""
        places = pc.indices_nonzero(pc.fill_null(fitting, False))
        if len(places) and not self.values:
            at = places[0].as_py()
            self.first, self.example = records[at].as_py(), shown(texts[at].as_py()[:_LONGEST])
        self.values += len(places)

    @property
    def number(self) -> str:
        """Returns for example: 12 dates."""
        return numbered(self.values, self.what)

    def sentence(self, can: str) -> str:
        """Returns for example: 12 dates can only be day first (first: record 7)."""
        return f"{self.number} {can} (first: record {self.first:,})"
