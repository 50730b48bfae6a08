"""How much room the store took when it was measured last: a small file beside the data, for monitoring."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from resources.file_storage import read
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas.space import Room, SpaceReport

_LAST = "last-space.json"


@dataclass(frozen=True)
class LastSpace:
    """The room that a store took at one time.

    rooms: by account and record type. The account is empty unless RECORDS_METRICS_ACCOUNTS asked for names.
    reclaimable, a_day: as in `SpaceReport`.
    """

    at: datetime
    rooms: Mapping[tuple[str, str], Room]
    reclaimable: int
    a_day: int


def note_space(store: RecordStore, report: SpaceReport) -> None:
    """Write down the room that the store takes now."""
    rooms: dict[tuple[str, str], Room] = {}
    for (account, record_type), room in report.accounts.items():
        owner = account if store.settings.metrics_accounts else ""
        rooms[owner, record_type] = rooms.get((owner, record_type), Room()) + room
    noted = {
        "at": store.clock.now().isoformat(),
        "rooms": [[account, record_type, asdict(room)] for (account, record_type), room in rooms.items()],
        "reclaimable": report.reclaimable,
        "bytes_a_day": report.a_day,
    }
    with store.files.making(store.settings.data / _LAST) as made:
        made.write_text(json.dumps(noted), encoding="utf-8")


def last_space(settings: Settings) -> LastSpace | None:
    """Return the room of the store when it was measured last; None if it was not, or its file cannot be read."""
    try:
        noted = json.loads(read(settings.data / _LAST))
        rooms = {(account, record_type): Room(**room) for account, record_type, room in noted["rooms"]}
        at = datetime.fromisoformat(noted["at"])
        return LastSpace(at, rooms, int(noted["reclaimable"]), int(noted["bytes_a_day"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
