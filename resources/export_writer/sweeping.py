"""What exports leave behind, swept away: parts of those that never ended, and files past their days."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from resources.export_writer.plan import EXPORT_ID, planned_path
from resources.export_writer.publish import partial_path
from resources.settings import Settings

_PARTS_AGE = timedelta(hours=24)


@dataclass(frozen=True)
class SweptExports:
    """What was taken away: exports that never ended, files past their days, and the bytes of both."""

    unfinished: int = 0
    files: int = 0
    bytes: int = 0


def sweep_exports(settings: Settings, now: datetime) -> SweptExports:
    """Parts that nobody has added to for 24 hours are gone with their plans, and exports past RECORDS_EXPORT_DAYS.

    Only what lies in the accounts' own folders: a file that was written elsewhere is its owner's. Safe beside exports
    that run, and to repeat.
    """
    unfinished = files = size = 0
    for folder in _folders(settings):
        plan, parts = folder / "plan.json", folder / "parts"
        if plan.exists() or parts.exists():
            if now - _touched([plan, parts, *parts.glob("*")]) < _PARTS_AGE:
                continue
            size += _size(parts)
            _remove_partial(plan, folder.name)
            shutil.rmtree(parts, ignore_errors=True)
            plan.unlink(missing_ok=True)
            unfinished += 1
        if now - _planned_at(folder.name) >= settings.export_days:
            files += any(folder.iterdir())
            size += _size(folder)
            shutil.rmtree(folder, ignore_errors=True)
        elif not any(folder.iterdir()):
            folder.rmdir()
    return SweptExports(unfinished, files, size)


def _folders(settings: Settings) -> Iterator[Path]:
    """The folder of each export of each account."""
    for folder in sorted(settings.accounts.glob("*/exports/*")):
        if EXPORT_ID.fullmatch(folder.name):
            yield folder


def _planned_at(export_id: str) -> datetime:
    """When an export was planned, as its id says, to the second."""
    return datetime.strptime(export_id[2:17], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


def _touched(paths: list[Path]) -> datetime:
    """When the last of them was written; those that are gone meanwhile count no more."""
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return datetime.fromtimestamp(max(times, default=0.0), UTC)


def _remove_partial(plan: Path, export_id: str) -> None:
    """What a killed process left beside the destination is gone."""
    try:
        partial = partial_path(planned_path(plan), export_id)
    except (OSError, ValueError, KeyError):
        return
    for path in (partial, partial.with_name(f"{partial.name}.manifest")):
        path.unlink(missing_ok=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
