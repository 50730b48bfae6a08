"""The ZIP archive of a workbook: parts, their bytes and relationships, and the limits on all of them."""

import codecs
import posixpath
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import BinaryIO
from urllib.parse import unquote
from xml.parsers import expat

from resources.file_reader.archive import ZIP_ERRORS, ZIP_SIGNATURE, DirectoryTooLarge, open_archive
from resources.file_reader.excel.limits import ExcelLimits
from schemas.errors import UnreadableFile

_BLOCK = 64 << 10
DEPTH = 64
_TAGS_OF_A_VALUE = 10
_SMALL_PART = 32 << 20  # styles, the list of sheets and relationships
_RATIO_FROM = 16 << 20  # smaller parts are harmless
_DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml\b[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._-]+)""").match


class Package:
    """The ZIP archive of a workbook. It checks its entries, and counts bytes as they are unpacked."""

    def __init__(self, file: BinaryIO, name: str, limits: ExcelLimits) -> None:
        self.name = name
        self.limits = limits
        self._unpacked = 0
        self._read: dict[str, int] = {}
        file.seek(0)
        magic = file.read(8)
        if magic.startswith(b"\xd0\xcf\x11\xe0"):
            raise self.unreadable(
                "is encrypted or an old .xls", "Save it as an .xlsx workbook without a password and try again."
            )
        if not magic.startswith(ZIP_SIGNATURE):
            raise self.unreadable("is not an Excel workbook", "Save it as .xlsx.")
        self._size = file.seek(0, 2)
        try:
            self._zip = open_archive(file, limits.directory_bytes)
        except DirectoryTooLarge as error:
            raise self.unreadable(f"has a ZIP directory of more than {limits.directory_bytes:,} bytes") from error
        except ZIP_ERRORS as error:
            raise self._damaged("the ZIP archive", error) from error
        try:
            self._entries = self._checked_entries()
        except BaseException:
            self._zip.close()
            raise

    def _checked_entries(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > self.limits.entries:
            raise self.unreadable(f"has {len(infos):,} parts, more than {self.limits.entries:,}")
        entries: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            part = info.orig_filename
            if "\\" in part or "\0" in part or ":" in part or part.startswith("/") or ".." in part.split("/"):
                raise self.unreadable(f"has a part with the unsafe name {part[:200]!r}")
            if part.casefold() in entries:
                raise self.unreadable(f"has more than one part {part[:200]!r}, and programs disagree which one counts")
            entries[part.casefold()] = info
        return entries

    def close(self) -> None:
        """Closes the archive."""
        self._zip.close()

    def find(self, part: str) -> str | None:
        """Returns the name under which the package has this part, or None."""
        for name in (part, unquote(part)):
            if name.casefold() in self._entries:
                return name
        return None

    def blocks(self, part: str, most: int) -> Iterator[bytes]:
        """Yields the bytes of a part, and at the end checks their CRC."""
        info = self._entries[part.casefold()]
        if info.flag_bits & 0x1:
            raise self.unreadable(f"has the encrypted part {part}", "Save it without a password and try again.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.unreadable(f"has the part {part} in a compression that Excel does not use")
        packed = max(1, min(info.compress_size, self._size))
        size = 0
        try:
            with self._zip.open(info) as stream:
                while block := stream.read(_BLOCK):
                    size += len(block)
                    self._read[part] = size
                    self._unpacked += len(block)
                    if size > most or self._unpacked > self.limits.unpacked_bytes:
                        raise self.unreadable(f"unpacks to more than {min(most, self.limits.unpacked_bytes):,} bytes")
                    if size > _RATIO_FROM and size > packed * self.limits.ratio:
                        raise self.unreadable(f"is a ZIP bomb: {part} unpacks to {self.limits.ratio:,} times its size")
                    yield block
        except ZIP_ERRORS as error:
            raise self._damaged(part, error) from error

    def share_read(self, part: str) -> float:
        """Returns the share of a part that has been read, from 0 to 1, by the size that the archive declares."""
        return self._read.get(part, 0) / max(1, self._entries[part.casefold()].file_size)

    def utf8_blocks(self, part: str, most: int) -> Iterator[bytes]:
        """Yields the bytes of a part in UTF-8, whichever encoding of XML it has."""
        blocks = self.blocks(part, most)
        first = next(blocks, b"")
        declared = _DECLARED(first)
        encoding = declared[1].decode().lower() if declared else "utf-8"
        if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
            encoding = "utf-16"
        elif first[:2] in (b"<\0", b"\0<"):
            encoding = "utf-16-le" if first[1] == 0 else "utf-16-be"
        if encoding not in ("us-ascii", "iso-8859-1", "utf-16", "utf-16-le", "utf-16-be"):
            yield first
            yield from blocks
            return
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            yield decoder.decode(first).encode()
            for block in blocks:
                yield decoder.decode(block).encode()
            yield decoder.decode(b"", True).encode()
        except UnicodeError as error:
            raise self.unreadable(f"is damaged: {part} is not XML: not {encoding}", DAMAGED) from error

    def parse(self, part: str, parser: expat.XMLParserType, most: int) -> Iterator[None]:
        """Feeds a part to the parser, and yields after each block."""
        feed = Feed(self, part, parser)
        for block in self.blocks(part, most):
            feed(block)
            yield
        feed.end()
        yield

    def parse_small(self, part: str, start: Callable[[str, dict[str, str], str], None], root: str) -> None:
        """Parses a small part. `start` gets the elements in the root's namespace.

        It gets the local name, the attributes, and the section: the outermost such element below the root.
        """
        depth = section_depth = 0
        own = section = ""

        def started(name: str, attributes: dict[str, str]) -> None:
            nonlocal depth, own, section, section_depth
            depth += 1
            namespace, _, local = name.rpartition(" ")
            if depth == 1:
                own = namespace
            if depth == 1 and local != root:
                raise self.unreadable(f"is not an Excel workbook: {part} holds a <{local[:50]}>", "Save it as .xlsx.")
            if depth > DEPTH:
                raise self.unreadable(f"is nested more than {DEPTH} deep in {part}")
            if namespace == own:
                if depth > 1 and not section:
                    section, section_depth = local, depth
                start(local, attributes, section)

        def ended(_: str) -> None:
            nonlocal depth, section
            if depth == section_depth:
                section = ""
            depth -= 1

        parser = expat.ParserCreate(None, " ")
        parser.StartElementHandler = started
        parser.EndElementHandler = ended
        for _ in self.parse(part, parser, _SMALL_PART):
            pass

    def relationships(self, part: str) -> list[tuple[str, str, str]]:
        """Returns the id, the last word of the type, and the part of every relationship inside the package."""
        folder, _, base = part.rpartition("/")
        rels = self.find(posixpath.join(folder, "_rels", base + ".rels"))
        found: list[tuple[str, str, str]] = []

        def start(name: str, attributes: dict[str, str], _: str) -> None:
            if len(found) > self.limits.entries:
                raise self.unreadable(f"has more than {self.limits.entries:,} links in {rels}")
            if name == "Relationship" and attributes.get("TargetMode", "Internal") == "Internal":
                target = posixpath.normpath(posixpath.join("/", folder, attributes.get("Target", ""))).lstrip("/")
                kind = attributes.get("Type", "").rpartition("/")[2]
                found.append((attributes.get("Id", ""), kind, self.find(target) or ""))

        if rels is not None:
            self.parse_small(rels, start, "Relationships")
        return found

    def _damaged(self, what: str, error: Exception) -> UnreadableFile:
        return self.unreadable(f"is damaged: {what} cannot be unpacked: {error}", DAMAGED)

    def unreadable(
        self, why: str, hint: str = "Nothing was read from it. Save it again in Excel.", quoted: str = ""
    ) -> UnreadableFile:
        """Returns the refusal of the file: `why` follows its name."""
        return UnreadableFile(f"{self.name} {why}.", hint, quoted)


DAMAGED = "Nothing was read from it. Send the file again, or open it in Excel and save it."


class Feed:
    """Feeds a parser with a part, or with pieces of one. Document types and entities are refused.

    The owner counts in `values` the values that came of it.
    """

    def __init__(self, package: Package, part: str, parser: expat.XMLParserType, tag_bytes: int | None = None) -> None:
        self._package, self._part, self.parser = package, part, parser
        self._tag_bytes = tag_bytes or package.limits.tag_bytes
        self._fed = self._tags = self.values = 0
        parser.StartDoctypeDeclHandler = lambda *_: self._forbid("a document type (DOCTYPE)")
        parser.EntityDeclHandler = lambda *_: self._forbid("an entity")
        parser.XmlDeclHandler = lambda _, encoding, __: self._check_encoding(encoding)
        parser.buffer_text = True

    def __call__(self, data: bytes) -> None:
        """Parses the next bytes."""
        for start in range(0, len(data), _BLOCK):
            block = data[start : start + _BLOCK]
            try:
                self.parser.Parse(block)
            except expat.ExpatError as error:
                raise self._no_xml(error) from error
            self._fed += len(block)
            if self._fed - max(0, self.parser.CurrentByteIndex) > self._tag_bytes:
                raise self._package.unreadable(
                    f"has a tag or comment of more than {self._tag_bytes:,} bytes in {self._part}"
                )
            self._tags += block.count(b"<")
            if self._tags - _TAGS_OF_A_VALUE * self.values > self._package.limits.idle_tags:
                raise self._package.unreadable(
                    f"has more than {self._package.limits.idle_tags:,} tags without a value in {self._part}"
                )

    def end(self) -> None:
        """Ends the input. Every element must have ended."""
        try:
            self.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise self._no_xml(error) from error

    def _no_xml(self, error: expat.ExpatError) -> UnreadableFile:
        why = expat.errors.messages[error.code] if error.code in expat.errors.messages else str(error)
        return self._package.unreadable(f"is damaged: {self._part} is not XML: {why}", DAMAGED)

    def _forbid(self, what: str) -> None:
        raise self._package.unreadable(f"declares {what} in {self._part}. No Excel workbook does that")

    def _check_encoding(self, encoding: str | None) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf-16", "us-ascii", "iso-8859-1"):
            raise self._package.unreadable(
                f"has an encoding that Excel does not use, in {self._part}", quoted=f"It says {encoding[:50]!r}."
            )
