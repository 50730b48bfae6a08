"""The encoding of a text: certain by a mark or by its structure, else the likeliest by the alphabets of languages."""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from schemas.counts import numbered
from schemas.errors import InvalidRequest, UnreadableFile

_BLOCK = 1 << 20
_SAMPLE_BYTES = 200_000
"""How many bytes of lines that are not ASCII decide which encoding is likeliest."""
_SHOWN = 3
"""How many bad bytes an error names."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, for its mark begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_PRESENT = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "cp932", "euc_jp", "gb18030", "big5", "cp949")
_FORMER = ("mac_roman", "cp850", "cp852", "cp866", "koi8_r", "cp1255", "cp1256")
_CANDIDATES = (*_PRESENT, *_FORMER)
"""The encodings to choose from: those that programs write today before those of former systems."""
_SEQUENCES = {
    "iso2022_jp": (b"\x1b$B", b"\x1b$@"),
    "iso2022_jp_ext": (b"\x1b$", b"\x1b(I"),
    "iso2022_kr": (b"\x1b$)C",),
    "hz": (b"~{",),
}
"""The sequences with which encodings of mail begin other characters. All bytes of such a text are ASCII."""
ASCII_BYTES = ("utf-7", *_SEQUENCES)
"""Those in which every byte is ASCII."""
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257", "latin-1", "mac_roman", "cp850", "cp852")
"""Those of Latin letters alone."""
_ONE_BYTE = {*_CANDIDATES, "latin-1"} - {"cp932", "euc_jp", "gb18030", "big5", "cp949"}
"""Those in which each byte is a character."""

_ALPHABETS = (
    "áéíóúüñ",  # Spanish
    "àâæçéèêëîïôœùûüÿ",  # French
    "äöüßé",  # German
    "áâãàçéêíóôõúü",  # Portuguese
    "àèéìíîòóùú",  # Italian
    "àçèéíïòóúü",  # Catalan
    "åäöé",  # Swedish, Finnish
    "æøåéü",  # Danish, Norwegian
    "éëïèêöüáó",  # Dutch
    "áðéíóúýþæö",  # Icelandic
    "áčďéěíňóřšťúůýž",  # Czech
    "áäčďéíĺľňóôŕšťúýž",  # Slovak
    "ąćęłńóśźż",  # Polish
    "áéíóöőúüű",  # Hungarian
    "ăâîşţșț",  # Romanian
    "čćđšž",  # Croatian, Slovenian, Bosnian
    "çğıöşüâîû",  # Turkish
    "ąčęėįšųūž",  # Lithuanian
    "āčēģīķļņšūž",  # Latvian
    "äõöüšž",  # Estonian
    "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",  # Russian
    "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",  # Ukrainian
    "абвгдежзийклмнопрстуфхцчшщъьюя",  # Bulgarian
    "абвгдђежзијклљмнњопрстћуфхцчџш",  # Serbian
    "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ",  # Greek
    "אבגדהוזחטיךכלםמןנסעףפץצקרשת",  # Hebrew
    "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىي",  # Arabic
)
"""The letters of languages that are not ASCII, in lower case."""

_WITHIN_WORDS = "\u2019\u00b7"
"""Signs that stand between two letters: the apostrophe, and the raised dot of Catalan."""


_LONGEST_CHARACTER = 4
_ENDS_A_WORD = re.compile(rb"[a-z][\xe0-\xf4]$")
"""The last letter of a word in several encodings, such as é. In UTF-8 a character begins with that byte."""
_OR_OTHER = "If it is not UTF-8, name its encoding (--encoding)."
_MOST_CANDIDATES = 4
"""How many encodings a user chooses from."""


@dataclass(frozen=True)
class Encoding:
    """The name of a codec, and how certain it is, in words.

    candidates: the likeliest encodings, each with another text, if only the letters of the file speak for one of them.
    alike: for each candidate other encodings in which the file has the same text.
    contrary: the candidate for which the letters clearly speak, if another one comes first.
    """

    name: str
    sure: str
    candidates: tuple[str, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()
    contrary: str | None = None

    @property
    def sentence(self) -> str:
        """Returns why a user must choose one of the candidates."""
        if self.name in ASCII_BYTES:
            return f"Every byte of the file is ASCII, and it has sequences of {self.name.upper()}."
        contrary = f" Its letters speak for {self.contrary}, not for {self.name}." if self.contrary else ""
        return f"The file is not UTF-8, and its bytes are text in several encodings.{contrary}"


def check_encoding(name: str) -> str:
    """Returns the name of a text codec. Raises InvalidRequest if there is none of that name."""
    try:
        if not codecs.lookup(name)._is_text_encoding:
            raise LookupError
    except (LookupError, ValueError):
        raise InvalidRequest(
            f"There is no encoding {name!r}.", "Name one such as utf-8, utf-16, cp1252, latin-1 or shift_jis."
        ) from None
    return name


def detect_encoding(file: BinaryIO, name: str, first: str | None = None) -> Encoding:
    """Returns the encoding of a file: by its byte order mark, as UTF-8 if every byte is, else the likeliest.

    first: the encoding that is likeliest for other reasons. It is then the first candidate, if the file can be in it.

    Raises UnreadableFile for UTF-8 with a few other bytes. To read it as anything else would change most of its texts.
    """
    file.seek(0)
    sample = file.read(_BLOCK)
    for mark, codec in _BOMS:
        if sample.startswith(mark):
            return Encoding(codec, "certain, by its byte order mark")
    _require_one_encoding(sample, name)
    is_utf8 = _is_utf8(file)
    if wide := _wide(sample):
        if is_utf8 and sample.count(0) <= len(sample) // 8:
            wide.append("utf-8")
        if len(wide) > 1:
            return Encoding(wide[0], "proposed, by its NUL bytes", tuple(wide))
        return Encoding(wide[0], "certain: only so its NUL bytes are part of lines of text")
    for codec, signs in _SEQUENCES.items():
        if is_utf8 and any(sign in sample for sign in signs) and _file_decodes(file, codec):
            return Encoding(codec, "proposed, by its escape sequences", (codec, "utf-8"))
    if is_utf8 and _is_utf7(file, sample):
        return Encoding("utf-7", "proposed, by sequences such as +AGE-", ("utf-7", "utf-8"))
    if is_utf8:
        return Encoding("utf-8", "certain: every byte of it is UTF-8")
    _require_undamaged(file, name)
    return _likeliest(file, first)


def _likeliest(file: BinaryIO, first: str | None) -> Encoding:
    """Returns the likeliest encodings of a file that is not UTF-8, one for each text that it can have."""
    earlier = [first] if first else []
    usual = [*earlier, *_CANDIDATES, "latin-1"]
    sample = _sample(file)
    ranked = rank(sample)
    groups = [sorted(group, key=usual.index) for group in _groups(file, dict.fromkeys([*earlier, *ranked, *usual]))]
    candidates = tuple(group[0] for group in groups[:_MOST_CANDIDATES])
    alike = tuple(
        tuple(it for it in group if it in _LATIN or name not in _LATIN) for name, *group in groups[: len(candidates)]
    )
    likeliest = next((group[0] for group in groups[1:] if ranked and ranked[0] in group), None)
    contrary = likeliest if likeliest and _is_clearer(sample, ranked[0], candidates[0]) else None
    return Encoding(candidates[0], "proposed: it is not UTF-8", candidates, alike, contrary)


def _is_clearer(sample: bytes, name: str, other: str) -> bool:
    """Returns whether the letters of a text speak clearly for one encoding against another."""
    letters = sum(not it.isascii() and it.isalpha() for it in sample.decode(name))
    return letters >= _ENOUGH and _likelihood(sample.decode(name), name) >= _CLEARLY + (
        _likelihood(sample.decode(other), other) if _decodes(sample, other, final=True) else 0.0
    )


def _is_utf7(file: BinaryIO, sample: bytes) -> bool:
    """Returns whether a file of ASCII has sequences of UTF-7, which are letters, and no other plus sign."""
    found = {*_UTF_7.findall(sample)}
    if not found or not sample.isascii() or not _file_decodes(file, "utf-7"):
        return False
    texts = [it.decode("utf-7") for it in found if it != b"+-"]
    return any(text.isalpha() for text in texts) and all(
        it.isascii() or _is_sign(it) or _alphabets_with(it.lower()[:1]) or 0x3040 <= ord(it) <= 0x9FFF
        for it in "".join(texts)
    )


def _wide(sample: bytes) -> list[str]:
    """Returns the encodings of two or four bytes a character in which a text with NUL bytes has lines and no NUL.

    The bytes of "a" in one of them are those of another character in the other one: only line ends tell which is right.
    """
    sample = sample[: len(sample) // 4 * 4] if len(sample) == _BLOCK else sample
    fitting = [codec for codec in _WIDE if 0 in sample and _decodes(sample, codec, final=False)]
    return [codec for codec in fitting if {"\n", "\r"} & {*sample.decode(codec, "ignore")}]


def _groups(file: BinaryIO, codecs_: Iterable[str]) -> list[list[str]]:
    """Returns the codecs in which the whole file can be. Those that give it the same text are together."""
    used = bytes(byte for byte in _used_bytes(file) if byte > 0x7F)
    groups: dict[str, list[str]] = {}
    for codec in codecs_:
        if codec in _ONE_BYTE:
            if _decodes(used, codec, final=True):
                groups.setdefault(used.decode(codec), []).append(codec)
        elif len(groups) < _MOST_CANDIDATES and _file_decodes(file, codec):
            groups[codec] = [codec]
    return [*groups.values()]


def _used_bytes(file: BinaryIO) -> list[int]:
    """Returns the different bytes of a file, ascending."""
    counts = np.zeros(256, np.int64)
    file.seek(0)
    while block := file.read(_BLOCK):
        counts += np.bincount(np.frombuffer(block, np.uint8), minlength=256)
    used: list[int] = np.flatnonzero(counts).tolist()
    return used


def rank(sample: bytes) -> list[str]:
    """Returns the encodings in which a text that is not UTF-8 can be, the likeliest first.

    An encoding is likely if nearly all letters that are not ASCII belong to the alphabet of one language. Capital
    letters inside words, and signs inside words, speak against it.
    """
    scores = {it: _likelihood(sample.decode(it), it) for it in _CANDIDATES if _decodes(sample, it, final=True)}
    best = max(scores.values(), default=0.0)
    alike = [it for it in scores if scores[it] >= best - _ALIKE]
    if len(sample) - len(sample.decode("ascii", "ignore")) >= _MANY_BYTES:
        alike = [it for it in alike if not any(smaller in alike for smaller in _SMALLER.get(it, ()))]
    ranked = _by_frequency(sample, alike)
    others = sorted(scores.keys() - {*alike}, key=lambda it: (-scores[it], _CANDIDATES.index(it)))
    present = max((scores[it] for it in alike if it in _PRESENT and it not in _EAST_ASIAN), default=0.0)
    return [*sorted(ranked, key=lambda it: it in _FORMER and scores[it] <= present), *others]


def _by_frequency(sample: bytes, names: list[str]) -> list[str]:
    """Returns encodings that fit alike, as a library ranks them by the frequency of pairs of letters."""
    if len(names) < 2:
        return names
    import chardet  # only here, for few files need it

    among = [it.replace("_", "-") for it in names]
    found = chardet.detect_all(sample, ignore_threshold=True, include_encodings=among, no_match_encoding=among[0])
    ranked = [codecs.lookup(each["encoding"]).name for each in found if each["encoding"] is not None]

    def place(codec: str) -> tuple[int, int]:
        known = codecs.lookup(codec).name
        return ranked.index(known) if known in ranked else len(ranked), _CANDIDATES.index(codec)

    return sorted(names, key=place)


def _likelihood(text: str, codec: str) -> float:
    """Returns from 0 to 1 how many characters that are not ASCII are as expected in a text of one language."""
    expected = _EAST_ASIAN.get(codec)
    return _in_an_alphabet(text) if expected is None else _in_a_character_set(text, *expected)


def _in_an_alphabet(text: str) -> float:
    known = [0] * len(_ALPHABETS)
    letters = odd = 0
    for before, character, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if character.isascii():
            continue
        if _is_sign(character):
            odd += before.isalpha() and after.isalpha() and character not in _WITHIN_WORDS
        elif not character.isalpha():
            odd += 1
        else:
            letters += 1
            is_inside = before.isalpha() and before.islower()
            if character.isupper() and is_inside:
                continue
            if character >= "\u0370" and any(it.isascii() and it.isalpha() for it in (before, after)):
                continue  # a letter of another script inside a word of Latin letters
            for alphabet in _alphabets_with(character.lower()[:1]):
                known[alphabet] += 1
    return max(known) / (letters + odd) if letters else float(not odd)


@cache
def _is_sign(character: str) -> bool:
    """Returns whether it is punctuation, a symbol or a number, and no line of a drawing."""
    return unicodedata.category(character)[0] in "PSNZ" and not "\u2500" <= character <= "\u25ff"


@cache
def _alphabets_with(letter: str) -> tuple[int, ...]:
    return tuple(number for number, letters in enumerate(_ALPHABETS) if letter in letters)


_EAST_ASIAN = {
    "cp932": ("euc_jp", 0xB0, 0xCF, "ぁヿ"),
    "euc_jp": ("euc_jp", 0xB0, 0xCF, "ぁヿ"),
    "gb18030": ("gb2312", 0xB0, 0xD7, ""),
    "big5": ("big5", 0xA4, 0xC6, ""),
    "cp949": ("euc_kr", 0xB0, 0xC8, ""),
}
"""For an encoding: a character set, the rows of its frequent characters, and a range of others.

