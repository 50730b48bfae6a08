"""The life of an import: what it counts, what it writes, what it refuses."""

import json
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.file_storage import entries
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.record_store.catalog import catalog_of
from schemas.batches import BatchStatus, Mode, OnDuplicate, OnInvalid
from schemas.counts import Counts
from schemas.errors import (
    AlreadyImported,
    InvalidRequest,
    NotFound,
    PreviewOutdated,
    Refused,
    RejectsFound,
    StoreBusy,
    UnreadableFile,
)
from schemas.reading import DateOrder
from schemas.rollbacks import RollbackRequest
from tests.examples import tried
from tests.object_server import on_disk
from tests.records import Row, contact, contacts_of, put, stored, values, write_csv

pytestmark = pytest.mark.runs_on("laptop", "server")

by_duckdb = pytest.mark.runs_on("laptop")
"""For outcomes that DuckDB finds in the staged file and the records: no catalog or object store could change them.

Other tests here read and write the same tables in each setting.
"""


def test_a_preview_counts_everything_and_writes_no_record(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1), contact(2)])))
    before = stored(store)
    path = write_csv(
        tmp_path / "b.csv", [contact(1), contact(2, amount="7"), contact(3), contact(3), contact(4, amount="-1")]
    )

    report = importer.preview(contacts_of(path))

    assert report.batch.counts == Counts(read=5, created=1, updated=1, unchanged=1, rejected=1, duplicate=1)
    assert report.batch.status is BatchStatus.PREVIEWED
    assert [problem.message() for problem in report.samples] == ["`amount` must be 0 or more; record 5 (line 6) has -1"]
    assert stored(store) == before


def test_a_commit_writes_what_was_previewed_and_names_its_snapshot(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    preview = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", [contact(1, first_name="Ada")])))

    report = importer.commit("ua", preview.batch.batch_id)

    at = report.batch.at
    assert report.batch == replace(preview.batch, status=BatchStatus.COMMITTED, at=at, committed_at=at)
    (row,) = stored(store)
    assert (row["_account"], row["_batch"]) == ("ua", report.batch.batch_id)
    assert (row["first_name"], row["amount"], row["email"]) == ("Ada", Decimal("1.50"), None)
    with store.reading(report.snapshot) as connection:
        assert connection.execute("SELECT count(*) FROM lake.records.contacts").fetch_all() == [(1,)]
    assert report.snapshot is not None
    with store.reading(report.snapshot - 1) as connection:
        assert connection.execute("SELECT count(*) FROM lake.records.contacts").fetch_all() == [(0,)]
    assert store.account("ua").report(report.batch.batch_id).snapshot == report.snapshot


def test_the_commit_names_actor_and_batch(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    report = importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)])))

    with store.reading() as connection:
        commit = connection.execute(
            "SELECT author, commit_extra_info FROM ducklake_snapshots('lake') WHERE snapshot_id = ?", [report.snapshot]
        ).fetch_all()
    assert commit == [("tester", f'{{"batch_id": "{report.batch.batch_id}"}}')]


def test_a_column_that_is_absent_keeps_values_and_an_empty_cell_clears_them(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    full = [contact(1, first_name="Ada", company="X"), contact(2, first_name="Bob", company="Y")]
    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", full)))

    update = [{"external_id": "C-000001", "company": ""}, {"external_id": "C-000002", "company": "Z"}]
    report = importer.import_file(contacts_of(write_csv(tmp_path / "b.csv", update)))

    assert report.batch.counts == Counts(read=2, updated=2)
    assert dict(report.batch.cleared) == {"company": 1}
    assert values(store, "company") == {"C-000001": None, "C-000002": "Z"}
    assert values(store, "first_name") == {"C-000001": "Ada", "C-000002": "Bob"}
    assert values(store, "status") == {"C-000001": "lead", "C-000002": "lead"}


def test_a_required_field_is_required_of_created_records_only(importer: Importer, tmp_path: Path) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)])))
    path = write_csv(tmp_path / "b.csv", [{"external_id": f"C-00000{n}", "company": "X"} for n in (1, 2)])

    report = importer.preview(contacts_of(path))

    assert report.batch.counts == Counts(read=2, updated=1, rejected=1)
    assert [(problem.record, problem.field, problem.rule) for problem in report.samples] == [(2, "status", "required")]


