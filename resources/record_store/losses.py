"""The rows of the ledger about records that were lost: their files, their batches, and where their keys are listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from resources.record_store.lake import Connection
from resources.record_store.ledger_rows import append_rows
from schemas.counts import numbered


@dataclass(frozen=True)
class Loss:
    """A file of records that was lost, with the batches that it touched.

    keys: the file with the keys of its records, below the data; None if no key is known.
    """

    path: str
    account: str
    record_type: str
    records: int
    batches: tuple[str, ...]
    keys: str | None
    actor: str
    at: datetime

    def message(self) -> str:
        """Return what was lost, and what to do, as sentences without a key."""
        lost = f"{numbered(self.records, 'record')} of {self.record_type} of {self.account}"
        keys = "Their keys are not known." if self.keys is None else f"{self.keys} lists their keys."
        return (
            f"A repair on {self.at:%Y-%m-%d} marked {lost} as lost. {keys} Import their files again, if not yet done."
        )


def append_loss(transaction: Connection, seq: int, loss: Loss) -> None:
    """Record a loss."""
    row = {name: value for name, value in vars(loss).items() if name != "at"}
    append_rows(transaction, "losses", {"seq": seq, "recorded_at": loss.at, **row, "batches": list(loss.batches)})


def recorded(connection: Connection, paths: Sequence[str] | None = None) -> list[Loss]:
    """Return the recorded losses, oldest first: all of them, or those of some files."""
    if ("ledger", "losses") not in connection.filled:
        return []
    rows = connection.execute(
        "SELECT path, account, record_type, records, batches, keys, actor, recorded_at FROM lake.ledger.losses "
        "WHERE ?::VARCHAR[] IS NULL OR list_contains(?::VARCHAR[], path) ORDER BY seq",
        [paths, paths],
    ).fetch_all()
    return [
        Loss(path, account, kind, number, tuple(batches), *rest) for path, account, kind, number, batches, *rest in rows
    ]


def messages(connection: Connection, account: str, record_type: str) -> tuple[str, ...]:
    """Return a message for each loss of present records of an account and type."""
    found = recorded(connection)
    return tuple(it.message() for it in found if it.records and (it.account, it.record_type) == (account, record_type))


def touching(connection: Connection, batch_id: str) -> Loss | None:
    """Return a loss that touched a batch; None if there is none."""
    return next((loss for loss in recorded(connection) if batch_id in loss.batches), None)
