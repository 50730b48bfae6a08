"""What else has records of an account: staging, reports, exports, uploads, the trash, and temporary files."""

import html
import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from resources.backup import last_backup
from resources.clock import file_time
from resources.erasure.erased_records import ErasedRecords
from resources.export_writer.plan import EXPORT_ID, PLAN
from resources.export_writer.sweeping import remove_partial
from resources.file_storage import entries, files_below, is_local, read, usage
from resources.record_store import RecordStore
from resources.record_store.ledger_erasure import Values, strings_of
from resources.settings import CELERY, K8S, Settings
from resources.uploads import Uploads
from schemas.batches import Batch
from schemas.errors import InvalidRequest
from schemas.exports import ExportManifest
from schemas.filters import parse_value
from schemas.location import Location
from schemas.record_type import Field

_RESTING = timedelta(minutes=10)
"""How long a temporary file must be unchanged before it counts as left behind, if no process has it open."""

WORK = "erasing-"
"""How the name of the folder of an erasure begins, among the temporary files."""

_STAGED = ("records.parquet", "problems.parquet")


def staged_batches(
    store: RecordStore, account: str, batches: Sequence[Batch], erased: ErasedRecords, folder: Path
) -> Iterator[Batch]:
    """Yields the batches with erased records among their staged ones."""
    for batch in batches:
        place = store.settings.folder(account, "staging") / batch.batch_id
        with suppress(FileNotFoundError), store.files.fetched(place, folder) as staged:
            if _is_staged(staged, erased):
                yield batch


def _is_staged(staged: Path, erased: ErasedRecords) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(staged / _STAGED[0])
        names = [name for name in erased.record_type.field_names if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=names):
            rows = {name: batch[name].to_pylist() for name in erased.fields if name in names}
            found = erased.among(rows)
            for at in found:
                erased.add_version({name: batch[name][at].as_py() for name in names})
            if found:
                return True
        problems = pq.read_table(staged / _STAGED[1], columns=["value"])["value"].to_pylist()
        values = erased.values
        return any(values.has(text) for text in problems)
    except (OSError, pa.ArrowException, KeyError):  # an incomplete one is of no use to anybody
        return bool(entries(staged))


def report_folders(
    settings: Settings, account: str, batches: Sequence[Batch], touched: Collection[str], erased: ErasedRecords
) -> Iterator[Location]:
    """Yields the folders of reports that show erased records, or that are about a batch which had some."""
    values = erased.values
    for batch in batches:
        folder = settings.folder(account, "reports") / batch.batch_id
        files = entries(folder)
        if files and (batch.batch_id in touched or _shows(files, values)):
            yield folder


def _shows(files: Collection[Location], values: Values) -> bool:
    """Returns whether files show an erased value. They may, if this user may not read them."""
    try:
        return any(map(values.has, _texts_of(files)))
    except PermissionError:
        return True


def beyond_reach(settings: Settings) -> Iterator[str]:
    """Yields sentences about what no erasure searches."""
    last = last_backup(settings)
    if last is not None:
        yield f"Backups such as {last.backup} in {last.place} have the records until they are removed."
    yield "Other backups, snapshots of file systems, earlier versions of objects and logs are not searched."
    if settings.executor in (CELERY, K8S):
        yield "Logs of Dagster's runs on other machines are not searched."


def lists_of_lost_keys(settings: Settings, account: str, erased: ErasedRecords) -> Iterator[Location]:
    """Yields the lists of lost records, which a repair wrote, that have a key of an erased record."""
    record_type = erased.record_type
    for place in entries(settings.folder(account, "lost")):
        keys, damaged = [], []
        for line in read(place).decode("utf-8", "replace").splitlines():
            try:
                key = json.loads(line, parse_int=str, parse_float=str)
                keys.append({name: _value(key.get(name), record_type.field(name)) for name in record_type.key})
            except (ValueError, AttributeError):  # no JSON, or no object
                damaged.append(line.encode())
        found = erased.among({name: [key[name] for key in keys] for name in record_type.key})
        if found or any(map(erased.is_in_bytes, damaged)):
            yield place


def _value(text: str | bool | None, field: Field) -> Any:
    """Returns a value of JSON as a value of the field's type; None if it is not one."""
    with suppress(InvalidRequest):
        return parse_value(str(text), field) if text is not None else None
    return None


def _texts_of(files: Collection[Location]) -> Iterator[str]:
    for file in files:
        text = read(file).decode("utf-8", "replace")
        if file.name.endswith(".json"):
            with suppress(ValueError):
                yield from strings_of(json.loads(text))
        yield html.unescape(text)


