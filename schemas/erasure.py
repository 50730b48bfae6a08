"""Erasures as values: what to erase, what was found, and the receipt."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class ErasureStatus(StrEnum):
    """The status of an erasure. One that has begun and is not done was interrupted: the same command completes it."""

    BEGUN = "begun"
    DONE = "done"


class Found(StrEnum):
    """The places that an erasure searches, as a receipt names them."""

    RECORDS = "records, in every snapshot"
    PREVIEWS = "previews"
    STAGED = "staged records of commits"
    REJECTS = "rejects files"
    REPORTS = "reports"
    EXPORTS = "exports in the account's folder"
    INBOX = "files in the inbox"
    ARCHIVE = "files in the archive"
    QUARANTINE = "files in quarantine"
    UPLOADS = "uploads with their corrections"
    LOST = "lists of lost records"
    TRASH = "trash"
    TEMPORARY = "temporary files"
    LEDGER = "rows of the ledger"
    RUNS = "runs and events of Dagster"


@dataclass(frozen=True)
class Erasure:
    """An erasure as the ledger records it, without any value.

    record_type: None if the whole account was deleted.
    """

    erasure_id: str
    account: str
    record_type: str | None
    status: ErasureStatus
    actor: str
    at: datetime
    counts: Mapping[str, int] = field(default_factory=dict)

    def may_have_touched(self, places: Iterable[Found]) -> bool:
        """Returns whether it changed something in one of the places, or does not say so: it was interrupted."""
        return self.record_type is None or any(self.counts.get(place.name.lower(), 1) for place in places)

    def message(self) -> str:
        """Returns what was erased, as a sentence without values."""
        what = "The account was deleted" if self.record_type is None else f"Records of {self.record_type} were erased"
        done = "" if self.status is ErasureStatus.DONE else ", which is not complete: run the same command again"
        return f"{what} on {self.at:%Y-%m-%d %H:%M} UTC by {self.actor} ({self.erasure_id}){done}."


def sentence_of_receipt(receipt: bytes) -> str | None:
    """Returns what the receipt of an erasure is about, as a sentence; None for a file that is no receipt."""
    try:
        found = json.loads(receipt)
        erasure = Erasure(
            *(found["erasure_id"], found["account"], found["record_type"], ErasureStatus.DONE, found["actor"]),
            datetime.fromisoformat(found["at"]),
        )
        return erasure.message()
    except (ValueError, KeyError, TypeError):
        return None


def is_erased_since(
    erasures: Iterable[Erasure], account: str, record_type: str, since: datetime, places: Iterable[Found]
) -> bool:
    """Returns whether one of the erasures may have touched an account's records of a type in the places since then."""
    places = tuple(places)
    return any(
        it.account == account
        and it.record_type in (None, record_type)
        and it.at >= since
        and it.may_have_touched(places)
        for it in erasures
    )


@dataclass(frozen=True)
class ErasureRequest:
    """Records of one account and type to erase: those with the keys, and those with all of the values.

    keys: texts of the key, for a type with one key field. matching: field to text.
    """

    account: str
    record_type: str
    keys: tuple[str, ...] = ()
    matching: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Touched:
    """What was done in one place, or would be: files or rows that were rewritten and removed, and erased records."""

    place: Found
    rewritten: int = 0
    removed: int = 0
    records: int = 0

    def __add__(self, other: "Touched") -> "Touched":
        """Returns the sum of both, of one place."""
        return Touched(
            self.place, self.rewritten + other.rewritten, self.removed + other.removed, self.records + other.records
        )


@dataclass(frozen=True)
class ErasureReport:
    """The receipt of an erasure, or the plan of one.

    erasure_id: None for a dry run.
    record_type: None if the whole account was deleted.
    touched: every place that was searched, also where nothing was found.
    discarded: the ids of previews that were discarded, because they had the records.
    beyond: what the erasure cannot reach, as sentences.
    receipt: where the receipt lies; None for a dry run.
    not_found: the given keys of which nothing was found. The receipt has no key, so it leaves them out.
    """

    erasure_id: str | None
    account: str
    record_type: str | None
    actor: str
    at: datetime
    touched: tuple[Touched, ...]
    discarded: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()
    receipt: str | None = None
    not_found: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        """Returns how many versions of records were found in the lake."""
        return sum(it.records for it in self.touched if it.place is Found.RECORDS)

    @property
    def is_empty(self) -> bool:
        """Returns whether nothing was found anywhere."""
        return not any(it.rewritten or it.removed or it.records for it in self.touched)

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys of the receipt. The command prints them too."""
        return {
            "erasure_id": self.erasure_id,
            "account": self.account,
            "record_type": self.record_type,
            "actor": self.actor,
            "at": self.at.isoformat(),
            "searched": [
                {"place": it.place.value, "rewritten": it.rewritten, "removed": it.removed, "records": it.records}
                for it in self.touched
            ],
            "discarded": list(self.discarded),
            "beyond": list(self.beyond),
            "receipt": self.receipt,
        }