The sets are JIS X 0208, GB 2312, Big5 and KS X 1001. Each has its frequent characters in rows of their own.
"""

_SMALLER = {"gb18030": ("euc_jp", "cp949"), "euc_jp": ("cp949",)}
"""For an encoding: others with fewer such rows, at the same bytes. A long text that fits into these is in them."""

_MANY_BYTES = 50
"""How many bytes that are not ASCII make a text long enough for that."""

_UTF_7 = re.compile(rb"\+[A-Za-z0-9+/]*-")
"""The sequences in which UTF-7 has characters that are not ASCII: ü as +APw-. A plus sign is +-."""

_ENOUGH, _CLEARLY = 5, 0.25
"""How many letters can speak clearly for an encoding, and by what difference in likelihood."""

_ALIKE = 0.02
"""The difference in likelihood below which the frequency of letters decides."""


def _in_a_character_set(text: str, name: str, first: int, last: int, others: str) -> float:
    characters = [it for it in text if not it.isascii() and not _is_sign(it)]
    known = sum(_is_in(it, name, first, last) or (bool(others) and others[0] <= it <= others[1]) for it in characters)
    return known / len(characters) if characters else 0.0


@cache
def _is_in(character: str, name: str, first: int, last: int) -> bool:
    encoded = character.encode(name, "ignore")
    return len(encoded) == 2 and first <= encoded[0] <= last


def _sample(file: BinaryIO) -> bytes:
    """Returns the first lines that are not ASCII. A long line is cut where a field or a word ends."""
    found, size = [], 0
    for line in lines_of(file):
        if line.isascii():
            continue
        if size + len(line) > _SAMPLE_BYTES:
            part = line[: _SAMPLE_BYTES - size]
            found.append(part[: max(part.rfind(end) for end in b" ,;\t|") + 1])
            break
        found.append(line)
        size += len(line)
    return b"".join(found)


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yields the lines of a file from its beginning. A long line comes in pieces, cut between characters of UTF-8."""
    file.seek(0)
    left = b""
    while more := file.readline(_BLOCK):
        piece = left + more
        end = len(piece) if more.endswith(b"\n") else _end_of_characters(piece)
        left = piece[end:]
        if end:
            yield piece[:end]
    if left:
        yield left


