"""Starts the process that reads a file, and takes its answers."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self

from resources.file_reader.chunk import CellProblem, Malformed, MalformedRecord, TextChunk
from resources.file_reader.formats import Format, format_named
from resources.file_reader.options import DEFECT, ReadLimits
from resources.process_state import environment_for
from schemas.errors import DiskFull, InvalidRequest, NotFound, UnreadableFile
from schemas.reading import Question, ReadOptions

_ERRORS = {error.code: error for error in (DiskFull, InvalidRequest, UnreadableFile)}
_RUNNING: "set[subprocess.Popen[bytes]]" = set()
_PASSED_ON = ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "TMPDIR")
"""What Python needs to start, and the folder for temporary files. The process forgets them before it reads."""


class FileReader:
    """Reads one file in a process of its own. A context manager.

    The process starts at once. `format`, `headers`, `sha256`, `packing`, `used` and `understood` wait for its first
    answer. While `chunks` come, `share_read` is about how much of the file they are, from 0 to 1. After the last
    chunk, `read` is the number of records, and `notes` say what else to know about the file.

    Raises NotFound if there is no such file, and InvalidRequest if the options do not fit it. Raises UnreadableFile if
    it is damaged or exceeds a limit, and DiskFull if it cannot be unpacked.
    """

    def __init__(self, path: Path, options: ReadOptions | None = None, limits: ReadLimits | None = None) -> None:
        self.path = path
        self._first: dict[str, Any] | None = None
        self._last: dict[str, Any] = {}
        self._chunks: Iterator[TextChunk] | None = None
        self.read = 0
        self.share_read = 0.0
        self.notes: tuple[str, ...] = ()
        self._name = path.name.encode(errors="backslashreplace").decode()
        self._file = _open(path, self._name)
        self._before = os.fstat(self._file)
        try:
            self._child, self._answers, self._errors = self._start(options or ReadOptions(), limits or ReadLimits())
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        """Returns the reader itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process, and closes the file."""
        if self._child.poll() is None:
            with suppress(ProcessLookupError):
                self._child.kill()
        self._child.wait()
        _RUNNING.discard(self._child)
        self._answers.close()
        self._errors.close()
        with suppress(OSError):
            os.close(self._file)

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the columns as the file has them, in order. Some can be equal or empty."""
        return tuple(self._first_answer()["headers"])

    @property
    def understood(self) -> list[tuple[str, str]]:
        """What the process found out about the file, and how sure it is: label and value."""
        return [(label, value) for label, value in self._first_answer()["understood"]]

    @property
    def used(self) -> ReadOptions:
        """How the file is read: what was said, and what the process found where nothing was said."""
        return ReadOptions.from_said(self._first_answer()["used"])

    @property
    def questions(self) -> tuple[Question, ...]:
        """What a user must say, because the file can be read in several ways; complete after the last chunk."""
        return tuple(map(Question.from_dict, self._last.get("questions", self._first_answer()["questions"])))

    @property
    def format(self) -> Format:
        """The format of the file."""
        return format_named(self._first_answer()["format"])

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file's bytes."""
        digest: str = self._first_answer()["sha256"]
        return digest

    @property
    def packing(self) -> str | None:
        """The suffix of the file's packing, `gz` or `zst`; None if it is not packed, or in an archive."""
        packing: str | None = self._first_answer()["packing"]
        return packing

    @property
    def number_formats(self) -> tuple[str, ...]:
        """The codes of a workbook's number formats, to which `formats` of a chunk refers."""
        return tuple(self._first_answer()["number_formats"])

    @property
    def outline(self) -> str:
        """What else the file could be read from, for example its sheets, in a sentence with values; "" if nothing."""
        outline: str = self._first_answer()["outline"]
        return outline

    @property
    def first_rows(self) -> tuple[tuple[int, tuple[str, ...]], ...]:
        """The first rows of a table with their numbers from 1, also those above the header; empty without rows."""
        return tuple((number, tuple(row)) for number, row in self._first_answer()["first_rows"])

    @property
    def alternatives(self) -> dict[str, list[str]]:
        """What else options could say, by their names: the sheets of a workbook, the lists of a JSON file."""
        found: dict[str, list[str]] = self._first_answer()["alternatives"]
        return found

    @property
    def names_beside(self) -> tuple[str, ...]:
        """The names of values of the file that are no part of its records, as beside the list of a JSON file."""
        return tuple(self._first_answer()["names_beside"])

    @property
    def float_columns(self) -> tuple[int, ...]:
        """The columns that are floating-point numbers in the file, from 0."""
        return tuple(self._first_answer()["float_columns"])

    @property
    def text_columns(self) -> frozenset[int]:
        """The columns, from 0, that have only texts, in a format with numbers of its own."""
        return frozenset(self._first_answer()["text_columns"])

    def _first_answer(self) -> dict[str, Any]:
        if self._first is None:
            line = self._answers.readline()
            answer: dict[str, Any] = json.loads(line) if line else {"error": None}
            self._raise_error(answer)
            self._first = answer
        return self._first

    def first_value(self, header: str) -> str:
        """Returns the text of a column in the first well-formed record; "" if there is none."""
        chunk = self.first_chunk()
        text: str = "" if chunk is None else chunk.values.column(self.headers.index(header))[0].as_py()
        return text

    def first_chunk(self) -> TextChunk | None:
        """Returns the first chunk with a well-formed record; None if there is none. Call it before `chunks`."""
        before = []
        chunks = self.chunks()
        found = None
        for chunk in chunks:
            before.append(chunk)
            if len(chunk.records):
                found = chunk
                break
        self._chunks = chain(before, chunks)
        return found

    def chunks(self) -> Iterator[TextChunk]:
        """Yields all records of the file, in order. Call it once."""
        return self._received() if self._chunks is None else self._chunks

    def _received(self) -> Iterator[TextChunk]:
        import pyarrow as pa

        self._first_answer()
        try:
            stream = pa.ipc.open_stream(self._answers)
            while True:
                batch, metadata = stream.read_next_batch_with_custom_metadata()
                answer = {key.decode(): json.loads(value) for key, value in dict(metadata or {}).items()}
                if "last" in answer:
                    break
                self.share_read = answer["share"]
                yield _chunk(batch, answer)
        except (pa.ArrowInvalid, StopIteration, OSError) as error:
            raise self._died() from error
        after = os.fstat(self._file)
        if (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise UnreadableFile(f"{self._name} was changed while it was read.", "Try again when it is complete.")
        self._last = last = answer["last"]
        self._raise_error(last)
        self.read, self.notes = last["read"], tuple(last["notes"])

    def _start(self, options: ReadOptions, limits: ReadLimits) -> "tuple[subprocess.Popen[bytes], BinaryIO, BinaryIO]":
        receiving, sending = os.pipe()
        errors, erring = os.pipe()
        os.set_blocking(erring, False)  # it is read after the process has ended: more than a pipe holds is lost
        request = {
            "file": self._file,
            "answer": sending,
            "name": self._name,
            "options": options.said(),
            "limits": vars(limits),
        }
        child = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-P", "-m", "resources.file_reader.child", json.dumps(request)],
            pass_fds=(self._file, sending),
            stdin=subprocess.DEVNULL,
            stderr=erring,
            env=environment_for(_PASSED_ON),
        )
        _RUNNING.add(child)
        os.close(sending)
        os.close(erring)
        return child, os.fdopen(receiving, "rb"), os.fdopen(errors, "rb")

    def _raise_error(self, answer: dict[str, Any]) -> None:
        if "error" not in answer:
            return
        error = answer["error"]
        if error is None:
            raise self._died()
        raise _ERRORS[error["kind"]](error["message"], error["hint"], error["quoted"])

    def _died(self) -> UnreadableFile:
        """Returns the error for a process that ended without an answer, by a limit of the system or a defect."""
        code = self._child.wait(timeout=60)
        why = {
            -signal.SIGXCPU: "takes longer than the limit (RECORDS_MAX_READER_SECONDS)",
            -signal.SIGXFSZ: "unpacks to more than the limit (RECORDS_MAX_FILE_MB)",
            -signal.SIGKILL: "was ended from outside, perhaps because memory ran out",
        }.get(code, f"ended the process that did it ({self._defect() or f'exit code {code}'})")
        return UnreadableFile(f"Reading {self._name} {why}.", "Nothing was read from it.")

    def _defect(self) -> str:
        """Returns the line in which the process reported a defect; "" if there is none."""
        lines = self._errors.read().decode(errors="replace").splitlines()
        return next((line.removeprefix(DEFECT) for line in lines if line.startswith(DEFECT)), "")