@by_duckdb
def test_one_key_with_different_values_rejects_all_and_names_each_other(importer: Importer, tmp_path: Path) -> None:
    rows = [contact(1, company="A"), contact(2), contact(1, company="B"), contact(2)]

    report = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", rows)))

    assert report.batch.counts == Counts(read=4, created=1, rejected=2, duplicate=1)
    assert [(problem.record, problem.rule, problem.value) for problem in report.samples] == [
        (1, "key_conflict", "the key of record 3"),
        (3, "key_conflict", "the key of record 1"),
    ]


@by_duckdb
def test_a_record_contradicts_one_that_breaks_a_rule(importer: Importer, tmp_path: Path) -> None:
    rows = [contact(1), contact(1, amount="x"), contact(2, amount="y"), contact(2, amount="z")]

    report = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", rows)))

    assert report.batch.counts == Counts(read=4, rejected=4)
    found = Counter((problem.record, problem.rule) for problem in report.samples)
    assert found == Counter(
        [(n, "key_conflict") for n in (1, 2, 3, 4)] + [(n, "type") for n in (2, 3, 4)]
    )  # fmt: skip


@by_duckdb
@pytest.mark.parametrize(("policy", "company"), [(OnDuplicate.FIRST, "A"), (OnDuplicate.LAST, "C")])
def test_on_duplicate_takes_one_valid_record(
    importer: Importer, store: RecordStore, tmp_path: Path, policy: OnDuplicate, company: str
) -> None:
    rows = [contact(1, company="A"), contact(1, company="B"), contact(1, company="C"), contact(1, amount="x")]
    path = write_csv(tmp_path / "a.csv", [{"company": "", **row} for row in rows])

    report = importer.import_file(contacts_of(path, on_duplicate=policy), OnInvalid.SKIP)

    assert report.batch.counts == Counts(read=4, created=1, rejected=1, duplicate=2)
    assert values(store, "company") == {"C-000001": company}


@by_duckdb
@pytest.mark.parametrize(
    ("mode", "counts", "rule"),
    [
        (Mode.INSERT, Counts(read=2, created=1, rejected=1), "exists"),
        (Mode.UPDATE, Counts(read=2, updated=1, rejected=1), "unknown"),
        (Mode.UPSERT, Counts(read=2, created=1, updated=1), None),
    ],
)
def test_modes(importer: Importer, tmp_path: Path, mode: Mode, counts: Counts, rule: str | None) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)])))
    path = write_csv(tmp_path / "b.csv", [contact(1, amount="9"), contact(2)])

    report = importer.preview(contacts_of(path, mode=mode))

    assert report.batch.counts == counts
    assert [problem.rule for problem in report.samples] == ([] if rule is None else [rule])


def test_a_key_with_a_nul_is_rejected_before_the_store_compares_it(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    put(store, "SELECT 'C-2' AS external_id, 'prospect' AS status")
    path = tmp_path / "in.json"
    path.write_text(json.dumps([{"external_id": key, "status": "lead"} for key in ("Key\0 1", "C-2", "a\0")]))

    batch = importer.import_file(contacts_of(path), OnInvalid.SKIP).batch

    assert batch.counts == Counts(read=3, updated=1, rejected=2)
    store.account("ua").roll_back(RollbackRequest("ua", batch.batch_id), "tester", None)
    assert values(store, "status") == {"C-2": "prospect"}


def test_rejects_stop_a_commit_unless_they_are_to_be_skipped(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(1), contact(2, amount="-1")])
    batch_id = importer.preview(contacts_of(path)).batch.batch_id

    with pytest.raises(RejectsFound, match=r"1 of 2 records is rejected.*amount must be 0 or more"):
        importer.commit("ua", batch_id)
    assert store.account("ua").batch(batch_id).status is BatchStatus.PREVIEWED
    assert stored(store) == []

    importer.commit("ua", batch_id, OnInvalid.SKIP)
    assert values(store, "amount") == {"C-000001": Decimal("1.50")}