def _is_utf8(file: BinaryIO) -> bool:
    file.seek(0)
    left = b""
    while more := file.read(_BLOCK):
        data = left + more
        end = _end_of_characters(data)
        try:
            pa.array([data[:end]], pa.binary()).cast(pa.string())  # as strict as Python's decoder, five times as fast
        except pa.ArrowInvalid:
            return False
        left = data[end:]
    return not left


def _end_of_characters(data: bytes) -> int:
    """Returns where an incomplete last character of UTF-8 begins, or the end of the data."""
    for back, byte in enumerate(reversed(data[-3:]), 1):
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if size > back else len(data)
    return len(data)


def _require_undamaged(file: BinaryIO, name: str) -> None:
    """Raises UnreadableFile if a file is UTF-8 but for some bytes, or ends inside a character.

    In any other encoding, hardly a character would be UTF-8 by chance.
    """
    characters = bad = line_number = before = 0
    places: list[str] = []
    is_cut, tail = False, b""
    for line in lines_of(file):
        tail = (tail + line)[-_LONGEST_CHARACTER - 1 :]
        line_number += not before
        if not line.isascii():
            text = line.decode(errors="surrogateescape")
            wrong = [place for place, it in enumerate(text) if "\udc80" <= it <= "\udcff"]
            characters += sum(not it.isascii() for it in text) - len(wrong)
            bad += len(wrong)
            for place in wrong[: _SHOWN - len(places)]:
                byte = before + len(text[:place].encode(errors="surrogateescape")) + 1
                places.append(f"line {line_number:,}, byte {byte:,} (0x{ord(text[place]) - 0xDC00:02x})")
            is_cut = bool(wrong) and not line.endswith(b"\n") and _end_of_characters(line) < len(line)
        before = 0 if line.endswith(b"\n") else before + len(line)
    is_cut = is_cut and bad == len(line) - _end_of_characters(line)
    if is_cut and (characters or not _ENDS_A_WORD.search(tail)):
        raise ends_inside("UTF-8", name, line_number, "" if characters else _OR_OTHER)
    if bad > characters:
        return
    more = f" and {bad - len(places):,} more" if bad > len(places) else ""
    raise UnreadableFile(
        f"{name} is UTF-8, except for {numbered(bad, 'byte')}: {'; '.join(places)}{more}.",
        "Nothing was read from it. Correct these places, or save the file again as UTF-8.",
    )


