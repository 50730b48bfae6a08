"""Looks for words in every byte of a folder: as it is, unpacked, in the pages of Parquet files, and in their values."""

import gzip
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

_CODECS = {"SNAPPY": "snappy", "ZSTD": "zstd", "GZIP": "gzip"}


def places_with(root: Path, words: Sequence[bytes]) -> list[str]:
    """Return the files below a folder that have one of the words, in any case, in content or name."""
    wanted = [word.lower() for word in words]
    found = []
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.is_symlink():
            continue
        name = str(path.relative_to(root))
        seen = next(
            (word for content in (name.encode(), *_contents(path)) for word in wanted if word in content.lower()), None
        )
        if seen is not None:
            found.append(f"{name}: {seen.decode('latin-1')}")
    return found


def _contents(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    yield from _unpacked(content)
    if content[:4] == b"PAR1" and content[-4:] == b"PAR1":
        yield from _of_parquet(path)


def _unpacked(content: bytes) -> Iterator[bytes]:
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield from _unpacked(gzip.decompress(content))
    elif content.startswith(b"\x28\xb5\x2f\xfd"):
        yield from _unpacked(zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read())
    elif content.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from _unpacked(archive.read(name))


def _of_parquet(path: Path) -> Iterator[bytes]:
    """Yield the values of a file as text, its metadata, and each page as it is before compression."""
    file = pq.ParquetFile(path)
    for column in file.read().columns:
        yield str(pc.unique(column).to_pylist()).encode()
    yield str(file.metadata.to_dict()).encode()
    content = path.read_bytes()
    for group in range(file.metadata.num_row_groups):
        for number in range(file.metadata.num_columns):
            column = file.metadata.row_group(group).column(number)
            start = column.data_page_offset
            if column.dictionary_page_offset:
                start = min(start, column.dictionary_page_offset)
            yield from _pages(content, start, start + column.total_compressed_size, _CODECS.get(column.compression))


def _pages(content: bytes, at: int, end: int, codec: str | None) -> Iterator[bytes]:
    while at < end:
        header, at = _struct(content, at)  # 2: the size of the page, 3: the same as it is compressed
        page = content[at : at + header[3]]
        at += header[3]
        yield page
        if codec is not None and header[2]:
            yield pa.Codec(codec).decompress(page, header[2]).to_pybytes()


def _struct(content: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Read a struct of Thrift's compact protocol. Returns its fields, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while content[at]:
        delta, kind = content[at] >> 4, content[at] & 15
        at += 1
        if delta:
            number += delta
        else:
            number, at = _integer(content, at)
        fields[number], at = _value(content, at, kind)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):
        return kind == 1, at
    if kind == 3:
        return content[at], at + 1
    if kind in (4, 5, 6):
        return _integer(content, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        size, at = _unsigned(content, at)
        return content[at : at + size], at + size
    if kind in (9, 10):
        size, of = content[at] >> 4, content[at] & 15
        at += 1
        if size == 15:
            size, at = _unsigned(content, at)
        values = []
        for _ in range(size):
            value, at = _value(content, at, of)
            values.append(value)
        return values, at
    if kind == 12:
        return _struct(content, at)
    raise AssertionError(f"a page has a field of kind {kind}")


def _unsigned(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7


def _integer(content: bytes, at: int) -> tuple[int, int]:
    number, at = _unsigned(content, at)
    return (number >> 1) ^ -(number & 1), at