def test_a_batch_is_committed_or_discarded_once(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(1)])
    committed = importer.import_file(contacts_of(path)).batch.batch_id
    discarded = importer.preview(contacts_of(path, again=True)).batch.batch_id
    importer.discard("ua", discarded)

    for batch_id, state in ((committed, "committed"), (discarded, "discarded")):
        with pytest.raises(Refused, match=f"is {state} since .* UTC; only a previewed batch can be committed"):
            importer.commit("ua", batch_id)
        with pytest.raises(Refused, match="only a previewed batch can be discarded"):
            importer.discard("ua", batch_id)
    assert [batch.status for batch in store.batches()] == [BatchStatus.DISCARDED, BatchStatus.COMMITTED]
    # Staged files outlive their commit by a day.
    assert [folder.name for folder in entries(store.account("ua").folder("staging"))] == [committed]


def test_a_preview_is_bound_to_the_records_it_touches(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1), contact(2)])))
    preview = importer.preview(contacts_of(write_csv(tmp_path / "b.csv", [contact(1, amount="7")])))

    importer.import_file(contacts_of(write_csv(tmp_path / "c.csv", [contact(2, amount="8")])))
    importer.import_file(contacts_of(write_csv(tmp_path / "d.csv", [contact(1, amount="8")]), account="other"))
    assert importer.commit("ua", preview.batch.batch_id).batch.counts == Counts(read=1, updated=1)

    preview = importer.preview(contacts_of(write_csv(tmp_path / "b.csv", [contact(1, amount="9")])))
    importer.import_file(contacts_of(write_csv(tmp_path / "c.csv", [contact(1, amount="10")])))
    with pytest.raises(PreviewOutdated, match="1 record that it touches has changed since"):
        importer.commit("ua", preview.batch.batch_id)
    assert values(store, "amount") == {"C-000001": Decimal(10), "C-000002": Decimal(8)}


def test_a_record_that_appeared_since_makes_a_preview_outdated(importer: Importer, tmp_path: Path) -> None:
    preview = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)])))
    importer.import_file(contacts_of(write_csv(tmp_path / "b.csv", [contact(1), contact(2)])))

    with pytest.raises(PreviewOutdated):
        importer.commit("ua", preview.batch.batch_id)


def test_accounts_are_apart(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(1, company="mine")])
    batch_id = importer.preview(contacts_of(path, account="ua")).batch.batch_id
    importer.import_file(contacts_of(write_csv(tmp_path / "b.csv", [contact(1, company="theirs")]), account="b6"))

    errors = []
    for unknown in (batch_id, "b-20260101-000000000-000000"):
        with pytest.raises(NotFound) as raised:
            importer.commit("b6", unknown)
        errors.append(str(raised.value).replace(unknown, "ID"))
    assert errors[0] == errors[1]
    importer.commit("ua", batch_id)
    assert values(store, "company", account="ua") == {"C-000001": "mine"}
    assert values(store, "company", account="b6") == {"C-000001": "theirs"}


@by_duckdb
@pytest.mark.parametrize("name", ["", "UA", "../ua", "a" * 64, "ü", "-a", "a b", "a\n"])
def test_a_name_that_cannot_be_an_account_is_refused(importer: Importer, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="A name has 1 to 63 of a-z, 0-9, - and _"):
        importer.preview(contacts_of(write_csv(tmp_path / "a.csv", [contact(1)]), account=name))


def test_a_file_that_cannot_be_read_leaves_nothing(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"external_id,status\nC-1,lead\nC-2," + b"x" * 9_000_000)

    with pytest.raises(UnreadableFile):
        importer.import_file(contacts_of(path))
    assert store.batches() == []
    assert list(entries(store.account("ua").folder("staging"))) == []


def test_a_preview_that_cannot_be_recorded_leaves_nothing(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(1), contact(2, amount="-1")])
    holder, store.write_lock = (
        catalog_of(replace(store.settings, lock_seconds=seconds)).lock() for seconds in (1, 0.1)
    )

    with holder, pytest.raises(StoreBusy):
        importer.preview(contacts_of(path))
    for kind in ("staging", "rejects"):
        assert list(entries(store.account("ua").folder(kind))) == []


