"""Cleaning up after exports: parts of exports that never ended, and files older than RECORDS_EXPORT_DAYS."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from resources.clock import time_of
from resources.export_writer.plan import EXPORT_ID, PLAN, planned_path
from resources.export_writer.publish import earlier_manifest_path, partial_files
from resources.file_storage import entries, is_local, names_in, remove, usage
from resources.settings import Settings
from resources.trash import Trash
from schemas.errors import DamagedFile
from schemas.location import Location

_PARTS_AGE = timedelta(hours=24)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SweptExports:
    """The number of unfinished exports and of old files that were removed, and the bytes of both."""

    unfinished: int = 0
    files: int = 0
    bytes: int = 0


def sweep_exports(settings: Settings, now: datetime) -> SweptExports:
    """Delete plans and parts to which nothing was added for 24 hours, and move old exports to the trash.

    Only the accounts' own folders are cleaned: a file that was written elsewhere belongs to the user.
    It is safe to do so while exports run, and to repeat it.
    """
    unfinished = files = size = 0
    trash = Trash(settings)
    for folder in _folders(settings):
        plan, parts = folder / PLAN, folder / "parts"
        held = {each.name for each in entries(folder)}
        if not held.isdisjoint((plan.name, parts.name)):
            of_parts, of_plan = usage(parts), usage(plan)
            if now - max(filter(None, (of_parts.at, of_plan.at)), default=_NEVER) < _PARTS_AGE:
                continue
            size += of_parts.bytes
            remove_partial(plan, folder.name)
            remove(parts)
            remove(plan)
            held -= {plan.name, parts.name}
            unfinished += 1
        if now - time_of(folder.name) >= settings.export_days:
            files += bool(held)
            size += trash.put(folder, now).bytes
        elif not held:
            remove(folder)
    return SweptExports(unfinished, files, size)


def _folders(settings: Settings) -> Iterator[Location]:
    """Yield the folder of each export of each account."""
    for account in names_in(settings.accounts):
        folder = settings.folder(account, "exports")
        yield from (folder / name for name in names_in(folder) if EXPORT_ID.fullmatch(name))


def remove_partial(plan: Location, export_id: str) -> None:
    """Delete what a killed process left beside the destination."""
    try:
        path = planned_path(plan)
    except (OSError, KeyError, DamagedFile):
        return
    if is_local(path):
        for left in (*partial_files(path, export_id), earlier_manifest_path(path, export_id)):
            left.unlink(missing_ok=True)
