"""The `detail` column of a batch's row in the ledger: the values without a column of their own, as JSON.

Rows never change. So a key can be added here, and no key can be renamed. Queries name `$.binding.header_row`,
`$.binding.arrival` and `$.undone.batch_id`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from schemas.batches import Basis, Batch, ChangedValue, Mode, OnDuplicate, ProblemCount, Remembered
from schemas.reading import Question, ReadOptions
from schemas.rollbacks import OnModified, RollbackCounts, Undone
from schemas.values import Cleaned, Cleaning, MappedValue
from schemas.warnings import BatchWarning, WarningCode


def to_json(batch: Batch) -> str:
    """Returns the detail of a batch as JSON."""
    return json.dumps(
        {
            "problems": [asdict(problem) for problem in batch.problems],
            "cleared": dict(batch.cleared),
            "understood": batch.understood,
            "warnings": [asdict(warning) for warning in batch.warnings],
            "cleaned": [asdict(cleaned) for cleaned in batch.cleaned],
            "learnt": [asdict(learnt) for learnt in batch.learnt],
            "questions": [asdict(question) for question in batch.questions],
            "binding": _binding(batch),
            "committed_at": None if batch.committed_at is None else batch.committed_at.isoformat(),
            "undone": None if batch.undone is None else asdict(batch.undone),
            "window_seconds": None if batch.window is None else batch.window.total_seconds(),
        },
        ensure_ascii=False,
    )


def from_json(text: str) -> dict[str, Any]:
    """Returns the attributes of a `Batch` in a detail, by name. Keys may be missing in rows of earlier versions."""
    detail = json.loads(text)
    binding = detail["binding"]
    committed_at, undone, seconds = detail.get("committed_at"), detail.get("undone"), detail.get("window_seconds")
    on_modified = binding.get("on_modified")
    return {
        "problems": tuple(ProblemCount(**problem) for problem in detail["problems"]),
        "cleared": detail["cleared"],
        "understood": tuple((label, value) for label, value in detail["understood"]),
        "warnings": tuple(map(_warning, detail.get("warnings", ()))),
        "cleaned": tuple(Cleaned(it["field"], Cleaning(it["kind"]), it["records"]) for it in detail.get("cleaned", ())),
        "learnt": tuple(MappedValue(**it) for it in detail.get("learnt", ())),
        "basis": _basis(binding),
        "questions": tuple(map(Question.from_dict, detail.get("questions", ()))),
        "remembered": _remembered(binding),
        "changes": tuple(ChangedValue(key="", **change) for change in binding.get("changes", ())),
        "parent": binding.get("parent"),
        "link_token": binding.get("path"),
        "arrival_id": binding.get("arrival"),
        "needs_approval": binding.get("waits", False),
        "failure": binding.get("failure"),
        "on_modified": None if on_modified is None else OnModified(on_modified),
        "committed_at": None if committed_at is None else datetime.fromisoformat(committed_at),
        "undone": None if undone is None else Undone(undone["batch_id"], RollbackCounts(**undone["counts"])),
        "window": None if seconds is None else timedelta(seconds=seconds),
    }


def _binding(batch: Batch) -> dict[str, Any]:
    binding: dict[str, Any] = {
        "changes": [{"record": it.record, "field": it.field, "old": it.old, "new": it.new} for it in batch.changes],
        "parent": batch.parent,
        "path": batch.link_token,
        "arrival": batch.arrival_id,
        "waits": batch.needs_approval,
        "failure": batch.failure,
        "on_modified": batch.on_modified,
    }
    for part in (batch.basis, batch.remembered):
        binding |= {} if part is None else asdict(part)
    if batch.remembered is not None:
        binding["options"] = batch.remembered.options.said() or None
    return {key: value for key, value in binding.items() if value is not None}


def _warning(warning: dict[str, Any] | str) -> BatchWarning:
    """Returns a warning. Earlier versions wrote only sentences, all of them about the order of dates."""
    if isinstance(warning, str):
        return BatchWarning(WarningCode.DATE_ORDER, None, 0, warning)
    code, examples = WarningCode(warning["code"]), tuple(warning["examples"])
    return BatchWarning(**warning | {"code": code, "examples": examples})


def _basis(binding: Mapping[str, Any]) -> Basis | None:
    if "record_type_hash" not in binding:
        return None
    return Basis(
        record_type_hash=binding["record_type_hash"],
        fields=tuple(binding["fields"]),
        mode=Mode(binding["mode"]),
        on_duplicate=OnDuplicate(binding["on_duplicate"]),
        snapshot=binding["snapshot"],
        again=binding.get("again", False),
    )


def _remembered(binding: Mapping[str, Any]) -> Remembered | None:
    if "header_row" not in binding:
        return None
    options = ReadOptions.from_said(binding.get("options", {}))
    return Remembered(
        binding["header_row"],
        binding.get("column_map", {}),
        options,
        tuple(binding.get("of_export", ())),
        binding.get("remembered_from"),
        binding.get("value_map", {}),
        None if binding.get("needed") is None else tuple(binding["needed"]),
    )
