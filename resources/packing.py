"""Packs files with gzip or Zstandard. The same input gives the same output, without a name or time in it."""

import zlib
from pathlib import Path
from typing import Protocol

from schemas.exports import Packing

_BLOCK = 1 << 20
_GZIP_LEVEL, _ZSTD_LEVEL = 6, 3


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes:
        """Return the next bytes of the packed file."""

    def flush(self) -> bytes:
        """Return the last bytes of the packed file."""


def pack(source: Path, target: Path, packing: Packing) -> None:
    """Write the source to the target, packed."""
    packer = _packer(packing)
    with source.open("rb") as file, target.open("wb") as output:
        while data := file.read(_BLOCK):
            output.write(packer.compress(data))
        output.write(packer.flush())


def packed(data: bytes, packing: Packing | None) -> bytes:
    """Return the bytes as a packed file; unchanged if `packing` is None. Packed files can be joined to one file."""
    if packing is None:
        return data
    packer = _packer(packing)
    return packer.compress(data) + packer.flush()


def _packer(packing: Packing) -> _Packer:
    if packing is Packing.GZ:
        return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    import zstandard

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj()
