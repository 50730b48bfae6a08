"""Compares the files that arrived in the inbox with the ledger: each one is in exactly one place."""

from collections.abc import Iterator, Mapping

from resources.clock import time_of
from resources.health.inventory import Inventory, Present
from resources.inbox.bundles import digest
from resources.settings import Settings
from schemas.batches import Batch
from schemas.checks import Finding, Kind, listed
from schemas.erasure import Found

_PLACES = (Found.INBOX, Found.ARCHIVE, Found.QUARANTINE)
"""The places in the receipt of an erasure where an arrived file can be."""


def misplaced(settings: Settings, inventory: Inventory) -> dict[str, Finding]:
    """Return the arrived files that are in no place or in several, by the id of their arrival.

    A person may take a file out of quarantine, for example to correct it. So only files that were written to the
    records must be somewhere, and only while the archive keeps them. An erasure that touched such
    places may have removed earlier ones.
    """
    places = _places(inventory.present)
    return {
        arrival: finding
        for arrival, batch in _last_of_arrivals(inventory.batches).items()
        if (finding := _finding(settings, inventory, arrival, batch, places)) is not None
    }


def foreign(inventory: Inventory) -> Iterator[Finding]:
    """Yield the archived files that the ledger has no batch for, or in the folder of another account."""
    for path in inventory.present:
        parts = path.split("/")
        if parts[0] != "archive":
            continue
        batch = inventory.batches.get(parts[3]) if len(parts) == 5 else None
        if batch is None:
            yield Finding(Kind.SUPERFLUOUS, f"{path} is in the archive, and the ledger has no batch for it.", path)
        elif [batch.account, batch.record_type] != parts[1:3]:
            sentence = f"{path} is a file of {batch.record_type} of {batch.account}."
            yield Finding(Kind.MISPLACED, sentence, path, batch.account, (batch.batch_id,))


def _finding(
    settings: Settings, inventory: Inventory, arrival: str, batch: Batch, places: Mapping[str, list[str]]
) -> Finding | None:
    found = sorted({*places.get(arrival, ()), *places.get(batch.batch_id, ())})
    is_young = inventory.now - time_of(arrival) < settings.archive_days
    is_kept = is_young and not inventory.is_erased_since(batch, *_PLACES)
    if len(found) > 1:
        what = f"is in several places: {listed(found)}"
    elif not found and batch.committed_at is not None and is_kept:
        what = "is in no place: neither in processing, nor in the archive, nor in quarantine"
    else:
        return None
    sentence = f"{batch.file_name} of {batch.account}, which arrived as {batch.batch_id}, {what}."
    return Finding(Kind.MISPLACED, sentence, found[0] if found else None, batch.account, (batch.batch_id,))


def _last_of_arrivals(batches: Mapping[str, Batch]) -> dict[str, Batch]:
    """Return the last batch of each arrival. An earlier one was discarded, because the records had changed."""
    ordered = sorted(batches.values(), key=lambda batch: batch.batch_id[2:])
    return {batch.arrival_id: batch for batch in ordered if batch.arrival_id is not None}


def _places(present: Mapping[str, Present]) -> dict[str, list[str]]:
    """Return the folders with arrived files, by batch for the archive, and by arrival for the others."""
    found: dict[str, set[str]] = {}
    for path in present:
        root, *parts = path.split("/")
        if (root == "archive" and len(parts) == 4) or (root == "quarantine" and len(parts) == 4):
            found.setdefault(parts[2], set()).add(path.rpartition("/")[0])
        elif root == "processing" and len(parts) > 3:
            arrival = f"{parts[0]}-{digest(parts[1], parts[2], parts[-1])}"
            found.setdefault(arrival, set()).add(path.rpartition("/")[0])
    return {key: sorted(folders) for key, folders in found.items()}
