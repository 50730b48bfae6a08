"""The reading process: it parses an untrusted file, and has the file, a pipe for its answers, and nothing else.

Before it reads, it gives away the environment, the right to open other files, and most system calls.

First it answers with a line of JSON: what it found out about the file, or an error. Then it sends a stream of Arrow
batches. Their metadata carry malformed records, cell problems and progress; those of the last batch end the stream.
"""

import errno
import gc
import gzip
import json
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv
import zstandard

from resources.checksums import sha256_of
from resources.defects import defect
from resources.disk_space import free_bytes
from resources.file_reader import confinement, scratch
from resources.file_reader.archive import ZIP_ERRORS, ZIP_SIGNATURE, is_encrypted, only_file, open_archive
from resources.file_reader.chunk import TextChunk
from resources.file_reader.formats import recognise
from resources.file_reader.formatted_cells import FORMATTED_CELLS
from resources.file_reader.options import DEFECT, ReadLimits
from resources.process_state import hide_pandas
from schemas.errors import DiskFull, RecordsError, UnreadableFile
from schemas.reading import ReadOptions

_SIGNATURES = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"}
_PACKINGS = {"gz": "gzip", "zst": "Zstandard", "zip": "ZIP"}
_ZSTD_WINDOW = 1 << 27
"""The default of the `zstd` command. A frame can demand far more memory than it has bytes."""
_BLOCK = 1 << 20
_SHOWN, _SHOWN_COLUMNS = 40, 12
"""The most characters and columns of a row that a person is shown."""
_RATIO_FROM = 32 << 20  # unpacked; a smaller file is harmless, and may begin with a long run of one byte
_REPORTED = (RecordsError, MemoryError, OSError)  # pa.ArrowMemoryError is a MemoryError


def main() -> None:
    """Reads the file that the request names, answers, and ends without the interpreter's cleanup."""
    gc.disable()  # rows make no cycles, and the search for them takes a fifth of the time
    hide_pandas()
    request = json.loads(sys.argv[1])
    limits = ReadLimits(**request["limits"])
    try:
        with os.fdopen(request["answer"], "wb") as answer:
            memory = _give_away(request["file"])
            _limit_resources(limits, memory)
            confinement.confine_calls()
            _read(request, limits, answer)
    except BrokenPipeError:
        pass  # the importing process has stopped listening
    except Exception as error:  # only its type and place: its text may quote the file
        os.write(2, f"{DEFECT}{defect(error)}\n".encode())
        os._exit(1)
    # Arrow's read-ahead thread may be inside Python; an ordinary exit would wait for it, or crash.
    os._exit(0)


def _give_away(file: int) -> int:
    """Gives away the environment, and all files but the one to read, those for temporary data, and libraries.

    Landlock does not reach threads that run already. So this comes before Arrow's threads. Returns the descriptor of
    the system's file that says how much memory the process uses.
    """
    os.umask(0o077)
    memory = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    confinement.confine_files([file], scratch.prepare())
    os.environ.clear()
    return memory


def _limit_resources(limits: ReadLimits, memory: int) -> None:
    """Limits memory, time, files, processes and threads of this process from here on.

    memory: the open /proc/self/statm.

    RLIMIT_NPROC forbids every new process and thread, so Arrow's two threads start before. It does not apply to root,
    because the operating system does not count root's processes.
    """
    _start_threads()
    used = int(os.read(memory, 100).split()[0]) * resource.getpagesize()
    os.close(memory)
    _limit(resource.RLIMIT_AS, used + limits.reader_memory_mb * 1_000_000)
    _limit(resource.RLIMIT_CPU, limits.reader_seconds, beyond=10)  # the soft limit sends the signal that names it
    _limit(resource.RLIMIT_FSIZE, limits.file_mb * 1_000_000)
    _limit(resource.RLIMIT_NOFILE, 64)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NPROC, 0)


def _start_threads() -> None:
    """Start all threads of Arrow: one that reads data, and one that parses them.

    `open_csv` hands data to the second one only if the first has not read them yet. If that cannot start then, Arrow
    waits for ever for its own thread (Arrow 26, found here). `read_csv` hands each column to it.
    """
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pyarrow.csv.read_csv(pa.BufferReader(b"-\n-\n"), pyarrow.csv.ReadOptions(use_threads=True))


