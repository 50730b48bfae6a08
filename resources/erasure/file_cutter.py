"""Writes a file anew without some of its records. All else in it stays as it is, as far as its format allows.

A file that was cut is read again and compared: it must have exactly the other records. If it has not, or if the format
cannot be cut, the caller must remove the whole file or leave it.
"""

import gzip
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.erasure.source_search import FoundRecords, has_the_others
from resources.erasure.workbook_cutter import cut_workbook
from resources.packing import pack
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.exports import Packing


class NotExact(Exception):
    """The file cannot be written without the records and with all others."""


@contextmanager
def cut(path: Path, found: FoundRecords, folder: Path) -> Iterator[Path | None]:
    """Yields the file without the found records, under its own name in a folder; None if that is not exact."""
    place = folder / "cut"
    place.mkdir(parents=True, exist_ok=True)
    after = place / path.name
    try:
        yield after if _is_cut(path, after, found, place) else None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _is_cut(path: Path, after: Path, found: FoundRecords, folder: Path) -> bool:
    cutter = _CUTTERS.get(found.form)
    if cutter is None or not found.total or len(found.records) == found.total:
        return False
    try:
        if found.packing is None:
            cutter(path, after, found)
        else:
            plain, left = folder / "plain", folder / "left"
            _unpack(path, plain, found.packing)
            cutter(plain, left, found)
            pack(left, after, Packing(found.packing))
        return has_the_others(path, after, found)
    except (NotExact, InvalidRequest, UnreadableFile, ValueError, OSError, KeyError):
        return False


def _cut_lines(path: Path, after: Path, found: FoundRecords) -> None:
    encoding = found.used.encoding or "utf-8"
    gone: set[int] = set()
    end: int | None = None
    for first, following in found.lines:
        if following is None:
            end = first
        else:
            gone |= set(range(first, following))
    with path.open(encoding=encoding, newline="") as file, after.open("w", encoding=encoding, newline="") as left:
        for number, line in enumerate(file, 1):
            if end is not None and number >= end:
                break
            if number not in gone:
                left.write(line)


def _cut_array(path: Path, after: Path, found: FoundRecords) -> None:
    """Take elements out of an array of objects. The others stay as they are written, with one line each."""
    text = path.read_text("utf-8-sig")
    decoder, elements = json.JSONDecoder(), []
    at = _after(text, 0)
    if text[at : at + 1] != "[":
        raise NotExact
    at = _after(text, at + 1)
    while text[at : at + 1] != "]":
        _, end = decoder.raw_decode(text, at)
        elements.append(text[at:end])
        at = _after(text, end)
        if text[at : at + 1] == ",":
            at = _after(text, at + 1)
        elif text[at : at + 1] != "]":
            raise NotExact
    kept = [element for number, element in enumerate(elements, 1) if number not in found.records]
    after.write_text("[\n" + ",\n".join(kept) + "\n]\n", "utf-8")


def _after(text: str, at: int) -> int:
    """Returns where the white space from a place on ends."""
    found = re.compile(r"[ \t\r\n]*").match(text, at)
    return at if found is None else found.end()


def _cut_parquet(path: Path, after: Path, found: FoundRecords) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    codec = file.metadata.row_group(0).column(0).compression if file.metadata.num_row_groups else "SNAPPY"
    # The metadata are left out: programs keep what they like there, such as an index with values.
    schema, number = file.schema_arrow.remove_metadata(), 0
    with pq.ParquetWriter(after, schema, compression="NONE" if codec == "UNCOMPRESSED" else codec) as left:
        for batch in file.iter_batches():
            kept = [number + at + 1 not in found.records for at in range(batch.num_rows)]
            number += batch.num_rows
            left.write_table(pa.Table.from_batches([batch]).replace_schema_metadata(None).filter(pa.array(kept)))


def _unpack(path: Path, plain: Path, packing: str) -> None:
    with path.open("rb") as file, plain.open("wb") as unpacked:
        if packing == Packing.GZ:
            with gzip.open(file) as packed:
                shutil.copyfileobj(packed, unpacked)
        else:
            import zstandard

            zstandard.ZstdDecompressor().copy_stream(file, unpacked)


_CUTTERS: dict[str, Callable[[Path, Path, FoundRecords], None]] = {
    "delimited": _cut_lines,
    "ndjson": _cut_lines,
    "json": _cut_array,
    "parquet": _cut_parquet,
    "excel": lambda path, after, found: cut_workbook(path, after, {first for first, _ in found.lines}),
}
