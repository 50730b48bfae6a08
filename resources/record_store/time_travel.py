"""Finds the snapshot of a time, a batch or an export."""

import re
from dataclasses import dataclass
from datetime import datetime

from resources.record_store import ledger, ledger_exports
from resources.record_store.lake import Connection
from resources.record_store.refusals import no_such_batch, no_such_export
from resources.record_store.snapshots import snapshots_of
from schemas.errors import BeyondHorizon, Refused
from schemas.filters import parse_timestamp

_ID = re.compile(r"(?P<kind>[a-z])-\d{8}-\d{9}-[0-9a-f]{6}")


@dataclass(frozen=True)
class Snapshot:
    """A version of the lake, and when it was made."""

    number: int
    at: datetime


def current(connection: Connection) -> Snapshot:
    """Return the newest snapshot."""
    return Snapshot(
        *connection.fetch_one(
            "SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('lake') ORDER BY snapshot_id DESC LIMIT 1"
        )
    )


def snapshot_of(connection: Connection, account: str, meant: str | None) -> Snapshot:
    """Return the snapshot that was current at a time, that a batch made, or that an export has.

    meant: a time, or the id of a batch or export of the account. None means the newest snapshot.

    Raises NotFound for a batch or export that does not exist or belongs to another account. Raises Refused for a batch
    that has written nothing, InvalidRequest for any other text, and BeyondHorizon if the snapshot is no longer kept.
    """
    if meant is None:
        return current(connection)
    oldest = Snapshot(
        *connection.fetch_one(
            "SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('lake') ORDER BY snapshot_id LIMIT 1"
        )
    )
    id_ = _ID.fullmatch(meant)
    condition, value = "snapshot_id = ?", None
    if id_ and id_["kind"] == "e":
        export = next(iter(ledger_exports.exports(connection, export_id=meant, account=account)), None)
        if export is None:
            raise no_such_export(meant)
        value = export.snapshot
    elif id_:
        batch = ledger.batch(connection, meant, account)
        if batch is None:
            raise no_such_batch(meant)
        number = snapshots_of(connection, [meant]).get(meant)
        if number is None and batch.committed_at is None:
            raise Refused(f"Batch {meant} is {batch.status.value}: it has written nothing.", "Name a committed one.")
        value = number
    else:
        condition, value = "snapshot_time <= ?", parse_timestamp(meant)  # type: ignore[assignment]
    found = connection.execute(
        "SELECT snapshot_id, snapshot_time FROM ducklake_snapshots('lake') "
        f"WHERE {condition} ORDER BY snapshot_id DESC LIMIT 1",
        [value],
    ).fetch_all()
    if not found:
        raise BeyondHorizon(
            f"The records as of {meant} are no longer kept.",
            f"The oldest records are: --as-of {oldest.at:%Y-%m-%dT%H:%M:%S.%f}Z.",
        )
    return Snapshot(*found[0])