@pytest.mark.runs_on("laptop")
@pytest.mark.parametrize("kind", ["rejects", "reports"])
def test_a_preview_that_cannot_write_its_rejects_or_report_leaves_nothing(
    importer: Importer, store: RecordStore, tmp_path: Path, kind: str
) -> None:
    request = contacts_of(write_csv(tmp_path / "in.csv", [contact(1), contact(2, status="VIP")]))
    account = store.account("ua")
    obstacle = on_disk(account.folder(kind))
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()  # a file in place of the folder
    with pytest.raises(OSError, match=kind):
        importer.preview(request)
    assert store.batches() == []
    assert [path.name for path in on_disk(store.settings.data / "accounts").rglob("*") if path.is_file()] == [kind]
    assert [entries(account.folder(each)) for each in ("staging", "rejects", "reports")] == [(), (), ()]

    obstacle.unlink()
    assert importer.preview(request).batch.counts == Counts(read=2, created=1, rejected=1)


@by_duckdb
def test_personal_values_are_in_the_message_only_when_it_is_not_masked(importer: Importer, tmp_path: Path) -> None:
    report = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", [contact(1, email="secret")])))

    (problem,) = report.samples
    assert problem.message() == "`email` must be an e-mail address; record 1 (line 2) has secret"
    assert "secret" not in problem.message(masked=True)


def test_a_committed_content_is_refused_by_account_and_type_unless_again(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(1), contact(2, amount="-1")])
    importer.discard("ua", importer.preview(contacts_of(path)).batch.batch_id)
    earlier = importer.import_file(contacts_of(path), OnInvalid.SKIP).batch
    copied = path.rename(tmp_path / "b.csv")

    with pytest.raises(AlreadyImported) as refusal:
        importer.import_file(contacts_of(copied))

    assert refusal.value.message == (
        f"b.csv was imported already as a.csv: batch {earlier.batch_id}, committed {earlier.at:%Y-%m-%d %H:%M} UTC "
        "by tester (1 created, 1 rejected)."
    )
    assert refusal.value.hint == "To read it again: --again."
    assert len(store.batches()) == 2
    assert [folder.name for folder in entries(store.account("ua").folder("staging"))] == [earlier.batch_id]
    assert importer.preview(contacts_of(copied, account="b6")).batch.counts.created == 1
    assert importer.import_file(contacts_of(copied, again=True), OnInvalid.SKIP).batch.counts.unchanged == 1


def test_of_two_previews_of_one_content_one_is_committed(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(1)])
    previews = [importer.preview(contacts_of(path, again=again)).batch.batch_id for again in (False, False, True)]
    first, second, again = previews
    importer.commit("ua", first)

    with pytest.raises(AlreadyImported, match=f"a.csv was imported already: batch {first}"):
        importer.commit("ua", second)

    assert store.account("ua").batch(second).status is BatchStatus.PREVIEWED
    with pytest.raises(PreviewOutdated):  # it may be written again, but it compared itself with other records
        importer.commit("ua", again)


