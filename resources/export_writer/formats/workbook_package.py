"""The ZIP archive of a workbook: how a custom property is added to it."""

from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import escape, quoteattr
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

_BLOCK = 1 << 20
_PART = "docProps/custom.xml"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
_ADDED = {
    "[Content_Types].xml": (
        f'<Override PartName="/{_PART}" ContentType="application/vnd.openxmlformats-officedocument'
        '.custom-properties+xml"/></Types>'
    ),
    "_rels/.rels": (
        f'<Relationship Id="rIdCustom" Type="{_OFFICE}/relationships/custom-properties" Target="{_PART}"/>'
        "</Relationships>"
    ),
}
"""What the end of a part becomes, so that the archive names its new part."""
_PROPERTIES = (
    f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n<Properties xmlns="{_OFFICE}/custom-properties" '
    f'xmlns:vt="{_OFFICE}/docPropsVTypes"><property fmtid="{{{{D5CDD505-2E9C-101B-9397-08002B2CF9AE}}}}" pid="2" '
    "name={name}><vt:lpwstr>{value}</vt:lpwstr></property></Properties>"
)


def write_with_property(source: Path, target: Path, name: str, value: str) -> None:
    """Write a copy of a workbook that has no custom property, with this one. Its sheets are not packed anew."""
    with ZipFile(source) as old, source.open("rb") as packed, ZipFile(target, "w", ZIP_DEFLATED) as new:
        parts = sorted(old.infolist(), key=lambda part: part.header_offset)
        ends = [*(part.header_offset for part in parts[1:]), old.start_dir]
        for part, end in zip(parts, ends, strict=True):
            added = _ADDED.get(part.filename)
            if added is None:
                _copy(packed, part, end - part.header_offset, new)
            else:
                head, _, _ = old.read(part).decode().rpartition("</")
                new.writestr(_part(part.filename), head + added)
        new.writestr(_part(_PART), _PROPERTIES.format(name=quoteattr(name), value=escape(value)))


def _part(name: str) -> ZipInfo:
    """Returns a part with the time of all others, which is 1980."""
    part = ZipInfo(name)
    part.compress_type = ZIP_DEFLATED
    return part


def _copy(packed: BinaryIO, part: ZipInfo, size: int, archive: ZipFile) -> None:
    """Append a part of another archive: its header and packed bytes. zipfile itself would pack it anew."""
    if archive.fp is None:
        raise ValueError("the archive is closed")
    packed.seek(part.header_offset)
    archive.fp.seek(archive.start_dir)
    part.header_offset = archive.start_dir
    archive.start_dir += size
    while size:
        block = packed.read(min(size, _BLOCK))
        archive.fp.write(block)
        size -= len(block)
    archive.filelist.append(part)
    archive.NameToInfo[part.filename] = part
