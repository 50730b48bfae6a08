"""When the store was checked last, and with which result: a small file beside the data, for monitoring."""

import json
from dataclasses import dataclass
from datetime import datetime

from resources.file_storage import read
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.checks import CheckReport

_LAST = "last-check.json"


@dataclass(frozen=True)
class LastCheck:
    """The last check of a store: when it ended, how many things were wrong, and whether it read names alone."""

    at: datetime
    wrong: int
    fast: bool


def note_check(store: RecordStore, report: CheckReport) -> None:
    """Write down that the store was checked now. The check itself changes nothing."""
    noted = {"at": store.clock.now().isoformat(), "wrong": len(report.wrong), "fast": report.fast}
    with store.files.making(store.settings.data / _LAST) as made:
        made.write_text(json.dumps(noted), encoding="utf-8")


def last_check(settings: Settings) -> LastCheck | None:
    """Return the last check of the store; None if there was none, or its file cannot be read."""
    try:
        noted = json.loads(read(settings.data / _LAST))
        return LastCheck(datetime.fromisoformat(noted["at"]), int(noted["wrong"]), bool(noted["fast"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
