"""`HomeWatch`: notices about changes of files and record types while `records ui` runs."""

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from resources.deliveries import Deliveries
from resources.inbox.arrivals import read_policies
from resources.record_store import RecordStore
from schemas import load_record_types, record_type_files
from schemas.errors import InvalidRequest
from schemas.record_type import RecordType

_TYPES_SECONDS = 30.0
"""How often the record types of the store are read; the times of files are compared at each call."""


class HomeWatch:
    """Watches the files that an operator edits, the modules of record types, and the record types of the store."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._operator_files = [store.settings.home / name for name in ("exports.yaml", "inbox.yaml")]
        self._times: dict[Path, float | None] = {}
        self._loaded: dict[str, RecordType] = {}
        self._modules: dict[Path, str] = {}
        self._types_at = 0.0
        self._shown = ""

    def operator_notices(self) -> list[str]:
        """Returns the mistakes in exports.yaml and inbox.yaml, if a file is new or has changed since the last call."""
        if not self._changed(self._operator_files):
            return []
        mistakes = [str(mistake) for mistake in Deliveries(self._store).mistakes]
        try:
            read_policies(self._store)
        except InvalidRequest as error:
            mistakes.append(str(error))
        return mistakes

    def type_notices(self) -> list[str]:
        """Returns what to do about record types that have changed since the first call. Says each thing once."""
        if not self._loaded:
            self._loaded = {record_type.name: record_type for record_type in load_record_types()}
            self._modules = {file: name for name, file in record_type_files().items()}
            self._changed(self._modules)
        notices = [
            f"{file}, the module of {self._modules[file]}, has changed. Run: records init. Then restart records ui."
            for file in self._changed(self._modules)
        ]
        if time.monotonic() >= self._types_at:
            self._types_at = time.monotonic() + _TYPES_SECONDS
            notice = difference(self._loaded, self._store.record_types())
            if notice != self._shown:
                self._shown = notice
                notices += [notice] if notice else []
        return notices

    def _changed(self, files: Iterable[Path]) -> list[Path]:
        """Returns the files that have another time than at the last call. A file that never existed has not changed."""
        changed = []
        for file in files:
            at = None
            with suppress(OSError):  # it may be replaced at this time
                at = file.stat().st_mtime
            if at != self._times.get(file):
                changed.append(file)
            self._times[file] = at
        return changed


def difference(loaded: Mapping[str, RecordType], known: Mapping[str, RecordType]) -> str:
    """Returns how the loaded record types and those of the store differ, and what to do; empty if they are equal."""
    missing = [name for name in loaded if name not in known]
    if missing:
        return f"The store is not prepared for {', '.join(missing)} yet. Run: records init."
    others = [name for name, record_type in known.items() if name not in loaded or loaded[name] != record_type]
    if others:
        return f"The store has other record types than this UI: {', '.join(others)}. Restart records ui."
    return ""