def end_reading() -> None:
    """End the processes that read files for this one: whoever waits for them gets UnreadableFile."""
    for child in list(_RUNNING):
        with suppress(ProcessLookupError):
            child.kill()


def no_such_file(path: Path) -> NotFound:
    """Returns the error for a file that does not exist, and for one that this account may not name."""
    return NotFound(f"There is no file {str(path)!r}.", "Name a file to import.")


def _open(path: Path, name: str) -> int:
    """Returns a descriptor of a regular file, without waiting for a pipe or a device."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise no_such_file(path) from None
    except PermissionError:
        raise UnreadableFile(f"{name} may not be read by this user.", "Change its permissions.") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise NotFound(f"{str(path)!r} is not a regular file.", "Name a file to import.")
    return file


def _chunk(batch: Any, answer: dict[str, Any]) -> TextChunk:
    import pyarrow as pa

    values = pa.Table.from_batches([batch])
    own = [name for name in values.column_names if name.startswith("_")]
    return TextChunk(
        values=values.drop_columns(own),
        records=batch["_record"],
        lines=batch["_line"],
        malformed=tuple(
            MalformedRecord(record, line, fields, tuple(texts), Malformed(why))
            for record, line, fields, texts, why in answer.get("malformed", [])
        ),
        cells=tuple(CellProblem(*cell) for cell in answer.get("cells", [])),
        formats=batch["_formats"] if "_formats" in own else None,
    )
