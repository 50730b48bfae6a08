"""The texts that cells share.

Expat reads the whole part. Arrow delivers plain texts, a megabyte at once, and expat is their cross-check: both must
have the same characters in the same order, and as many texts as there are tags.
"""

import re
from collections.abc import Iterator
from xml.parsers import expat

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.file_reader.excel.cutter import Piece, cut
from resources.file_reader.excel.limits import ExcelLimits
from resources.file_reader.excel.package import DAMAGED, DEPTH, Feed, Package
from resources.file_reader.excel.text_spool import TextSpool
from resources.file_reader.excel.texts import ESCAPE, decode, resolve

_ROOT = re.compile(rb"<sst[\s>][^<]*?>").search
_TAG = re.compile(rb"<si[\s/>]").findall
_PLAIN = r'^<si><t(?: xml:space="preserve")?>(?P<text>[^<\x00-\x08\x0b-\x1f]*)</t>$'
_LOOK = 1 << 20


class SharedStrings:
    """All shared texts of a workbook, by number. `longest` is the size of the longest in bytes."""

    def __init__(self, spool: TextSpool, has_empty: bool, longest: int) -> None:
        self._spool, self.texts = spool, spool.texts()
        self.has_empty, self.longest = has_empty, longest

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self.texts)

    def text(self, number: int) -> str:
        """Returns a text. Raises IndexError if there is none of that number."""
        if not 0 <= number < len(self):
            raise IndexError
        found: str = self.texts[number].as_py()
        return found

    def bytes_of(self, numbers: pa.Array) -> int:
        """Returns the bytes of these texts together. A null counts nothing."""
        ends = np.frombuffer(self.texts.buffers()[1], np.int32)
        places = numbers.drop_null().to_numpy()
        return int((ends[places + 1] - ends[places]).sum(dtype=np.int64))

    def forget(self) -> None:
        """Frees the memory of the texts that were read."""
        self._spool.forget()


def read_shared_strings(package: Package, part: str, limits: ExcelLimits) -> SharedStrings:
    """Returns the texts of a part, without formatting and phonetic guides; no texts if the part is ''."""
    spool = TextSpool()
    if not part:
        return SharedStrings(spool, False, 0)
    parser = _TextParser(package, part, limits, spool)
    try:
        parser.read()
    except BaseException:
        spool.close()
        raise
    return SharedStrings(spool, parser.has_empty, parser.longest)


