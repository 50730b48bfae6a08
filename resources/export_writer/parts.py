"""Parts of an export. Each is made once, however often and by whichever process it is asked for."""

import json
import os
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from resources.checksums import sha256_of
from resources.export_writer.formats import format_named
from resources.export_writer.plan import ExportPlan
from resources.file_storage import FileStorage, entries, is_local, size_of
from resources.record_store.export_source import ExportSource
from schemas.errors import Unaccounted

_PLACED = "placed"
_ATTEMPT = re.compile(r"\.([0-9]{6})\.[0-9a-f]{8}")
"""The name of a part that is being written."""


@dataclass(frozen=True)
class Part:
    """A finished part: its export, its place in it, its number of records, its size, and its checksum."""

    export_id: str
    number: int
    rows: int
    bytes: int
    sha256: str


def upload_part(plan: ExportPlan, number: int, files: FileStorage) -> None:
    """Copy a part and its note from this machine to the object store, if the export's folder lies there."""
    if not is_local(plan.folder):
        path = plan.part_path(number)
        for file in (path, _note(path)):  # the note last: a part without a note does not count
            files.put(file, plan.parts_folder / file.name)


def find_part(plan: ExportPlan, number: int, files: FileStorage) -> Part | None:
    """Return a part that some process has finished, and put it on this machine.

    None if it is missing or damaged, or if it is a part of another export or place.
    """
    path = plan.part_path(number)
    if not is_local(plan.folder):
        plan.work.mkdir(parents=True, exist_ok=True)
        for file in (_note(path), path):
            with suppress(FileNotFoundError), files.fetched(plan.parts_folder / file.name) as fetched:
                os.replace(fetched, file)
    try:
        part = Part(**json.loads(_note(path).read_text("utf-8")))
        whole = path.stat().st_size == part.bytes and sha256_of(path) == part.sha256
    except (OSError, ValueError, TypeError):  # after a crash of the machine a file can be missing, empty or cut off
        return None
    wanted = (plan.export_id, number, plan.parts[number].rows)
    return part if whole and (part.export_id, part.number, part.rows) == wanted else None


def rows_done(plan: ExportPlan) -> int:
    """Return about how many records the finished parts have, and the one that is being written on this machine.

    How far that one is follows from its size and from the size of the finished ones.
    """
    rows, size, attempts = 0, 0, {}
    found = {place.name: place for place in entries(plan.parts_folder)}
    with suppress(FileNotFoundError):  # a part was finished just now
        for number, part in enumerate(plan.parts):
            path = plan.part_path(number)
            if {path.name, _note(path).name} <= found.keys():
                rows, size = rows + part.rows, size + (size_of(found[path.name]) or 0)
        for name, place in found.items():
            attempt = _ATTEMPT.fullmatch(name)
            if attempt is not None and is_local(place) and size:
                part = plan.parts[int(attempt[1])]
                attempts[attempt[1]] = min(part.rows, int(place.stat().st_size * rows / size))
    return min(rows + sum(attempts.values()), plan.rows)


def note_placed(plan: ExportPlan, rows: int) -> None:
    """Write down how many records are in the file that is being put together, for `rows_placed`."""
    (plan.work / _PLACED).write_text(str(rows), "ascii")


def rows_placed(plan: ExportPlan) -> int | None:
    """Return how many records are in the file that some process of this machine puts together; None if none does."""
    try:
        return int((plan.work / _PLACED).read_text("ascii"))
    except (OSError, ValueError):  # it is being written just now
        return None


def make_part(plan: ExportPlan, number: int, source: ExportSource) -> Part:
    """Write a part on this machine, and a note beside it. Raises what `write_part` raises."""
    path = write_part(plan, number, source)
    part = Part(plan.export_id, number, plan.parts[number].rows, path.stat().st_size, sha256_of(path))
    note = path.with_name(f".{path.name}.{secrets.token_hex(4)}.json")
    note.write_text(json.dumps(asdict(part)), encoding="utf-8")
    os.replace(note, _note(path))
    return part


def write_part(plan: ExportPlan, number: int, source: ExportSource) -> Path:
    """Write a part on this machine under a temporary name, rename it, and return its path.

    Raises Unaccounted if it has more or fewer records than planned. Raises RecordsError for a value that the format
    cannot hold.
    """
    planned, path = plan.parts[number], plan.part_path(number)
    attempt = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        rows = format_named(plan.request.format).write_part(plan, number, source, attempt)
        if rows != planned.rows:
            raise Unaccounted(
                f"Part {number + 1} of {plan.export_id} has {rows:,} records where {planned.rows:,} were planned.",
                "Nothing was published. This is a defect of records; please report it.",
            )
        os.replace(attempt, path)
    finally:
        for left in plan.work.glob(f"{attempt.name}*"):
            left.unlink()
    return path


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
