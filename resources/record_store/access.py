"""Decides which files an account may name: its own, and files outside the store."""

from pathlib import Path

from resources.file_storage import is_local
from resources.record_store.pending_files import PENDING
from resources.record_store.second_names import FOLDER
from resources.record_store.store_mark import MARK
from resources.settings import NOTES, OPERATORS, Settings

_OF_HOME = ("dagster", "dagster.yaml", "errors", "links.key", "workspace.yaml", *OPERATORS, *NOTES)
_OF_DATA = (MARK, PENDING, FOLDER)


def is_foreign(settings: Settings, account: str, path: Path) -> bool:
    """Return whether a path is among the store's files and not the account's own. The path may be missing.

    Links are followed: the end of the path counts.
    """
    place = path.resolve()
    for root in (
        settings.accounts,
        settings.inbox,
        settings.processing,
        settings.archive,
        settings.quarantine,
        settings.uploads,
    ):
        parts = _below(place, root) if is_local(root) else None
        if parts is not None:
            level = 1 if root == settings.processing else 0  # below a bundle
            return parts[level : level + 1] != (account,)
    of_data = filter(
        is_local,
        [settings.lake, settings.trash, settings.erasures, settings.steps, *(settings.data / it for it in _OF_DATA)],
    )
    owned = [*of_data, settings.scratch, *(settings.home / name for name in _OF_HOME)]
    folders = [folder.resolve() for folder in (settings.home, settings.data) if is_local(folder)]
    is_catalog = place.parent in folders and place.name.startswith(settings.catalog.name)  # or the lock of writers
    return is_catalog or any(_below(place, folder) is not None for folder in owned)


def _below(place: Path, folder: Path) -> tuple[str, ...] | None:
    """Return the parts of a path below a folder; None if it is not below it."""
    root = folder.resolve()
    return place.relative_to(root).parts if place.is_relative_to(root) else None