class _TextParser:
    def __init__(self, package: Package, part: str, limits: ExcelLimits, spool: TextSpool) -> None:
        self._package, self._part, self._limits, self._spool = package, part, limits, spool
        self.has_empty = False
        self.longest = 0
        self._texts: list[str] = []  # complete, by expat
        self._characters: list[str] = []
        self._count = 0
        self._depth = 0
        self._feed = Feed(package, part, expat.ParserCreate("utf-8"))
        self._handle(self._feed.parser)

    def read(self) -> None:
        """Reads the whole part."""
        blocks = self._package.utf8_blocks(self._part, self._limits.unpacked_bytes)
        start = b""
        for block in blocks:
            start += block
            root = _ROOT(start)
            if root or len(start) > _LOOK:
                break
        if root := _ROOT(start):
            self._parse(start[: root.end()])
            start = start[root.end() :]
        if root and self._depth == 1:
            for piece in cut(self._package, self._part, start, blocks, b"si", b"sst", self._limits.element_bytes):
                self._deliver(piece)
                start = piece.rest
        self._parse(start)
        for block in blocks:
            self._parse(block)
        self._feed.end()
        self._keep()

    def _deliver(self, piece: Piece) -> None:
        texts = None if piece.has_markup or b"\r" in piece.data else _plain_texts(piece.data)
        if texts is None:
            self._parse(piece.data)
            return
        self._keep()
        parser = self._feed.parser
        before = parser.StartElementHandler, parser.EndElementHandler
        by_expat: list[str] = []
        parser.StartElementHandler = parser.EndElementHandler = None
        parser.CharacterDataHandler = by_expat.append
        self._feed(piece.data)
        parser.StartElementHandler, parser.EndElementHandler = before
        parser.CharacterDataHandler = None
        below = piece.data[piece.data.rfind(b">") + 1 :].decode()  # white space below the last text
        if "".join(by_expat) != "".join(texts.to_pylist()) + below or len(texts) != len(_TAG(piece.data)):
            raise self._package.unreadable(
                f"can be read in two ways: its shared texts near number {self._count + 1:,}", DAMAGED
            )
        if pc.any(pc.match_substring(texts, "_x")).as_py():
            texts = pa.array(map(decode, texts.to_pylist()), pa.string())
        longest = pc.utf8_length(texts)
        too_long = pc.index(pc.greater(longest, self._limits.cell_characters), True).as_py()
        if too_long >= 0:
            raise self._too_long(self._count + too_long + 1)
        self._append(texts)

    def _parse(self, data: bytes) -> None:
        for start in range(0, len(data), _LOOK):
            self._feed(data[start : start + _LOOK])
            self._check_open()
        if len(self._texts) > 50_000:
            self._keep()

    def _keep(self) -> None:
        """Stores the texts that expat has delivered."""
        if self._texts:
            count, self._count = self._count, self._count - len(self._texts)
            self._append(pa.array(self._texts, pa.string()))
            self._texts.clear()
            self._count = count

    def _append(self, texts: pa.Array) -> None:
        self._count += len(texts)
        if self._spool.size + texts.nbytes > self._limits.shared_string_bytes:
            raise self._package.unreadable(
                f"has more than {self._limits.shared_string_bytes:,} bytes of shared strings"
            )
        lengths = pc.binary_length(texts)
        filled = pc.sum(pc.greater(lengths, 0)).as_py() or 0
        self.has_empty |= filled < len(texts)
        self.longest = max(self.longest, pc.max(lengths).as_py() or 0)
        self._feed.values += filled
        self._spool.put(texts)

    def _check_open(self) -> None:
        if sum(map(len, self._characters)) > self._limits.cell_characters * ESCAPE:
            raise self._too_long(self._count + 1)

    def _too_long(self, number: int) -> Exception:
        return self._package.unreadable(
            f"has a text of more than {self._limits.cell_characters:,} characters (shared string {number:,})",
            "Shorten it.",
        )

    def _handle(self, parser: expat.XMLParserType) -> None:
        names: dict[str, str] = {}
        phonetic = 0  # the depth of the guide that is open, 0 for none
        characters = self._characters

        def start(name: str, _: dict[str, str]) -> None:
            nonlocal phonetic
            self._depth += 1
            if name not in names:
                names[name] = name.rpartition(":")[2]
            local = names[name]
            if self._depth == 1 and local != "sst":
                raise self._package.unreadable(f"is damaged: {self._part} does not hold texts", DAMAGED)
            if self._depth > DEPTH:
                raise self._package.unreadable(f"is nested more than {DEPTH} deep in {self._part}")
            if local == "si":
                if self._depth != 2:
                    raise self._package.unreadable(f"has shared strings inside one another in {self._part}")
                characters.clear()
            elif local == "rPh" and not phonetic:
                phonetic = self._depth
            elif local == "t" and not phonetic:
                parser.CharacterDataHandler = characters.append

        def end(name: str) -> None:
            nonlocal phonetic
            local = names[name]
            if local == "t":
                parser.CharacterDataHandler = None
            elif local == "si":
                self._check_open()
                self._texts.append(text := decode("".join(characters)))
                self._count += 1
                if len(text) > self._limits.cell_characters:
                    raise self._too_long(self._count)
                characters.clear()
            if self._depth == phonetic:
                phonetic = 0
            self._depth -= 1

        parser.StartElementHandler = start
        parser.EndElementHandler = end


def _plain_texts(data: bytes) -> pa.Array | None:
    """Returns the texts of elements in the form that most programs write; None if one is not."""
    elements = pc.split_pattern(pa.array([data], pa.binary()), "</si>").values
    if len(elements) < 2 or elements[-1].as_py().strip():
        return None
    texts = pc.extract_regex(elements[:-1], _PLAIN)
    if texts.null_count:
        return None
    return resolved(pc.struct_field(texts, "text"))


def resolved(texts: pa.Array) -> pa.Array | None:
    """Returns XML text with its references resolved; None if it is not valid text."""
    try:
        texts = texts.cast(pa.string())
    except pa.ArrowInvalid:
        return None
    with_references = pc.match_substring(texts, "&")
    if not pc.any(with_references).as_py():
        return texts
    each: Iterator[str | None] = map(resolve, texts.filter(with_references).to_pylist())
    replaced = pa.array(each, pa.string())
    return None if replaced.null_count else pc.replace_with_mask(texts, with_references, replaced)