def _limit(kind: int, most: int, beyond: int = 0) -> None:
    _, hard = resource.getrlimit(kind)
    highest = most + beyond if hard == resource.RLIM_INFINITY else min(most + beyond, hard)
    resource.setrlimit(kind, (min(most, highest), highest))


def _read(request: dict[str, Any], limits: ReadLimits, answer: BinaryIO) -> None:
    name, path = request["name"], Path(f"/dev/fd/{request['file']}")
    try:
        digest = sha256_of(path)
        content, packing, member = _unpacked_if_packed(path, name, limits)
        format_ = recognise(content, member or name)
        opened = format_.open(content, name, ReadOptions.from_said(request["options"]), limits)
        _check_headers(opened.headers, name, limits, required=not format_.names_in_records)
    except _REPORTED as error:
        answer.write(json.dumps({"error": _error(error, name)}).encode() + b"\n")
        return
    first = {
        "format": format_.name,
        "headers": opened.headers,
        "understood": [*opened.understood, *_packed(packing, member)],
        "used": asdict(opened.used),
        "questions": [asdict(question) for question in opened.questions],
        "float_columns": opened.float_columns,
        "text_columns": opened.text_columns,
        "number_formats": opened.number_formats or (),
        "outline": format_.outline(opened),
        "first_rows": [(number, _shortened(row)) for number, row in format_.first_rows(opened)],
        "alternatives": format_.alternatives(opened),
        "names_beside": format_.names_beside(opened),
        "packing": packing if member is None else None,
        "sha256": digest,
    }
    answer.write(json.dumps(first).encode() + b"\n")
    names = [str(position) for position in range(len(opened.headers))]
    columns = [*((name, pa.string()) for name in names), ("_record", pa.int64()), ("_line", pa.int64())]
    schema = pa.schema([*columns, *([("_formats", FORMATTED_CELLS)] if opened.number_formats is not None else [])])
    with pa.ipc.new_stream(answer, schema) as stream:
        try:
            for chunk in opened.chunks():
                _send(stream, schema, chunk, opened.share_read)
            if sha256_of(path) != digest:  # every pass over the file read the same bytes
                raise UnreadableFile(f"{name} was changed while it was read.", "Try again when it is complete.")
            questions = [asdict(question) for question in opened.questions]
            last: dict[str, Any] = {"read": opened.read, "notes": opened.notes, "questions": questions}
        except BrokenPipeError:
            raise
        except _REPORTED as error:
            last = {"error": _error(error, name)}
        stream.write_batch(_empty(schema), {"last": json.dumps(last)})


def _shortened(row: Sequence[str]) -> list[str]:
    """Returns the first texts of a row as a person looks at them."""
    return [text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…" for text in row[:_SHOWN_COLUMNS]]


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], kind) for kind in schema.types], schema=schema)


def _send(stream: pa.ipc.RecordBatchStreamWriter, schema: pa.Schema, chunk: TextChunk, share: float) -> None:
    metadata = {"share": json.dumps(share)}
    if chunk.malformed:
        metadata["malformed"] = json.dumps([list(vars(bad).values()) for bad in chunk.malformed])
    if chunk.cells:
        metadata["cells"] = json.dumps([list(vars(cell).values()) for cell in chunk.cells])
    if not len(chunk.records):
        stream.write_batch(_empty(schema), metadata)
        return
    columns = [*(column.combine_chunks() for column in chunk.values.columns), chunk.records, chunk.lines]
    if chunk.formats is not None:
        columns.append(chunk.formats)
    stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema), metadata)


def _packed(packing: str | None, member: str | None) -> list[tuple[str, str]]:
    """Returns how the file was packed, as label and value."""
    if packing is None:
        return []
    return [("Packed with", _PACKINGS[packing] if member is None else f"{_PACKINGS[packing]}, as {member!r}")]


