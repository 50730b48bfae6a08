"""What exports leave behind, swept away: parts of those that never ended, and files past their days."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from resources.export_writer.plan import EXPORT_ID, PLAN, planned_path
from resources.export_writer.publish import manifest_path, partial_path
from resources.file_storage import entries, is_local, kept, remove
from resources.settings import Settings
from resources.trash import Trash
from schemas.errors import DamagedFile
from schemas.location import Location

_PARTS_AGE = timedelta(hours=24)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SweptExports:
    """What was taken away: exports that never ended, files past their days, and the bytes of both."""

    unfinished: int = 0
    files: int = 0
    bytes: int = 0


def sweep_exports(settings: Settings, now: datetime) -> SweptExports:
    """Delete parts that nobody has added to for 24 hours, with their plans; exports past their days go to the trash.

    Only what lies in the accounts' own folders: a file that was written elsewhere is its owner's. Safe beside exports
    that run, and to repeat.
    """
    unfinished = files = size = 0
    trash = Trash(settings)
    for folder in _folders(settings):
        plan, parts = folder / PLAN, folder / "parts"
        held = {each.name for each in entries(folder)}
        if not held.isdisjoint((plan.name, parts.name)):
            of_parts, of_plan = kept(parts), kept(plan)
            if now - max(filter(None, (of_parts.at, of_plan.at)), default=_LONG_AGO) < _PARTS_AGE:
                continue
            size += of_parts.bytes
            _remove_partial(plan, folder.name)
            remove(parts)
            remove(plan)
            held -= {plan.name, parts.name}
            unfinished += 1
        if now - _planned_at(folder.name) >= settings.export_days:
            files += bool(held)
            size += trash.put(folder, now).bytes
        elif not held:
            remove(folder)
    return SweptExports(unfinished, files, size)


def _folders(settings: Settings) -> Iterator[Location]:
    """The folder of each export of each account."""
    for account in entries(settings.accounts):
        yield from (each for each in entries(account / "exports") if EXPORT_ID.fullmatch(each.name))


def _planned_at(export_id: str) -> datetime:
    """When an export was planned, as its id says, to the second."""
    return datetime.strptime(export_id[2:17], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


def _remove_partial(plan: Location, export_id: str) -> None:
    """What a killed process left beside the destination is gone."""
    try:
        path = planned_path(plan)
    except (OSError, KeyError, DamagedFile):
        return
    if is_local(path):
        partial = partial_path(path, export_id)
        for left in (partial, manifest_path(partial)):
            left.unlink(missing_ok=True)
