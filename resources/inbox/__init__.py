"""The inbox: the folders through which arriving files move, and their import."""

from resources.file_storage import is_local
from resources.inbox.bundles import BundledFile, Inbox
from resources.inbox.folder import FolderInbox
from resources.record_store import RecordStore

__all__ = ["BundledFile", "Inbox", "inbox_of"]


def inbox_of(store: RecordStore) -> Inbox:
    """Return the inbox of a store, in folders or in an object store."""
    settings = store.settings
    if is_local(settings.data):
        return FolderInbox(settings)
    from resources.inbox.object_store import ObjectInbox

    return ObjectInbox(settings, store.files, store.lock)
