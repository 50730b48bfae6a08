"""Reads and appends the rows of the ledger about exports."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from resources.file_storage import location
from resources.record_store.lake import Connection
from resources.record_store.ledger_rows import (
    append_rows,
    filters_of,
    is_newest_export,
    rows_after,
    rows_with,
)
from resources.record_store.ledger_rows import rows as rows_of
from schemas.exports import ExportManifest, ExportRequest
from schemas.location import Location

_EXPORT_COLUMNS = (
    "export_id, account, record_type, actor, recorded_at, format, columns, snapshot, snapshot_at, "
    "rows, bytes, sha256, path, run_id, detail"
)
_EXPORT_VALUES = (
    "export_id", "account", "record_type", "actor", "format", "snapshot", "snapshot_at", "rows", "bytes", "sha256",
    "run_id",
)  # fmt: skip
_EXPORT_DETAIL = ("request", "since", "full", "seconds", "notes", "versions")


def append_export(transaction: Connection, seq: int, manifest: ExportManifest) -> None:
    """Record that the export was published."""
    written = manifest.to_dict()
    detail = {name: written[name] for name in _EXPORT_DETAIL}
    append_rows(
        transaction,
        "exports",
        {
            "seq": seq,
            "recorded_at": manifest.at,
            **{name: getattr(manifest, name) for name in _EXPORT_VALUES},
            "columns": list(manifest.columns),
            "path": str(manifest.path),
            "detail": json.dumps(detail, ensure_ascii=False),
        },
    )


def exports(
    connection: Connection,
    *,
    account: str | None = None,
    record_type: str | None = None,
    actor: str | None = None,
    export_id: str | None = None,
    sha256: str | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> list[ExportManifest]:
    """Returns the exports that match every given filter, newest first."""
    filters, values = filters_of(
        account=account, record_type=record_type, actor=actor, export_id=export_id, sha256=sha256
    )
    found = rows_with(connection, "exports", export_id=export_id, sha256=sha256, account=account)
    if limit is not None and not any((record_type, actor, export_id, sha256)):
        found = rows_of(connection, "exports", is_newest_export(connection, account, offset + limit))
    rows = connection.execute(
        f"SELECT {_EXPORT_COLUMNS} FROM {found} {filters} ORDER BY export_id DESC LIMIT ? OFFSET ?",
        [*values, limit, offset],
    ).fetch_all()
    return [_export(connection, row) for row in rows]


def latest_exports(connection: Connection, record_type: str) -> list[ExportManifest]:
    """Returns the last export to each path if it is of a type, of all accounts, oldest first."""
    rows = connection.execute(
        f"""
        SELECT {_EXPORT_COLUMNS} FROM (
            SELECT * FROM {rows_of(connection, "exports")}
            QUALIFY row_number() OVER (PARTITION BY path ORDER BY export_id DESC) = 1
        ) WHERE record_type = ? ORDER BY export_id
        """,
        [record_type],
    ).fetch_all()
    return [_export(connection, row) for row in rows]


def exports_with_columns(
    connection: Connection, account: str, record_type: str, columns: Sequence[str]
) -> list[tuple[str, ExportRequest]]:
    """Returns id and request of exports in CSV with these columns: the newest for each way of writing them.

    Reads few columns only, as `request_of_export` does.
    """
    rows = connection.execute(
        f"""
        SELECT export_id, detail FROM {rows_with(connection, "exports", account=account)}
        WHERE columns = ?::VARCHAR[] AND account = ? AND record_type = ? AND (detail ->> '$.request.format') = 'csv'
        QUALIFY row_number() OVER (
            PARTITION BY detail ->> '$.request.encoding', detail ->> '$.request.escaped' ORDER BY export_id DESC
        ) = 1
        ORDER BY export_id DESC
        """,
        [list(columns), account, record_type],
    ).fetch_all()
    return [(export_id, ExportRequest.from_dict(json.loads(detail)["request"])) for export_id, detail in rows]


def has_export(connection: Connection, export_id: str) -> bool:
    """Returns whether there is an export with this id, of any account."""
    found = connection.execute(
        f"SELECT export_id FROM {rows_with(connection, 'exports', export_id=export_id)} WHERE export_id = ?",
        [export_id],
    ).fetch_all()
    return bool(found)


def request_of_export(connection: Connection, sha256: str) -> ExportRequest | None:
    """Returns the request of an export with these bytes, of any account; None if there is none."""
    rows = connection.execute(
        f"SELECT detail FROM {rows_with(connection, 'exports', sha256=sha256)} WHERE sha256 = ?", [sha256]
    ).fetch_all()
    requests = [ExportRequest.from_dict(json.loads(detail)["request"]) for (detail,) in rows if detail]
    return next(iter(requests), None)


def exports_after(connection: Connection, seq: int, limit: int) -> list[tuple[int, ExportManifest]]:
    """Returns the exports after a row of the ledger, oldest first."""
    rows = rows_after(connection, "exports", _EXPORT_COLUMNS, seq, limit)
    return [(row[0], _export(connection, row[1:])) for row in rows]


def _export(connection: Connection, row: Sequence[Any]) -> ExportManifest:
    values = dict(zip(_EXPORT_COLUMNS.split(", "), row, strict=True))
    values["at"] = values.pop("recorded_at")
    values |= {"columns": tuple(values["columns"]), "path": _present_path(connection, values)}
    detail = values.pop("detail")
    if detail is None:  # an earlier version did not record it
        return ExportManifest(**values)
    details = json.loads(detail)
    details |= {"request": ExportRequest.from_dict(details["request"]), "notes": tuple(details["notes"])}
    return ExportManifest(**values, **details)


def _present_path(connection: Connection, values: Mapping[str, Any]) -> Location:
    """Returns the path of an export. The data of the store may have moved since it was made."""
    own = f"{values['account']}/exports/{values['export_id']}"
    folder, _, name = values["path"].rpartition("/")
    return connection.accounts / own / name if folder.endswith(f"/accounts/{own}") else location(values["path"])
