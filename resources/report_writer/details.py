"""The details of a preview that the ledger does not keep, as the JSON file beside the report.

They hold personal values, so the file lies in the account's own folder and is removed with the report.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from resources.report_writer.visible import Excerpt
from schemas.batches import ChangedValue, ImportReport, RowProblem
from schemas.columns import Column
from schemas.reading import Question
from schemas.values import MappedValue

_TEXT, _LENGTH = "text", "length"


def details_of(report: ImportReport) -> str:
    """Returns the columns, first problems, changed values and questions as JSON, long texts as excerpts."""
    details = {
        "columns": [asdict(column) for column in report.columns],
        "samples": [asdict(problem) for problem in report.samples],
        "changes": [asdict(change) for change in report.changes],
        "questions": [asdict(question) for question in report.questions],
        "proposals": [asdict(proposal) for proposal in report.proposals],
    }
    return json.dumps(_shortened(details))


def with_details(report: ImportReport, details: str) -> ImportReport:
    """Returns the report with the details that `details_of` wrote."""
    read = json.loads(details, object_hook=_read)
    return replace(
        report,
        columns=tuple(Column(**column | {"samples": tuple(column["samples"])}) for column in read["columns"]),
        samples=tuple(RowProblem(**problem) for problem in read["samples"]),
        changes=tuple(ChangedValue(**change) for change in read["changes"]),
        questions=tuple(map(Question.from_dict, read.get("questions", ()))),  # earlier versions wrote none
        proposals=tuple(MappedValue(**proposal) for proposal in read.get("proposals", ())),
    )


def _shortened(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(each) for each in value]
    if isinstance(value, str):
        excerpt = Excerpt.of(value)
        return {_TEXT: str(excerpt), _LENGTH: excerpt.length} if isinstance(excerpt, Excerpt) else value
    return value


def _read(value: dict[str, Any]) -> Any:
    return Excerpt.joined(value[_TEXT], value[_LENGTH]) if value.keys() == {_TEXT, _LENGTH} else value