def ends_inside(encoding: str, name: str, line: int, more: str = "") -> UnreadableFile:
    """Returns the error for a file of which the last character is incomplete. `more` ends the hint."""
    return UnreadableFile(
        f"{name} ends inside a character of {encoding}, in line {line:,}. Its end is missing.",
        f"Nothing was read from it. Copy the file again, whole. {more}".rstrip(),
    )


def _require_one_encoding(sample: bytes, name: str) -> None:
    """Raises UnreadableFile if the first lines are ASCII, and UTF-16 or UTF-32 follows."""
    ascii_lines = sample[: sample.rfind(b"\n", 0, sample.find(0)) + 1] if 0 in sample else b""
    rest = sample[len(ascii_lines) :]
    lines = ascii_lines.count(b"\n")
    is_wide = lines == 1 and rest[:1] == b"\0" and len(ascii_lines) % 2 == 1  # the first line end of UTF-16-LE
    if (
        ascii_lines.strip()
        and ascii_lines.isascii()
        and not is_wide
        and rest.count(0) >= len(rest) // 4
        and _wide(rest)
    ):
        raise UnreadableFile(
            f"{name} is ASCII up to line {lines:,}, and UTF-16 or UTF-32 follows.",
            "Nothing was read from it. Write all of it in one encoding.",
        )


def _decodes(data: bytes, codec: str, *, final: bool) -> bool:
    try:
        text = codecs.getincrementaldecoder(codec)("strict").decode(data, final)
    except (UnicodeDecodeError, LookupError):
        return False
    return "\x00" not in text


def _file_decodes(file: BinaryIO, codec: str) -> bool:
    file.seek(0)
    try:
        decoder = codecs.getincrementaldecoder(codec)("strict")
        while data := file.read(_BLOCK):
            decoder.decode(data)
        decoder.decode(b"", final=True)
    except (UnicodeDecodeError, LookupError):
        return False
    return True
