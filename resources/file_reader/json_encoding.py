"""The encoding of JSON, by its first bytes."""

_MARKS = (
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_ZEROS: dict[tuple[int, ...], str] = {
    (0, 0, 0, 1): "utf-32-be",
    (1, 0, 0, 0): "utf-32-le",
    (0, 1, 0, 1): "utf-16-be",
    (1, 0, 1, 0): "utf-16-le",
}
"""The encodings by which of the first four bytes are zero: JSON begins with two characters of ASCII (RFC 4627)."""


def encoding_of(start: bytes) -> str:
    """Returns the encoding of JSON that begins with these bytes: utf-8, or a UTF-16 or UTF-32."""
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding
    return _ZEROS.get(tuple(map(bool, start[:4])), "utf-8")


def text_at_start(start: bytes) -> str:
    """Returns the text at the start of a file, without a byte order mark and white space."""
    text = start.decode(encoding_of(start), errors="ignore")
    return text.removeprefix("\ufeff").lstrip(" \t\r\n")
