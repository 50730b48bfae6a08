"""How much room a store takes, by account and record type, and how long the disk lasts."""

from dataclasses import replace
from datetime import timedelta

from resources.disk_space import free_bytes
from resources.file_storage import files_below, is_local, size_of
from resources.record_store import RecordStore, examination, lake_files, ledger, ledger_exports
from resources.upkeep.leftovers import is_needed
from schemas.space import Room, SpaceReport

_DAYS = 7
"""Over how many days at most the rate of writing is measured."""

_KINDS = {"staging": "staging", "reports": "results", "rejects": "results", "lost": "results", "exports": "exports"}


def measure_space(store: RecordStore) -> SpaceReport:
    """Return the room that a store takes. The records are counted by the catalog, all other files by their sizes."""
    settings, data = store.settings, store.settings.data
    with store.reading() as connection:
        now = store.time(connection)
        lake = lake_files.listed(connection)
        retired = lake_files.retired(connection)
        batches = {it.batch_id: it for it in ledger.batches(connection)}
        exports = {it.export_id: it.record_type for it in ledger_exports.exports(connection)}
        written, first = examination.bytes_written(connection, now - timedelta(days=_DAYS))
    days = min(_DAYS, max(1, -(-(now - (first or now)) // timedelta(days=1))))
    found: dict[tuple[str, str], Room] = {}

    def add(account: str, record_type: str, room: Room) -> None:
        found[account, record_type] = found.get((account, record_type), Room()) + room

    ledger_bytes = 0 if settings.postgres is not None else size_of(settings.catalog) or 0
    for file in {it.path: it for it in lake}.values():
        if file.schema == "ledger":
            ledger_bytes += file.bytes
        else:
            room = Room(present=file.bytes) if file.end is None else Room(history=file.bytes)
            add(file.account or "", file.table, room)
    reclaimable = 0
    for path in retired:
        size = size_of(data / path) or 0
        parts = path.split("/")
        account = parts[3].removeprefix("_account=") if parts[3].startswith("_account=") else ""
        add(account, parts[2], Room(history=size))
        reclaimable += size
    for listed in files_below(settings.accounts):
        account, kind, *rest = settings.path_below_data(listed.place).split("/")[1:]
        if kind not in _KINDS or not rest:
            continue
        batch = batches.get(rest[0])
        record_type = batch.record_type if batch is not None else exports.get(rest[0], "")
        add(account, record_type, replace(Room(), **{_KINDS[kind]: listed.bytes}))
        if kind == "exports":
            is_kept = now - listed.put_at < settings.export_days
        else:
            is_kept = batch is not None and is_needed(kind, batch, now, settings.rollback_window)
        if not is_kept and kind != "lost":
            reclaimable += listed.bytes
    for root in (settings.processing, settings.archive, settings.quarantine):
        for listed in files_below(root):
            parts = settings.path_below_data(listed.place).split("/")[1:]
            account, record_type, *_ = [*parts[1 if root == settings.processing else 0 : -1], "", ""]
            add(account, record_type, Room(archive=listed.bytes))
            if root != settings.processing and now - listed.put_at >= settings.archive_days:
                reclaimable += listed.bytes
    for listed in files_below(settings.trash):
        add("", "", Room(trash=listed.bytes))
        reclaimable += listed.bytes
    return SpaceReport(
        dict(sorted(found.items())),
        ledger_bytes,
        reclaimable,
        written // days,
        days,
        free_bytes(data) if is_local(data) else None,
    )