def _unpacked_if_packed(path: Path, name: str, limits: ReadLimits) -> tuple[Path, str | None, str | None]:
    """Returns the unpacked file, the suffix of its packing, and its name in an archive; None if there are none."""
    with path.open("rb") as file:
        start = file.read(4)
    packing = next((suffix for signature, suffix in _SIGNATURES.items() if start.startswith(signature)), None)
    member = None
    if start == ZIP_SIGNATURE and (member := only_file(path)) is not None:
        packing = "zip"
        if is_encrypted(path, member):
            raise UnreadableFile(
                f"{name} is an encrypted ZIP archive.",
                "Unpack it with its password, and import the file that is inside.",
            )
    if packing is not None:
        path = _unpacked(path, name, packing, limits, member)
    if path.stat().st_size > limits.file_mb * 1_000_000:
        raise _too_large(name, limits)
    return path, packing, member


def _unpacked(path: Path, name: str, packing: str, limits: ReadLimits, member: str | None = None) -> Path:
    """Returns the unpacked file: unnamed, in the folder for temporary files, at most half of its free space."""
    size, most = 0, free_bytes(Path(tempfile.gettempdir())) // 2
    try:
        with path.open("rb") as file, _unpacking(file, packing, member) as packed, scratch.temporary_file() as unpacked:
            while data := packed.read(_BLOCK):
                size += len(data)
                if size > _RATIO_FROM and size > file.tell() * limits.ratio:
                    raise UnreadableFile(
                        f"{name} is a {_PACKINGS[packing]} bomb: it unpacks to over {limits.ratio:,} times its size.",
                        "If it is not, send it unpacked, or raise RECORDS_MAX_RATIO.",
                    )
                if size > limits.file_mb * 1_000_000:
                    raise _too_large(name, limits)
                if size > most:
                    raise _disk_full(name)
                unpacked.write(data)
            unpacked.flush()
            return Path(f"/dev/fd/{os.dup(unpacked.fileno())}")
    except (*ZIP_ERRORS, zstandard.ZstdError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise UnreadableFile(
            f"{name} is damaged: it cannot be unpacked with {_PACKINGS[packing]}.", "Send it again."
        ) from error


def _unpacking(file: BinaryIO, packing: str, member: str | None) -> AbstractContextManager[Any]:
    """Returns a stream of the file's unpacked bytes: all members in turn, but one file of a ZIP archive."""
    if member is not None:
        return open_archive(file).open(member)
    if packing == "gz":
        return gzip.open(file)
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    return unpacker.stream_reader(file, read_across_frames=True, closefd=False)


def _check_headers(headers: tuple[str, ...], name: str, limits: ReadLimits, *, required: bool) -> None:
    if not headers and not required:
        return
    if not headers:
        raise UnreadableFile(f"{name} has no columns.", "Name its columns in the first line.")
    if len(headers) > limits.columns:
        raise UnreadableFile(
            f"{name} has {len(headers):,} columns; the limit is {limits.columns:,}.",
            "It is set by RECORDS_MAX_COLUMNS.",
        )
    if max(map(len, headers)) > limits.header_characters:
        raise UnreadableFile(
            f"{name} has a header of more than {limits.header_characters:,} characters.",
            "The limit is set by RECORDS_MAX_HEADER_CHARACTERS.",
        )


def _too_large(name: str, limits: ReadLimits) -> UnreadableFile:
    return UnreadableFile(
        f"{name} is larger than {limits.file_mb:,} MB, unpacked.", "Send it in parts, or raise RECORDS_MAX_FILE_MB."
    )


def _disk_full(name: str) -> DiskFull:
    return DiskFull(
        f"The disk is full: {name} cannot be unpacked in {tempfile.gettempdir()}.",
        "Make room there, or name another folder in TMPDIR.",
    )


def _error(error: BaseException, name: str) -> dict[str, Any]:
    if isinstance(error, MemoryError):
        error = UnreadableFile(
            f"Reading {name} takes more memory than the limit.",
            "Send it in parts, as CSV, or raise RECORDS_MAX_READER_MEMORY_MB.",
        )
    elif isinstance(error, OSError):
        if error.errno != errno.ENOSPC:
            raise error
        error = _disk_full(name)
    if not isinstance(error, RecordsError):
        raise error
    return {"kind": error.code, "message": error.message, "hint": error.hint, "quoted": error.quoted}


if __name__ == "__main__":
    main()
