"""Which files an account may name: its own, and what does not belong to the store."""

from pathlib import Path

from resources.file_storage import is_local
from resources.record_store.pending_files import PENDING
from resources.record_store.second_names import FOLDER
from resources.record_store.store_mark import MARK
from resources.settings import Settings

_OF_HOME = ("dagster", "exports.yaml", "inbox.yaml", "ui.json", "workspace.yaml")


def is_foreign(settings: Settings, account: str, path: Path) -> bool:
    """Whether a path leads to what the store keeps and what is not the account's, whether or not it is there.

    Links are followed: what counts is where the path ends.
    """
    place = path.resolve()
    for root in (settings.accounts, settings.inbox, settings.processing, settings.archive, settings.quarantine):
        parts = _below(place, root) if is_local(root) else None
        if parts is not None:
            level = 1 if root == settings.processing else 0  # below a bundle
            return parts[level : level + 1] != (account,)
    of_data = filter(
        is_local, [settings.lake, settings.trash, settings.data / MARK, settings.data / PENDING, settings.data / FOLDER]
    )
    kept = [*of_data, settings.scratch, *(settings.home / name for name in _OF_HOME)]
    is_catalog = place.parent == settings.catalog.parent.resolve() and place.name.startswith(settings.catalog.name)
    return is_catalog or any(_below(place, folder) is not None for folder in kept)


def _below(place: Path, folder: Path) -> tuple[str, ...] | None:
    """The parts of a path below a folder; None where it leads elsewhere."""
    root = folder.resolve()
    return place.relative_to(root).parts if place.is_relative_to(root) else None
