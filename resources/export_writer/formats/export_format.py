"""`ExportFormat`: everything that the rest of the code asks of an output format."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from resources.export_writer.plan import ExportPlan
from resources.record_store.export_source import ExportSource
from schemas.exports import ExportManifest, ExportRequest

OPTIONS = {
    "packing": "packing",
    "encoding": "other encodings",
    "delimiter": "other delimiters",
    "sheet_rows": "sheets",
}
"""The fields of a request that only some formats support, and how messages call them."""


Placed = Callable[[int], None]
"""Called while a file is put together, with the number of records that are in it."""


class ExportFormat(ABC):
    """One output format: it writes parts, puts them together, reads the file back, and states its limits.

    A part is a range of the records, written by one step. Parts need not have the file's own format: Excel files are
    made from parts in Parquet.
    """

    name: ClassVar[str]
    """The name of the format in the command, in Dagster, in `exports.yaml` and in the manifest."""

    suffixes: ClassVar[tuple[str, ...]]
    """File name endings of the format. New files get the first one."""

    options: ClassVar[frozenset[str]] = frozenset()
    """The fields of a request that this format supports, out of `OPTIONS`."""

    part_rows: ClassVar[int] = 250_000
    """The most records of a part, so that sorting and writing two parts at once stays within the memory limit.

    Smaller parts are slower if the ranges of the store's files overlap: each part then reads all of them.
    """

    file_ratio: ClassVar[float] = 1.1
    """The estimated size of the file, as a multiple of the size of the same records as text."""

    part_ratio: ClassVar[float] = 1.1
    """The estimated size of all parts and of other temporary files, as the same kind of multiple."""

    joins_early: ClassVar[bool] = False
    """Whether parts are put together while later parts are still being written.

    It saves time and disk space. It is not for formats that encode the records again: that needs memory of its own.
    """

    @property
    def suffix(self) -> str:
        """The file name ending of new files."""
        return self.suffixes[0]

    def file_name(self, request: ExportRequest) -> str:
        """Return the name of a file for which the request gives none."""
        packed = "" if request.packing is None else f".{request.packing.value}"
        return f"{request.record_type}{self.suffix}{packed}"

    def checked(self, request: ExportRequest) -> ExportRequest:
        """Return the request as this format carries it out. Raises InvalidRequest for a wrong value of an option."""
        return request

    def text_bytes(self, columns: Sequence[str], value_bytes: float) -> float:
        """Estimate the size of one record as text, from the size of its values.

        Quotes and the delimiter take up to three bytes per column.
        """
        return value_bytes + 3 * len(columns)

    @abstractmethod
    def write_part(self, plan: ExportPlan, number: int, source: ExportSource, path: Path) -> int:
        """Write the records of a part to the path, and return how many there are.

        Temporary files may lie beside it if their names begin with the name of the path.
        Raises RecordsError, naming column and record, for a value that the format cannot hold.
        """

    @abstractmethod
    def assemble(self, plan: ExportPlan, parts: Iterator[Path], path: Path, placed: Placed | None = None) -> str:
        """Write the file from its parts, and return its SHA-256. What `placed` raises ends the work.

        The parts come in order. If the format joins early, each part may be deleted when the next one is asked for.
        """

    @abstractmethod
    def read_back(self, path: Path, manifest: ExportManifest) -> int:
        """Read every record of a published file, and return how many there are.

        Raises RecordsError or duckdb.Error if the file cannot be read.
        """


def each_placed(plan: ExportPlan, parts: Iterator[Path], placed: Placed | None) -> Iterator[Path]:
    """Yield the parts, and report each one when the next is asked for."""
    for number, part in enumerate(parts):
        yield part
        if placed is not None:
            placed(plan.rows_before(number + 1))
