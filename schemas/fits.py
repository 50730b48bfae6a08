"""Counts the values of a column that fit one way of writing them."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from schemas.counts import numbered


@dataclass
class Fit:
    """How many values fit, and the record of the first one. `what` is the word for one of them."""

    what: str
    values: int = 0
    first: int = 0

    def add(self, fitting: pa.Array, records: pa.Array) -> None:
        """Count the values of a chunk: which fit, and the numbers of their records."""
        fitting = pc.fill_null(fitting, False)
        number = pc.sum(fitting).as_py() or 0
        if number and not self.values:
            self.first = pc.min(records.filter(fitting)).as_py()
        self.values += number

    @property
    def number(self) -> str:
        """Returns for example: 12 dates."""
        return numbered(self.values, self.what)

    def sentence(self, can: str) -> str:
        """Returns for example: 12 dates can only be day first (first: record 7)."""
        return f"{self.number} {can} (first: record {self.first:,})"
