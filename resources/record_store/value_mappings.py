"""The mappings of values that an account knows: accepted by a person, or learnt from corrected rejects files.

The ledger has a row for each mapping that was accepted, and one for each that was forgotten; the last one counts.
What was learnt stands in the batches that taught it. So a rollback of such a batch takes away what it taught, and
leaves what a person has accepted. To forget a mapping also takes away what was learnt before.
"""

import json
from dataclasses import replace
from datetime import datetime

from resources.record_store import ledger_rows
from resources.record_store.lake import Connection
from schemas.batches import STANDING
from schemas.values import KnownValue, MappedValue, folded


def append_value_mapping(
    transaction: Connection, seq: int, at: datetime, account: str, record_type: str, mapping: MappedValue, actor: str
) -> None:
    """Record that an account accepts a mapping of values, or forgets it if the mapping has no value."""
    row = {"seq": seq, "recorded_at": at, "account": account, "record_type": record_type, "actor": actor}
    said = {"field": mapping.field, "text": mapping.text, "value": mapping.value}
    ledger_rows.append_rows(transaction, "value_mappings", row | said)


def known_values(connection: Connection, account: str, record_type: str) -> list[KnownValue]:
    """Returns the mappings that the account has accepted, and those that were learnt and not forgotten since."""
    decided = {_text(it): (seq, it) for seq, it in _decided(connection, account, record_type)}
    known = {
        _pair(it): KnownValue(record_type, it, is_accepted=True) for _, it in decided.values() if it.value is not None
    }
    for seq, it in _learnt(connection, account, record_type):
        at, decision = decided.get(_text(it), (0, it))
        if decision.value is not None or seq > at:
            before = known.get(_pair(it), KnownValue(record_type, replace(it, records=0), is_accepted=False))
            counted = replace(before.mapping, records=before.mapping.records + it.records)
            known[_pair(it)] = replace(before, mapping=counted)
    return sorted(known.values(), key=lambda it: (*_text(it.mapping), -it.mapping.records))


def _text(mapping: MappedValue) -> tuple[str, str]:
    return mapping.field, folded(mapping.text)


def _pair(mapping: MappedValue) -> tuple[str, str, str | None]:
    return (*_text(mapping), mapping.value)


def _decided(connection: Connection, account: str, record_type: str) -> list[tuple[int, MappedValue]]:
    """Returns what the account has accepted and forgotten, oldest first, with the numbers of the rows."""
    if ("ledger", "value_mappings") not in connection.filled:  # without this, each import would ask the catalog
        return []
    owned = ledger_rows.is_among(connection, "account", [account])
    rows = connection.execute(
        f"SELECT seq, field, text, value FROM {ledger_rows.rows(connection, 'value_mappings', owned)} "
        "WHERE account = ? AND record_type = ? ORDER BY seq",
        [account, record_type],
    ).fetch_all()
    return [(seq, MappedValue(*mapping)) for seq, *mapping in rows]


def _learnt(connection: Connection, account: str, record_type: str) -> list[tuple[int, MappedValue]]:
    """Returns what the committed batches of the account teach, with the numbers of their rows."""
    owned = ledger_rows.is_any_of(connection, account, ledger_rows.Having("learnt", "{"))
    rows = connection.execute(
        f"""
        SELECT min(seq) FILTER (status = 'committed'), arg_max(detail -> '$.learnt', seq)
        FROM {ledger_rows.rows(connection, "batches", owned)} WHERE account = ? AND record_type = ? GROUP BY batch_id
        HAVING arg_max(status, seq) IN ({", ".join(f"'{state.value}'" for state in sorted(STANDING))})
            AND json_array_length(arg_max(detail -> '$.learnt', seq)) > 0
        """,
        [account, record_type],
    ).fetch_all()
    return [(seq, MappedValue(**learnt)) for seq, found in rows for learnt in json.loads(found)]
