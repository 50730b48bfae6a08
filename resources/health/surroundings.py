"""Looks at what a store stands on: the machine, its disks and its clock.

Each look is a function of the settings. It returns a sentence about what is missing, or None. To add one, write the
function and add it to SURROUNDINGS, or to READ.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta

from resources.backup import last_backup
from resources.clock import SystemClock, file_time
from resources.disk_space import existing_folder, free_bytes
from resources.file_reader.confinement import confinement
from resources.file_storage import is_local
from resources.record_store.catalog import catalog_of
from resources.record_store.extensions import extension_package, is_signed
from resources.settings import Settings
from schemas.checks import Finding, Kind

Look = Callable[[Settings], str | None]

_SCARCE = 2_000_000_000
"""Free bytes below which a disk is nearly full: a file of a few hundred megabytes needs so many to be imported."""

_OLD = timedelta(days=8)
"""The age from which a backup is too old: a weekly one is missing."""


def disk_of_data(settings: Settings) -> str | None:
    """Return a sentence if the disk of the data is nearly full."""
    if not is_local(settings.data):
        return None
    free = free_bytes(settings.data)
    if free >= _SCARCE:
        return None
    return f"The disk of {existing_folder(settings.data)} has only {free / 1_000_000:,.0f} MB free."


def disk_of_scratch(settings: Settings) -> str | None:
    """Return a sentence if the disk for temporary files is nearly full, and is not that of the data."""
    if is_local(settings.data):
        folders = existing_folder(settings.scratch), existing_folder(settings.data)
        if folders[0].stat().st_dev == folders[1].stat().st_dev:
            return None
    free = free_bytes(settings.scratch)
    if free >= _SCARCE:
        return None
    return f"The disk of {existing_folder(settings.scratch)} has only {free / 1_000_000:,.0f} MB free."


def clock(settings: Settings) -> str | None:
    """Return a sentence if the clock of this machine and that of its file system differ."""
    return SystemClock().doubt(None, file_time(settings.scratch))


def reading_process(_: Settings) -> str | None:
    """Return a sentence if the kernel cannot confine the process that reads files."""
    return " ".join(confinement().missing) or None


def backup(settings: Settings) -> str | None:
    """Return a sentence if there is no backup, or only an old one."""
    last = last_backup(settings)
    if last is None:
        return "No backup of this store was made: records backup PLACE."
    age = SystemClock().now() - last.at
    return f"The last backup is {age.days} days old. It is in {last.place}." if age > _OLD else None


def extensions(settings: Settings) -> str | None:
    """Return a sentence if an extension of DuckDB that the store needs is not as DuckDB signed it."""
    changed = [name for name in ("ducklake", catalog_of(settings).scanner) if not is_signed(name)]
    if not changed:
        return None
    packages = " ".join(map(extension_package, changed))
    return f"Files of DuckDB were changed after DuckDB signed them: pip install --force-reinstall {packages}."


SURROUNDINGS: tuple[Look, ...] = (disk_of_data, disk_of_scratch, clock, reading_process, backup)
READ: tuple[Look, ...] = (extensions,)
"""Those that read files, which a fast check leaves out."""


def lacking(settings: Settings, *, fast: bool) -> Iterator[Finding]:
    """Yield what the surroundings lack. If `fast`, no file is read for that."""
    for look in SURROUNDINGS if fast else SURROUNDINGS + READ:
        sentence = look(settings)
        if sentence is not None:
            yield Finding(Kind.DEPLOYMENT, sentence)
