"""Opens a file to import: as the user says, else as a user said for an earlier file of this kind, else as detected."""

import shlex
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

from resources.file_reader import FileReader
from resources.file_reader.formats import options_of_others
from resources.importing.origin import Origin, find_origin
from resources.record_store import RecordStore
from schemas.batches import STANDING, Batch, ImportRequest
from schemas.errors import InvalidRequest, UnreadableFile
from schemas.mapping import REJECTS_COLUMNS, header_row, map_headers
from schemas.reading import OF_FORM, Question, ReadOptions, is_answered
from schemas.values import as_pairs

Ask = Callable[[Question], str | None]
"""Asks a user, and returns the answer; None if there is none. An answer to a question without option is "yes"."""

_OF_READER = ("encoding", "delimiter", "sheet", "header_row", "short_rows", "at")
"""The options that change how the reader reads."""
_TRIED = 5
"""How many earlier ways of reading a file are tried, if its header row is not known."""


@dataclass(frozen=True)
class Source:
    """A file that is open for reading.

    options: what was said about how it is written, for this file or an earlier one.
    earlier: the last commit of a file with the same header row, or the batch of which it is the rejects file.
    same_file: the last commit of the same content.
    parent: the batch of which it is the rejects file.
    origin: the export of ours that it is, or comes from, if that is known.
    doubts: what to ask because the file can come from an export, or be like an earlier file.
    unsure: the options that only the header row suggests.
    known: the options that the file or the stored values show to be right, so that they are not asked about.
    """

    request: ImportRequest
    reader: FileReader
    options: ReadOptions
    earlier: Batch | None
    same_file: Batch | None
    parent: Batch | None
    origin: Origin | None
    doubts: tuple[Question, ...]
    unsure: frozenset[str]
    known: frozenset[str] = frozenset()

    @property
    def header_row(self) -> str:
        """Returns the digest of its header row."""
        return header_row(self.reader.headers)

    @property
    def questions(self) -> tuple[Question, ...]:
        """Returns what a user must still say; complete after the last chunk."""
        found = (it for it in (*self.reader.questions, *self.doubts) if it.option not in self.known)
        return tuple(it for it in found if it.option in self.unsure or not is_answered(it, self.options))

    def with_known(self, options: Collection[str]) -> Self:
        """Returns the source with options that the stored values show to be right."""
        return replace(self, known=self.known.union(options), unsure=self.unsure.difference(options))

    @property
    def understood(self) -> tuple[tuple[str, str], ...]:
        """Returns how the file is read, as label and value."""
        encoding = self.reader.used.encoding
        known = {
            "as you said": self.request.encoding,
            "as the export was written": self.origin.options.encoding if self.origin is not None else None,
            "as a user said": self.options.encoding,
        }
        why = next((why for why, name in known.items() if name is not None and name == encoding), None)
        return (
            *(
                (label, f"{encoding} ({why})" if why and label == "Encoding" else value)
                for label, value in self.reader.understood
            ),
            *self._without_effect,
        )

    @property
    def _without_effect(self) -> tuple[tuple[str, str], ...]:
        """Returns the options that were said for this file and say nothing about its format, as label and value."""
        others = options_of_others(self.reader.format)
        said = {name: value for name, value in self.request.options.said().items() if name in others}
        flags = " ".join(ReadOptions.from_said(said).flags)
        return (("Options without effect", f"{flags} (for files of other formats)"),) if said else ()

    @property
    def said_by_export(self) -> tuple[str, ...]:
        """Returns the options that nobody has said, because the export of ours that it comes from is written so."""
        if self.origin is None:
            return ()
        earlier = self.earlier.remembered if self.earlier is not None else None
        said = self.request.options.or_else(earlier.for_others if earlier else ReadOptions()).said()
        used = self.options.said()
        written = self.origin.options.said()
        names = (name for name in written if name not in self.unsure)
        return tuple(name for name in names if used.get(name) == written[name] and said.get(name) != written[name])

    @property
    def time_zone(self) -> str | None:
        """Returns the time zone of timestamps without an offset; None if they are rejected."""
        return self.options.time_zone or self.reader.format.time_zone

    @property
    def decimal(self) -> str | None:
        """Returns the decimal sign that was said; None in formats with numbers of their own."""
        return self.options.decimal if self.reader.format.numbers_are_text else None

    @property
    def decimal_is_known(self) -> bool:
        """Returns whether a user or our export says which decimal sign its numbers have. A cell of text may differ."""
        is_ours = self.origin is not None and self.origin.is_certain
        are_as_written = self.reader.format.numbers_are_text or (self.origin is not None and self.origin.is_unchanged)
        return self.decimal is not None or (is_ours and are_as_written)

    @property
    def options_if_committed(self) -> ReadOptions:
        """Returns what was said, and how a user who commits the preview answers the open questions."""
        used = self.reader.used
        header_row = None if self.options.header_row is None else used.header_row
        delimiter = None if self.options.delimiter is None else used.delimiter
        said = replace(self.options, delimiter=delimiter, header_row=header_row, **dict.fromkeys(self.unsure))
        if self.parent is not None and self.parent.remembered is not None:  # a rejects file has another form
            its = self.parent.remembered.options
            said = replace(said, **{name: getattr(its, name) for name in OF_FORM})
        return said.with_answers({it: it.proposed for it in self.questions if it.option is not None})


