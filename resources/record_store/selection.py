"""Turns a request for an export into a selection: which records of which snapshot."""

from collections.abc import Mapping

from resources.record_store import ledger
from resources.record_store.export_source import Selection
from resources.record_store.lake import Connection
from resources.record_store.refusals import no_such_type
from resources.record_store.time_travel import Snapshot, snapshot_of
from schemas.errors import BeyondHorizon, InvalidRequest, NotFound
from schemas.exports import ExportRequest
from schemas.filters import parse_filter, parse_order
from schemas.record_type import RecordType


def select(connection: Connection, request: ExportRequest) -> tuple[Selection, Snapshot]:
    """Return the selection of a request, and the snapshot of its records.

    Raises NotFound for an unknown account, type or batch. Raises InvalidRequest for invalid columns, presets, filters
    or order. Raises BeyondHorizon for records as of a time that is no longer kept. If the changes since such a time are
    requested, the selection has all records.
    """
    require_account(connection, request.account)
    record_type = known_type(connection, request.record_type)
    now = snapshot_of(connection, request.account, request.as_of)
    since, full = None, False
    if request.changed_since is not None:
        try:
            since = snapshot_of(connection, request.account, request.changed_since)
        except BeyondHorizon:
            full = True
        if since is not None and since.number > now.number:
            raise InvalidRequest(
                f"--changed-since {request.changed_since} is later than {request.as_of or 'now'}.",
                "Give an earlier --changed-since, or a later --as-of.",
            )
    selection = Selection(
        record_type=record_type,
        columns=_columns(connection, record_type, request),
        order=parse_order(request.order_by, record_type),
        filters=tuple(parse_filter(text, record_type) for text in request.filters),
        snapshot=now.number,
        since=None if since is None else since.number,
        full=full,
    )
    return selection, now


def require_account(connection: Connection, account: str) -> None:
    """Raise NotFound if the account does not exist."""
    if not ledger.has_account(connection, account):
        raise NotFound(f"There is no account {account!r}.", "List the accounts: records accounts list.")


def known_type(connection: Connection, name: str) -> RecordType:
    """Return the record type as the store knows it. Raises NotFound with the names of all types."""
    known = ledger.record_types(connection)
    if name not in known:
        raise no_such_type(name, known)
    return known[name]


def _columns(connection: Connection, record_type: RecordType, request: ExportRequest) -> tuple[str, ...]:
    if request.preset is None or request.preset in record_type.presets or request.columns is not None:
        return record_type.columns(request.columns, request.preset)
    saved: Mapping[str, tuple[str, ...]] = ledger.presets(connection, request.account, record_type.name)
    if request.preset not in saved:
        names = [*record_type.presets, *saved]
        raise InvalidRequest(
            f"{record_type.name} has no preset {request.preset!r}.", f"Its presets: {', '.join(names) or 'none'}."
        )
    return record_type.columns(saved[request.preset])