def test_what_was_said_of_a_header_row_is_remembered_once_it_is_committed(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    def file(number: int, headers: str = "Nr,id,Kommentar") -> Path:
        path = tmp_path / f"{number}-{len(headers)}.csv"
        path.write_text(f"{headers},status\nC-{number},X-{number},{number},lead\n")
        return path

    column_map_given = {"Nr": "external_id", "id": "", "Kommentar": "notes"}
    importer.preview(contacts_of(file(1), column_map=column_map_given))
    assert importer.preview(contacts_of(file(2))).columns[1].field == "external_id", "a preview is not remembered"

    first = importer.import_file(contacts_of(file(1), column_map=column_map_given)).batch
    second = importer.import_file(contacts_of(file(2), column_map={"Kommentar": "company"}))
    third = importer.preview(contacts_of(file(3)))

    assert first.remembered is not None
    assert first.remembered.remembered_from is None
    assert [(it.field, it.reason) for it in second.columns] == [
        ("external_id", "remembered"),
        (None, "remembered"),
        ("company", "given"),
        ("status", "name"),
    ]
    assert second.batch.remembered is not None
    assert second.batch.remembered.remembered_from == first.batch_id
    assert [(it.field, it.reason) for it in third.columns] == [
        ("external_id", "remembered"),
        (None, "remembered"),
        ("company", "remembered"),
        ("status", "name"),
    ]
    assert third.to_dict()["remembered_from"] == second.batch.batch_id
    assert values(store, "company") == {"C-1": None, "C-2": "2"}
    for request in (contacts_of(file(3), account="b6"), contacts_of(file(3, "id,Nr,Kommentar"))):
        assert [it.reason for it in importer.preview(request).columns if it.reason == "remembered"] == []


@by_duckdb
def test_a_key_in_another_normal_form_is_rejected(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    put(store, "SELECT 'Zoe' || chr(776) AS external_id, 'lead' AS status UNION ALL SELECT 'É', 'lead'")
    composed, decomposed = "Zo\xeb", "e\u0301"
    ids = ["C-1", composed, "\xe9", decomposed, "E\u0301", "É", "o\u0308"]

    report = importer.preview(contacts_of(write_csv(tmp_path / "a.csv", [contact(1, external_id=id_) for id_ in ids])))

    assert report.batch.counts == Counts(read=7, created=2, rejected=5)
    assert [(it.record, it.rule, it.value) for it in report.samples] == [
        (2, "key_form", "Zo[U+00EB], as a stored key"),
        (3, "key_form", "[U+00E9], as record 4"),
        (4, "key_form", "e[U+0301], as record 3"),
        (5, "key_form", "E[U+0301], as record 6"),
        (6, "key_form", "[U+00C9], as record 5"),
    ]
    importer.commit("ua", report.batch.batch_id, OnInvalid.SKIP)
    assert set(values(store, "status")) == {"Zoe\u0308", "É", "C-1", "o\u0308"}


@by_duckdb
def test_invisible_characters_are_removed_from_headers_and_refused_in_keys_and_addresses(
    importer: Importer, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(
        "\u200bexternal_id,e\xa0mail,first\xa0name\xa0,status\n"
        "I-1,ana@ex.org\xa0,Ana,lead\nI-2,\u200bbo@ex.org,Bo,lead\nI-3\xa0,cy@ex.org,Cy,lead\n"
        "\ufeffI-4,di@ex.org,Di,lead\nI-5,el@ex.org ,El,lead\xa0\nI-6,fa@ex.org,Fa,lead\n",
        encoding="utf-8",
    )
    report = importer.preview(contacts_of(tmp_path / "a.csv"))
    assert [it.field for it in report.columns] == ["external_id", "email", "first_name", "status"]
    assert report.batch.counts == Counts(read=6, created=1, rejected=5)
    assert [str(it) for it in report.batch.cleaned] == ["1 email: spaces removed"]
    assert [(it.record, it.field, it.rule, it.value) for it in report.samples] == [
        (1, "email", "unseen", "ana@ex.org[U+00A0]"),
        (2, "email", "unseen", "[U+200B]bo@ex.org"),
        (3, "external_id", "unseen", "I-3[U+00A0]"),
        (4, "external_id", "unseen", "[U+FEFF]I-4"),
        (5, "status", "isin", "lead\xa0"),
    ]


def test_stored_keys_that_are_not_seen_are_exported_and_rolled_back_but_not_imported(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    """Earlier versions stored such keys."""
    put(store, "SELECT 'K-1 ' AS external_id, 'lead' AS status")
    batch = importer.import_file(contacts_of(write_csv(tmp_path / "a.csv", [contact(1, external_id="K-1")]))).batch
    report = importer.preview(contacts_of(write_csv(tmp_path / "b.csv", [contact(2, external_id="K-1 ")])))
    assert (report.batch.counts.rejected, report.samples[0].value) == (1, "K-1␣")
    store.account("ua").roll_back(RollbackRequest("ua", batch.batch_id), "tester", None)
    assert set(values(store, "status")) == {"K-1 "}


@by_duckdb
def test_dates_are_read_by_the_given_order_and_doubts_are_reported(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    rows = [contact(1, birthday="31/05/1990", signed_up="01/02/2024 09:30Z"), contact(2, birthday="1990-06-01")]
    path = write_csv(tmp_path / "a.csv", [{"signed_up": "", **row} for row in rows])

    refused = importer.preview(contacts_of(path))
    report = importer.import_file(replace(contacts_of(path), date_order=DateOrder.DMY))

    assert refused.batch.counts == Counts(read=2, created=1, rejected=1)
    assert tuple(map(str, refused.batch.warnings)) == (
        "`birthday`: 1 date can only be day first (first: record 1). To read them right: --date-order dmy. "
        "For example: •••",
        "`signed_up`: 1 date could be day first or month first. Say which: --date-order dmy or mdy. "
        "For example: 01/02/2024 09:30Z",
    )
    assert store.account("ua").report(refused.batch.batch_id).batch == refused.batch, "the ledger has them too"
    assert report.batch.warnings == ()
    dates = "day first, as --date-order says, or ISO 8601; 1 date could be the other way round"
    assert ("Dates", dates) in report.batch.understood
    assert values(store, "birthday") == {"C-000001": date(1990, 5, 31), "C-000002": date(1990, 6, 1)}
    assert values(store, "signed_up")["C-000001"] == datetime(2024, 2, 1, 9, 30, tzinfo=UTC)


@by_duckdb
def test_progress_comes_to_the_number_of_records(importer: Importer, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [contact(n, notes="n" * 2_000) for n in range(9_000)])
    reported: list[tuple[int, int | None]] = []

    importer.preview(contacts_of(path), lambda records, expected: reported.append((records, expected)))

    *before, last = reported
    assert len(before) > 1
    assert before == sorted(before)
    assert last == (9_000, 9_000)


AMOUNTS = st.sampled_from(["1", "1.0", "2", "-1", "x", ""])
STATUSES = st.sampled_from(["lead", "customer", "nobody", ""])
ROWS = st.lists(
    st.builds(
        lambda key, amount, status: {"external_id": key, "status": status, "amount": amount},
        st.sampled_from(["", "a", "b", "c", "d"]),
        AMOUNTS,
        STATUSES,
    ),
    min_size=1,
    max_size=8,
)
Stored = dict[str, tuple[str, Decimal | None]]


def outcome(rows: list[Row], before: Stored) -> tuple[Counts, Stored]:
    """Compute the result of an upsert of the rows once more, in plain Python."""
    after, counts = dict(before), Counter[str]()
    by_key = defaultdict[str, set[tuple[str, str]]](set)
    seen = set()
    for row in rows:
        amount = row["amount"]
        by_key[row["external_id"]].add((row["status"], "1" if amount == "1.0" else amount))
    for row in rows:
        key, status, amount = row["external_id"], row["status"], row["amount"]
        valid = key and status in ("lead", "customer") and amount not in ("-1", "x")
        record = (status, Decimal(amount) if valid and amount else None)
        if not valid or len(by_key[key]) > 1:
            counts["rejected"] += 1
        elif key in seen:
            counts["duplicate"] += 1
        else:
            counts["unchanged" if before.get(key) == record else "updated" if key in before else "created"] += 1
            after[key] = record
        seen.add(key)
    return Counts(read=len(rows), **counts), after


@by_duckdb
@settings(max_examples=tried(8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(ROWS, min_size=1, max_size=2))
def test_every_record_has_the_outcome_that_plain_python_gives_it(
    importer: Importer, store: RecordStore, tmp_path: Path, files: list[list[Row]]
) -> None:
    account = f"a{len(store.accounts())}"
    model: Stored = {}
    for rows in files:
        expected, model = outcome(rows, model)
        path = write_csv(tmp_path / "a.csv", rows)
        report = importer.import_file(contacts_of(path, account, again=True), OnInvalid.SKIP)
        assert report.batch.counts == expected
        assert {
            row["external_id"]: (row["status"], row["amount"]) for row in stored(store, account=account)
        } == model  # fmt: skip
    again = importer.import_file(contacts_of(path, account, again=True), OnInvalid.SKIP).batch.counts
    assert (again.created, again.updated) == (0, 0)
    assert {row["external_id"]: (row["status"], row["amount"]) for row in stored(store, account=account)} == model


def test_a_preview_compares_with_its_snapshot_even_if_a_commit_comes_meanwhile(
    store: RecordStore, importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = store.pin("contacts")
    importer.import_file(contacts_of(write_csv(tmp_path / "first.csv", [contact(1)])))
    monkeypatch.setattr(store, "pin", lambda _: pinned)
    report = importer.preview(contacts_of(write_csv(tmp_path / "second.csv", [contact(1), contact(2)])))
    assert report.batch.counts.created == 2