class Opener:
    """Opens one file; more than once if its beginning shows what was said for an earlier file like it.

    A context manager. Reading starts at once. Raises what FileReader raises.
    """

    def __init__(self, store: RecordStore, request: ImportRequest) -> None:
        self._store = store
        self._request = request
        self._known = ReadOptions()
        self._readers: list[FileReader] = []
        self._certain = frozenset[str]()
        self._reader = self._open(request.options)

    def __enter__(self) -> Self:
        """Returns the opener itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all reading."""
        self._close()

    def source(self, ask: Ask | None = None) -> Source:
        """Returns the open file.

        ask: answers the questions that the file leaves open. Without it, the file is read in the likeliest way.
        """
        failure, sha256, headers = None, "", ""
        try:
            self._find_list()
            sha256, headers = self._reader.sha256, header_row(self._reader.headers)
        except (InvalidRequest, UnreadableFile) as error:
            failure = error
        records = self._store.account(self._request.account)
        commits = records.earlier_commits(self._request.record_type, sha256, headers)
        parent = None if failure else self._parent()
        earlier = parent or commits.of_header_row or self._tried(commits.with_options)
        if failure and not earlier:
            raise failure
        parent = parent or self._parent()  # it can name its batch only if it is read rightly
        earlier = parent or earlier
        origin = None if parent else find_origin(self._store, self._request, self._reader)
        if origin is not None and origin.is_unchanged:
            self._known = origin.options
        options = self._request.options
        if origin is not None and origin.is_certain:
            options = options.or_else(origin.options)
            earlier = None  # an export says itself how it is written: what was said for other files is not for it
        remembered = None if earlier is None else earlier.remembered
        if remembered is not None:
            options = options.or_else(remembered.options if parent else remembered.for_others)
            if options.header_row is not None:  # its names are known, so it is found wherever it is now
                options = replace(options, header_row=self._reader.used.header_row)
        unsure = frozenset[str]()
        if origin is not None and not origin.is_certain:
            unsure = frozenset(origin.options.said()) - options.said().keys()
            options = options.or_else(origin.options)
        self._reopen(options, None if remembered is None else remembered.header_row)
        options = self._without_open(options, parent)
        self._put_first(commits.with_options)
        if ask is not None:
            options = self._asked(options, ask, unsure | self._certain)
        self._close(all_but=self._reader)
        doubts = (*self._doubts_about_export(origin, earlier), *self._doubts_of_parent(parent))
        same_file, certain = commits.of_file, self._certain
        return Source(self._request, self._reader, options, earlier, same_file, parent, origin, doubts, unsure, certain)

    def _doubts_of_parent(self, parent: Batch | None) -> tuple[Question, ...]:
        """Returns whether to remove the ' before texts, if the preview of which it is the rejects file asks that.

        The rejects file is written as the preview proposes. So it leaves nothing to choose, but to accept that.
        """
        waiting = () if parent is None or parent.status in STANDING else parent.questions
        asked = [it for it in waiting if it.option == "unescape" and self._request.unescape is None]
        return tuple(Question(question.sentence) for question in asked)

    def _doubts_about_export(self, origin: Origin | None, earlier: Batch | None) -> tuple[Question, ...]:
        """Returns what to ask if the header row is that of an export and of a file for which something else was said.

        An export has a decimal point, and its columns have the names of their fields.
        """
        if origin is None or origin.is_certain or earlier is None or earlier.remembered is None:
            return ()
        said, here = earlier.remembered, self._request
        flags = [f"--decimal {said.options.decimal}"] if said.options.decimal and here.decimal is None else []
        maps = {} if here.column_map else said.column_map
        flags += [f"--map {shlex.quote(f'{header}={field}')}" for header, field in maps.items() if header != field]
        flags += [it.option for it in as_pairs(said.value_map)]
        if not flags:
            return ()
        sentence = (
            f"Its columns are those of the export {origin.export_id} and of {earlier.batch_id}. It is read as was said "
            f"for the batch: {' '.join(flags)}. If it comes from the export, say --of {origin.export_id}."
        )
        return (Question(sentence),)

    def _without_open(self, options: ReadOptions, parent: Batch | None) -> ReadOptions:
        """Returns the options without those that nobody has said: the open questions of the preview it comes from."""
        waiting = () if parent is None or parent.status in STANDING else parent.questions
        still_open = {question.option for question in waiting if question.option is not None}
        here = self._request.options.said()
        return replace(options, **{name: None for name in still_open if name not in here})

    def _close(self, all_but: FileReader | None = None) -> None:
        for reader in self._readers:
            if reader is not all_but:
                reader.__exit__()
        self._readers = [reader for reader in self._readers if reader is all_but]

    def _open(self, options: ReadOptions) -> FileReader:
        self._readers.append(FileReader(self._request.path, options, self._store.settings.limits))
        return self._readers[-1]

    def _parent(self) -> Batch | None:
        """Returns the batch of this account and type that a rejects file names."""
        if not set(REJECTS_COLUMNS).issubset(self._reader.headers):
            return None
        named = self._reader.first_value(REJECTS_COLUMNS[0])
        records = self._store.account(self._request.account)
        parent = records.batch(named) if named and records.has_batch(named) else None
        return parent if parent is None or parent.record_type == self._request.record_type else None

    def _tried(self, batches: Sequence[Batch]) -> Batch | None:
        """Returns the first batch with the same header row, if the file is read as was said for that batch."""
        first = self._reader
        for batch in batches[:_TRIED]:
            if batch.remembered is not None and self._would_differ(batch.remembered.for_others):
                self._reader = self._open(self._for_reader(batch.remembered.for_others))
                with suppress(InvalidRequest, UnreadableFile):
                    if header_row(self._reader.headers) == batch.remembered.header_row:
                        return batch
        self._reader = first
        return None

    def _reopen(self, options: ReadOptions, known_header_row: str | None = None) -> None:
        """Opens the file as was said for an earlier one, if that differs and the file can be read so.

        known_header_row: the header row that the file then must have, if it is known.
        """
        if self._would_differ(options):
            first, self._reader = self._reader, self._open(self._for_reader(options))
            with suppress(InvalidRequest, UnreadableFile):
                if known_header_row in (None, header_row(self._reader.headers)):
                    return
            self._reader = first

    def _find_list(self) -> None:
        """Reads a JSON file from the list that has the key of the record type, if nothing is said.

        The only list is certain, unless the object around it can be a record too.
        """
        names = self._reader.alternatives.get("at", [])
        if not names or self._request.options.at is not None:
            return
        first = self._reader
        others = [it for it in names if it != first.used.at]
        while not self._has_key(self._reader) and others[:1] and len(self._readers) <= _TRIED:
            self._reader = self._open(replace(self._request.options, likely_at=others.pop(0)))
        if not self._has_key(self._reader):
            self._reader = first
        if len(names) == 2 and self._reader.used.at == names[0] and not self._feeds_key(self._reader.names_beside):
            self._certain = frozenset({"at"})

    def _has_key(self, reader: FileReader) -> bool:
        """Returns whether columns of the file feed the key of the record type; a file without columns has it too."""
        try:
            return not reader.headers or self._feeds_key(reader.headers)
        except (InvalidRequest, UnreadableFile):
            return False

    def _feeds_key(self, names: Sequence[str]) -> bool:
        try:
            given = {header: field for header, field in self._request.column_map.items() if header in names}
            map_headers(names, self._store.record_type(self._request.record_type), given)
        except InvalidRequest:
            return False
        return True

    def _put_first(self, batches: Sequence[Batch]) -> None:
        """Proposes an encoding that a user said for other files of the account, if the encoding is open."""
        said = [batch.remembered.for_others.encoding for batch in batches if batch.remembered is not None]
        for question in self._reader.questions:
            if question.option == "encoding" and not {*said}.isdisjoint(question.candidates):
                likeliest = next(it for it in said if it in question.candidates)
                self._reopen(replace(self._reader.used, encoding=likeliest))

    def _asked(self, options: ReadOptions, ask: Ask, unsure: Collection[str]) -> ReadOptions:
        """Returns the options with the user's answers. The file is then open as they say.

        unsure: the options about which the user is asked when the values are known, if they leave it open.
        """
        found = [it for it in self._reader.questions if it.option and it.option not in unsure]
        unsaid = [it for it in found if not is_answered(it, options)]
        answers = {question: ask(question) for question in unsaid}
        options = options.with_answers({question: answer for question, answer in answers.items() if answer})
        chosen = {question.option: answer for question, answer in answers.items() if answer and question.option}
        self._known = ReadOptions.from_said({**self._known.said(), **chosen})
        self._reopen(options)
        return options

    def _for_reader(self, options: ReadOptions) -> ReadOptions:
        """Returns how the reader opens the file: as known of it. An earlier file's encoding is only the likeliest."""
        here = self._request.options.or_else(self._known)
        return here.or_else(replace(options, encoding=None, likely_encoding=options.encoding))

    def _would_differ(self, options: ReadOptions) -> bool:
        """Returns whether the reader would open the file in another way than it has, were it given these options."""
        try:
            used = self._reader.used
        except (InvalidRequest, UnreadableFile):
            return True
        wanted = self._for_reader(options)
        guessed = [it.proposed for it in self._reader.questions if it.option == "encoding"]
        said, has = wanted.said(), used.said()
        return any(name in has and said.get(name, has[name]) != has[name] for name in _OF_READER) or (
            bool(guessed) and wanted.likely_encoding not in (None, *guessed)
        )
