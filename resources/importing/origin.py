"""The export of ours that a file is or comes from: how it was written, and how that is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from resources.file_reader import FileReader, TextChunk
from resources.record_store import AccountRecords, RecordStore
from resources.record_store.refusals import no_such_export
from schemas.batches import ImportRequest
from schemas.errors import InvalidRequest
from schemas.exports import ExportManifest, ExportRequest
from schemas.formulas import ESCAPED, FORMULA, NUMBER, PHONE
from schemas.reading import ReadOptions

_CERTAIN = ("utf-8", "utf-16", "utf-32")
"""How the names of encodings begin in which a file says itself that it is in them."""


@dataclass(frozen=True)
class Origin:
    """The export that a file is, or that it was before someone edited it.

    why: how that is known, as the end of a sentence.
    export_id: None if nobody has changed the file.
    is_certain: whether it is known by more than the header row.
    options: how the export was written, as far as that helps to read the file. `unescape`: whether its texts such as
        =1+1 got a ' before them, and still have it.
    """

    why: str
    export_id: str | None
    is_certain: bool
    options: ReadOptions

    @property
    def name(self) -> str | None:
        """Returns the export in words; None if the file is not known to be an edited one of it."""
        return f"the export {self.export_id}, edited since" if self.is_certain and self.export_id else None

    @property
    def is_unchanged(self) -> bool:
        """Returns whether nobody has changed the file."""
        return self.export_id is None


def find_origin(store: RecordStore, request: ImportRequest, reader: FileReader) -> Origin | None:
    """Returns the export that a file comes from; None if it is not known to come from one.

    It is known by its bytes; if they were edited since, by the id that the request or a workbook names; else by its
    header row. An id counts only for an export of the same account and type.

    Raises NotFound or InvalidRequest if the request names no export of the account or one of another type.
    """
    records = store.account(request.account)
    named = None if request.of is None else _named(records, request)
    exported = store.exported(reader.sha256)
    if exported is not None:
        return Origin("this is an export of ours", None, True, _whole(exported))
    if named is None and reader.used.of is not None:
        named = records.export(reader.used.of)
    if named is not None and named.record_type == request.record_type:
        of_export = named.request or ExportRequest(named.account, named.record_type, format=named.format)
        # A program that saves the file may choose another delimiter.
        options = _whole(of_export) if set(reader.headers).isdisjoint(named.columns) else _without_delimiter(of_export)
        why = f"it comes from the export {named.export_id}"
        return Origin(why, named.export_id, True, options)
    if not reader.format.escapes_formulas:
        return None
    return _by_header_row(records.exports_with_columns(request.record_type, reader.headers), reader)


def _named(records: AccountRecords, request: ImportRequest) -> ExportManifest:
    export = records.export(request.of or "")
    if export is None:
        raise no_such_export(request.of or "")
    if export.record_type != request.record_type:
        raise InvalidRequest(
            f"{export.export_id} is an export of {export.record_type}, not of {request.record_type}.",
            "Name an export of this type: records exports lists them.",
        )
    return export


def _by_header_row(exports: Sequence[tuple[str, ExportRequest]], reader: FileReader) -> Origin | None:
    """Returns the newest of the exports, which have the header row of the file.

    Files of others may have this header row too. So the encoding is proposed, and only where a user would be asked for
    it. Texts keep their ' if more texts lack one than have one.
    """
    if not exports:
        return None
    encodings = (of.encoding for _, of in exports if not of.encoding.startswith(_CERTAIN))
    newest, request = exports[0]
    unescape = True if request.escaped and _looks_escaped(reader.first_chunk()) else None
    why = f"its columns and texts are as in the export {newest}"
    return Origin(why, newest, False, ReadOptions(encoding=next(encodings, None), unescape=unescape))


def _looks_escaped(chunk: TextChunk | None) -> bool:
    """Returns whether the texts that look like formulas have a ' before them, or most of them.

    Telephone numbers decide only where there is no other such text: earlier versions escaped them, this one does not.
    """
    import pyarrow.compute as pc

    escaped = bare = old_phones = phones = 0
    for column in () if chunk is None else chunk.values.columns:
        texts = column.filter(pc.match_substring_regex(column, FORMULA))
        quoted, number, phone, old_phone = (
            pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0
            for pattern in (ESCAPED, f"^({NUMBER})$", f"^({PHONE})$", f"^'({PHONE})$")
        )
        escaped += quoted - old_phone
        bare += len(texts) - quoted - number - phone
        old_phones += old_phone
        phones += phone
    return escaped >= bare if escaped or bare else old_phones >= phones


def _whole(request: ExportRequest) -> ReadOptions:
    """Returns how an export is written."""
    delimiter = request.delimiter if request.format == "csv" else None
    return replace(_without_delimiter(request), delimiter=delimiter)


def _without_delimiter(request: ExportRequest) -> ReadOptions:
    encoding = request.encoding if request.format == "csv" else None
    return ReadOptions(encoding=encoding, unescape=request.escaped)
