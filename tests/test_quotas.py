"""An account has no more than its quota, and is refused with a sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from resources.importing.importer import Importer
from resources.quotas import Quotas, read_quotas
from resources.record_store import RecordStore, examination
from schemas.errors import InvalidRequest, QuotaExceeded
from schemas.quotas import Measure, Quota, QuotasFile, Use, require_within
from tests.inbox import import_all, kinds, lands, take
from tests.records import contact, contacts_of, stored, write_csv

Write = Callable[[str], None]


@pytest.fixture
def limits(store: RecordStore) -> Write:
    def write(text: str) -> None:
        (store.settings.home / "quotas.yaml").write_text(text, "utf-8")

    return write


def contacts(folder: Path, name: str, numbers: range) -> Path:
    return write_csv(folder / name, [contact(number) for number in numbers])


@pytest.mark.runs_on("laptop", "postgres")
def test_more_records_than_the_quota_are_refused_at_the_preview_and_at_the_commit(
    store: RecordStore, importer: Importer, limits: Write, tmp_path: Path
) -> None:
    first = importer.preview(contacts_of(contacts(tmp_path, "first.csv", range(6)))).batch.batch_id
    second = importer.preview(contacts_of(contacts(tmp_path, "second.csv", range(6, 12)))).batch.batch_id
    limits("default: {records: 10}")
    importer.commit("ua", first)
    with pytest.raises(QuotaExceeded) as refused:
        importer.commit("ua", second)
    assert refused.value.message == "Account ua has 6 records, and this would add 6. Its quota is 10."
    assert len(stored(store)) == 6
    with pytest.raises(QuotaExceeded, match="has 6 records, and this would add 5"):
        importer.preview(contacts_of(contacts(tmp_path, "third.csv", range(20, 25))))
    assert len(store.batches()) == 2, "a refused preview leaves nothing"
    importer.import_file(contacts_of(contacts(tmp_path, "fourth.csv", range(4, 10))))
    assert len(stored(store)) == 10
    limits("accounts: {ua: {records: null}}")
    importer.import_file(contacts_of(tmp_path / "second.csv"))
    assert len(stored(store)) == 12


def test_more_bytes_than_the_quota_are_refused(
    store: RecordStore, importer: Importer, limits: Write, tmp_path: Path
) -> None:
    importer.import_file(contacts_of(contacts(tmp_path, "first.csv", range(6))))
    preview = importer.preview(contacts_of(contacts(tmp_path, "second.csv", range(6, 12)))).batch.batch_id
    limits("accounts: {ua: {bytes: 1 KB}}")
    for refused in (
        lambda: importer.preview(contacts_of(contacts(tmp_path, "third.csv", range(1)))),
        lambda: importer.commit("ua", preview),
        lambda: Quotas(store, "ua").require_file(1),
    ):
        with pytest.raises(QuotaExceeded, match=r"Account ua has [0-9,]+ bytes, and this would add"):
            refused()
    importer.import_file(contacts_of(contacts(tmp_path, "third.csv", range(1)), "b6"))


def test_a_file_that_was_previewed_today_costs_nothing_again(
    store: RecordStore, importer: Importer, limits: Write, tmp_path: Path
) -> None:
    limits("default: {files_a_day: 1}")
    path = contacts(tmp_path, "first.csv", range(6))
    importer.preview(contacts_of(path))
    importer.preview(contacts_of(path))
    with pytest.raises(QuotaExceeded, match=r"has previewed 1 file today, and this would add 1\. Its quota is 1\."):
        importer.preview(contacts_of(contacts(tmp_path, "second.csv", range(7))))
    importer.preview(contacts_of(contacts(tmp_path, "second.csv", range(7)), "b6"))


def test_a_file_that_arrives_beyond_the_quota_goes_to_quarantine_with_the_reason(
    store: RecordStore, limits: Write
) -> None:
    store.add_account("ua", "tester")
    limits("default: {records: 1}")
    lands(store, "large.csv", [contact(1), contact(2)])
    take(store)
    assert "Its quota is 1." in import_all(store)["large.csv"].sentence
    assert kinds(store)["large.csv"] == ["quarantine"]
    assert "Its quota is 1." in next(Path(str(store.settings.quarantine)).rglob("WHY.txt")).read_text()


def test_without_the_file_nothing_is_measured(
    store: RecordStore, importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_quotas(store.settings) is None
    for name in ("records_of", "files_previewed"):
        monkeypatch.setattr(examination, name, None)
    importer.import_file(contacts_of(contacts(tmp_path, "first.csv", range(6))))


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("default: {record: 5}", "`default, record` is no setting of this file"),
        ("default: {bytes: five GB}", "`default, bytes` was 'five GB': input should be a number of bytes, or a text"),
        ("default: {records: 1.5}", "`default, records` was 1.5: input should be a valid integer"),
        ("default: {records: -1}", "`default, records` was -1: input should be greater than or equal to 0"),
        ("default: {records: true}", "`default, records` was True: input should be a valid integer"),
        ("accounts: [ua]", "`accounts` input should be a valid dictionary"),
        ("default: {bytes: 1 GB", "is not valid YAML in line 1"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(
    store: RecordStore, limits: Write, text: str, mistake: str
) -> None:
    limits(text)
    with pytest.raises(InvalidRequest) as found:
        Quotas(store, "ua")
    assert mistake in found.value.message


def test_an_accounts_own_limits_replace_those_of_the_default() -> None:
    file = QuotasFile.model_validate(
        {"default": {"records": 5, "bytes": "1.5 GB"}, "accounts": {"ua": {"records": None, "files_a_day": 2}}}
    )
    assert file.of("ua") == Quota(records=None, bytes=1_500_000_000, files_a_day=2)
    assert file.of("b6") == Quota(records=5, bytes=1_500_000_000)


def test_exactly_the_quota_is_allowed() -> None:
    quota = Quota(records=10)
    require_within("ua", quota, Use(Measure.RECORDS, 4, 6))
    with pytest.raises(QuotaExceeded):
        require_within("ua", quota, Use(Measure.RECORDS, 4, 7))
    require_within("ua", quota, Use(Measure.BYTES, 4, 10**15))