def export_folders(
    settings: Settings, account: str, record_type: str | None, may_have: Callable[[str], bool | None]
) -> Iterator[Location]:
    """Yields the folders of exports that may have erased records, among them all exports that are not complete.

    may_have: returns it for the id of a published export; None for one that the ledger does not know.
    """
    for folder in entries(settings.folder(account, "exports")):
        if not EXPORT_ID.fullmatch(folder.name):
            continue
        may = may_have(folder.name)
        plan = folder / PLAN
        is_of_type = True
        if may is None and record_type is not None:
            with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                planned = json.loads(read(plan).partition(b"\n")[2])
                is_of_type = planned["request"]["record_type"] == record_type
        if may or (may is None and is_of_type):
            yield folder


def remove_beside_destination(folder: Location) -> None:
    """Remove what an unfinished export has written beside its destination."""
    remove_partial(folder / PLAN, folder.name)


def delivered(settings: Settings, exports: Sequence[ExportManifest]) -> list[str]:
    """Returns, as sentences, the exports that were delivered to a place outside the store."""
    own = f"{settings.accounts}/"
    return [
        f"{it.path}, written on {it.at:%Y-%m-%d %H:%M} UTC by {it.actor} (export {it.export_id})"
        for it in exports
        if not str(it.path).startswith(own)
    ]


def uploads_with(
    store: RecordStore, account: str, record_type: str, erased: ErasedRecords, has_any: Callable[[Path], bool]
) -> list[Path]:
    """Returns the folders of the uploads of a type that have erased records.

    They can be in the file, in its corrections, in the file of the corrected records, and in what a person has said.
    """
    uploads, found, values = Uploads(store.settings), [], erased.values
    for upload in uploads.listed(account):
        if upload.record_type != record_type:
            continue
        folder = store.settings.uploads / account / upload.upload_id
        file = uploads.file(upload)
        parts = [file] if file.exists() else [it for it in folder.glob("file*") if it.is_file()]
        choices, failure = upload.choices, upload.failure
        said = [
            upload.name,
            *choices.column_map,
            *choices.accepted,
            *(it for map_ in choices.value_map.values() for it in map_),
        ]
        said += [] if failure is None else [failure.message, failure.hint, failure.quoted]
        if (
            any(map(values.has, said))
            or any(map(has_any, [*parts, *folder.glob("*.corrected.csv")]))
            or any(map(erased.is_in_malformed, _corrected(folder)))
        ):
            found.append(folder)
    return found


def _corrected(folder: Path) -> Iterator[list[str]]:
    """Yields the texts of the records in the corrections of an upload, as they were and as they are."""
    for path in folder.glob("*.corrections"):
        with (
            suppress(sqlite3.DatabaseError),
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database,
        ):
            for texts in database.execute("SELECT texts FROM records UNION ALL SELECT first_texts FROM records"):
                yield json.loads(texts[0])


def trash_of(settings: Settings, account: str, record_type: str | None) -> Iterator[Location]:
    """Yields what lies in the trash of an account, and of a type as far as its path tells."""
    kind = r"[^/]+" if record_type is None else re.escape(record_type)
    name = re.escape(account)
    mine = re.compile(
        rf"accounts/{name}/.*|lake/records/{kind}/_account={name}/.*|(inbox|archive|quarantine)/{name}/{kind}/.*"
    )
    for each in entries(settings.trash):
        for listed in files_below(each):
            if mine.fullmatch(str(listed.place).removeprefix(str(each)).lstrip("/")):
                yield listed.place


def left_in_scratch(settings: Settings, own: Path) -> tuple[list[Path], int]:
    """Returns the temporary files that processes left behind, and how many others are in use.

    A file is left behind if no process of this machine has it open and nothing has changed it for a while. One of an
    erasure is left behind in any case, because there is only one erasure at a time. own: the folder of this erasure.
    """
    now, held = file_time(settings.scratch), _open_files()
    left, used = [], 0
    for place in entries(settings.scratch):
        if not is_local(place) or place == own:
            continue
        if place.name.startswith(WORK) or _is_left(place, now, held):
            left.append(place)
        elif usage(place).bytes:
            used += 1
    return left, used


def _is_left(place: Path, now: datetime | None, held: Collection[str]) -> bool:
    if any(path == str(place) or path.startswith(f"{place}/") for path in held):
        return False
    at = usage(place).at
    return at is None or now is None or at + _RESTING <= now


def _open_files() -> set[str]:
    """Returns the paths of the files that processes of this machine have open, as far as this user may see them."""
    found = set()
    for process in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for descriptor in process.iterdir():
                found.add(str(descriptor.readlink()))
    return found


def error_details_with(settings: Settings, erased: ErasedRecords) -> list[Path]:
    """Returns the files with the details of defects that quote an erased record."""
    values = erased.values
    folder = settings.home / "errors"
    return [file for file in folder.glob("*.txt") if values.has(file.read_text("utf-8", "replace"))]


def operator_files_with(settings: Settings, erased: ErasedRecords) -> list[str]:
    """Returns the names of the operator's files that quote an erased record, for example in a filter."""
    values = erased.values
    files = [settings.home / name for name in ("exports.yaml", "inbox.yaml", "web.yaml")]
    return [str(file) for file in files if file.exists() and values.has(file.read_text("utf-8", "replace"))]
