"""What an operator reads and types in Dagster's launchpad."""

import importlib
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.snap.job_snapshot import JobSnap

from pipelines.imports import commit_batch, import_records
from pipelines.launchpad import in_launchpad_words
from pipelines.web.launchpad_order import put_first_fields_first

run_config: Any = importlib.import_module("dagster_graphql.schema.run_config")


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (
            "Leave them out: records commit b-20260105-4fd1a9 --on-invalid skip.",
            "Leave them out: launch commit_batch with `batch_id: b-20260105-4fd1a9`, `on_invalid: skip`.",
        ),
        ("To read it again: --again.", "To read it again: `again: true`."),
        (
            "To import it once more: records import FILE -a ua -t contacts --again.",
            "To import it once more: launch import_records with `account: ua`, `record_type: contacts`, `again: true`.",
        ),
        ("An account begins with a letter: -a ACCOUNT.", "An account begins with a letter: `account`."),
        ("Say which: --date-order dmy or mdy.", "Say which: `date_order: dmy` or mdy."),
        ("Say which: --header-row 4 or --header-row 1.", "Say which: `header_row: 4` or `header_row: 1`."),
        ("Say which: --at data.items or --at .; or", "Say which: `at: data.items` or `at: .`; or"),
        ("Say --at results. Leave --at out: it", "Say `at: results`. Leave `at` out: it"),
        ("With --decimal , they are read. Name it (--sheet).", "With `decimal: ,` they are read. Name it (`sheet`)."),
        ("--encoding mac_roman or --sheet 'My data'", "`encoding: mac_roman` or `sheet: 'My data'`"),
        ("No --date-order reads them all", "No `date_order` reads them all"),
        ("No --decimal reads them all", "No `decimal` reads them all"),
        ("Say it: --map 'E-Mail=email'.", 'Say it: `column_map: {"E-Mail": "email"}`.'),
        ("Say it: --value 'status:A b=lead'.", 'Say it: `value_map: {"status": {"A b": "lead"}}`.'),
        ("The oldest: --as-of 2026-01-05T09:30:00.5Z.", "The oldest: `as_of: 2026-01-05T09:30:00.5Z`."),
        (
            "records rollback b-1 --on-modified keep; or --on-modified merge.",
            "launch roll_back_batch with `batch_id: b-1`, `on_modified: keep`; or `on_modified: merge`.",
        ),
        ("records init. See records show b-1, e-mail, 2 -a.", "records init. See records show b-1, e-mail, 2 -a."),
    ],
)
def test_hints_name_jobs_and_fields(hint: str, words: str) -> None:
    assert in_launchpad_words(hint) == words


@pytest.mark.parametrize(
    ("job", "first"),
    [(import_records, ["account", "path", "record_type", "actor"]), (commit_batch, ["account", "batch_id", "actor"])],
)
def test_the_fields_that_everybody_fills_in_come_first(
    monkeypatch: pytest.MonkeyPatch, job: dg.JobDefinition, first: list[str]
) -> None:
    name = "default_values_yaml_from_type_snap"
    monkeypatch.setattr(run_config, name, getattr(run_config, name))  # for the end of the test to restore
    put_first_fields_first()
    snap = JobSnap.from_job_def(job)
    root = snap.config_schema_snapshot.get_config_snap(snap.mode_def_snaps[0].root_config_key or "")
    text = getattr(run_config, name)(snap.config_schema_snapshot, root)
    fields = [*yaml.safe_load(text)]
    assert fields[: len(first)] == first
    assert fields[len(first) - 1 :] == sorted(fields[len(first) - 1 :])
