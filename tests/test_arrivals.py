"""Files that arrive: when they are complete, which are committed without a preview, and what becomes of each."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from resources.file_storage import entries
from resources.importing.importer import Importer
from resources.inbox import arrivals, inbox_of
from resources.inbox.arrivals import Arrivals
from resources.operator_file import read_operator_file
from resources.record_store import RecordStore
from schemas.arrivals import CommitPolicy, InboxPolicies, Outcome, bundled, complete, printable
from schemas.batches import BatchStatus, OnInvalid
from schemas.counts import Counts
from schemas.errors import InvalidRequest, StoreBusy
from tests.inbox import import_all, kinds, lands, places, take
from tests.object_server import on_disk
from tests.records import contact, contacts_of, stored, write_csv

pytestmark = pytest.mark.runs_on("laptop", "server")


@pytest.fixture
def inbox_store(store: RecordStore) -> RecordStore:
    """A store with the accounts `ua` and `dl`."""
    for account in ("ua", "dl"):
        store.add_account(account, "tester")
    return store


@pytest.mark.parametrize(
    ("before", "now", "is_complete"),
    [
        ({}, {"a": (1, 1, 1)}, False),
        ({"a": (1, 1, 1)}, {"a": (1, 1, 1)}, True),
        ({"a": (1, 1, 1)}, {"a": (2, 1, 1)}, False),
        ({"a": (1, 1, 1)}, {"a": (1, 2, 1)}, False),
        ({"a": (1, 1, 1)}, {"a": (1, 1, 2)}, False),
        ({"a.part": (1, 1, 1)}, {"a.part": (1, 1, 1)}, False),
        ({"a.part": (1, 1, 1)}, {"a": (1, 1, 1)}, True),
        ({"a.part": (1, 1, 1)}, {"b": (9, 5, 1)}, True),
        ({"a.part": (5, 1, 1)}, {"b": (4, 5, 1)}, False),
        ({"a.part": (0, 1, 1)}, {"b": (4, 5, 1)}, False),
        ({"x/a.part": (1, 1, 1)}, {"y/a": (1, 1, 1)}, False),
    ],
)
def test_a_file_is_complete_that_was_the_same_at_two_looks_or_is_no_part_any_more(
    before: dict[str, tuple[int, int, int]], now: dict[str, tuple[int, int, int]], is_complete: bool
) -> None:
    assert complete(now, before) == (list(now) if is_complete else [])


def test_files_are_taken_by_folder_and_there_in_the_order_of_their_time() -> None:
    look = {"b/1": (1, 1, 1), "a/1": (1, 9, 2), "a/2": (1, 8, 3)}
    assert complete(look, look) == ["a/2", "a/1", "b/1"]


def test_bundles_are_full_by_number_or_by_size_and_a_larger_file_is_alone() -> None:
    sizes = [4, 4, 4, 99, 1, 1, 1, 1]
    look = {str(number): (size, 0, number) for number, size in enumerate(sizes)}
    made = bundled(list(look), look, 3, 10)
    assert [[look[path][0] for path in bundle] for bundle in made] == [[4, 4], [4], [99], [1, 1, 1], [1]]


@pytest.mark.parametrize(
    ("commit", "rejected", "is_committed"),
    [
        ("clean", 0, True),
        ("clean", 1, False),
        ("approve", 0, False),
        ("2%", 20, True),
        ("2%", 21, False),
        ("0.1%", 1, True),
        ("0.1%", 2, False),
        ("100%", 1000, True),
    ],
)
def test_a_policy_commits_up_to_its_share_of_rejected_records(commit: str, rejected: int, is_committed: bool) -> None:
    counts = Counts(read=1000, created=1000 - rejected, rejected=rejected)
    assert CommitPolicy(commit=commit).commits(counts) is is_committed


def test_a_clean_file_has_no_warning_but_ignored_ones(inbox_store: RecordStore) -> None:
    (inbox_store.settings.home / "inbox.yaml").write_text(
        "policies:\n- account: ua\n  ignore_warnings: [in_quotes]\n- account: dl\n  commit: 1%\n"
    )
    lands(inbox_store, "quoted.csv", [contact(1, company="'Acme'")])
    lands(inbox_store, "float.csv", [contact(2, external_id="1001.0", company="'Acme'")])
    take(inbox_store)
    first, second = (it for _, it in sorted(import_all(inbox_store).items()))
    assert (second.outcome, second.sentence) == (Outcome.COMMITTED, "")
    assert first.outcome is Outcome.WAITS
    assert first.sentence == (
        f"It waits for approval because of warnings (looks_like_float): records commit {first.batch_id}."
    )
    warnings = inbox_store.account("ua").batch(first.batch_id or "").warnings
    assert [it.code for it in warnings] == ["looks_like_float", "in_quotes"]
    assert CommitPolicy().stopping(warnings) == ["looks_like_float", "in_quotes"]
    assert CommitPolicy(commit="1%").stopping(warnings) == [], "a share is about rejected records"


def test_the_most_specific_policy_counts(tmp_path: Path) -> None:
    (tmp_path / "inbox.yaml").write_text(
        "policies:\n- commit: 1%\n- type: contacts\n  commit: 2%\n- account: ua\n  commit: 3%\n"
        "- {account: ua, type: contacts, commit: approve}\n"
    )
    policies = read_operator_file(tmp_path / "inbox.yaml", InboxPolicies)
    found = [policies.of(account, name).commit for account in ("ua", "dl") for name in ("contacts", "flights")]
    assert found == ["approve", "3%", "2%", "1%"]
    assert InboxPolicies().of("ua", "contacts") == CommitPolicy(commit="clean")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("policies: [{commit: 101%}]", "was '101%': input should be clean, approve or a percentage such as 2%"),
        ("policies: [{commit: sometimes}]", "input should be clean, approve or a percentage such as 2%"),
        ("policies: [{commit: 1%, ignore_warnings: [in_quotes]}]", "ignore_warnings is only for commit: clean"),
        ("policies: [{ignore_warnings: [in_quote]}]", "input should be 'date_order', 'decimal_style'"),
        ("policies: [{accont: ua}]", "`policies, entry 1, accont` is no setting of this file"),
        ("policies: [{account: ua}, {account: ua}]", "no two policies may be for the same account and type"),
    ],
)
def test_an_invalid_policy_is_reported(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "inbox.yaml").write_text(text)
    with pytest.raises(InvalidRequest) as refused:
        read_operator_file(tmp_path / "inbox.yaml", InboxPolicies)
    assert sentence in refused.value.message


def test_no_file_is_read_while_the_policies_are_invalid(inbox_store: RecordStore) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    take(inbox_store)
    (inbox_store.settings.home / "inbox.yaml").write_text("policies: 1")
    with pytest.raises(InvalidRequest, match="`policies` was 1: input should be a valid tuple"):
        import_all(inbox_store)
    assert kinds(inbox_store) == {"in.csv": ["processing"]}


def test_names_are_shown_on_one_line() -> None:
    assert printable("a\nb") == r"a\nb"
    assert printable(os.fsdecode(b"\xff.csv")) == r"\udcff.csv"
    assert printable("Grüße.csv") == "Grüße.csv"


def test_files_of_several_accounts_and_types_are_imported_together(inbox_store: RecordStore) -> None:
    lands(inbox_store, "one.csv", [contact(1), contact(2)])
    lands(inbox_store, "two.csv", [contact(3)], "dl/contacts")
    take(inbox_store)
    (bundle,) = inbox_of(inbox_store).bundles()

    done = {it.file: it for it in Arrivals(inbox_store, "a-run").import_bundle(bundle)}

    batches = {batch.file_name: batch for batch in inbox_store.batches()}
    assert {name: (it.outcome, it.batch_id) for name, it in done.items()} == {
        name: (Outcome.COMMITTED, batch.batch_id) for name, batch in batches.items()
    }
    assert {(batch.actor, batch.run_id, batch.status) for batch in batches.values()} == {
        ("inbox", "a-run", BatchStatus.COMMITTED)
    }
    assert places(inbox_store) == {
        "one.csv": [f"archive/ua/contacts/{done['one.csv'].batch_id}"],
        "two.csv": [f"archive/dl/contacts/{done['two.csv'].batch_id}"],
    }
    assert entries(inbox_store.settings.processing) == ()


def test_the_saved_mapping_of_the_account_is_used(inbox_store: RecordStore, tmp_path: Path) -> None:
    rows = [{"Kennung": "C-1", "status": "lead"}]
    by_hand = contacts_of(write_csv(tmp_path / "first.csv", rows), column_map={"Kennung": "external_id"})
    Importer(inbox_store, "tester").import_file(by_hand)
    lands(inbox_store, "in.csv", [{"Kennung": "C-2", "status": "lead"}])
    take(inbox_store)
    assert import_all(inbox_store)["in.csv"].outcome is Outcome.COMMITTED
    assert {row["external_id"] for row in stored(inbox_store)} == {"C-1", "C-2"}


def test_one_bad_file_stops_no_other_and_says_what_to_do(inbox_store: RecordStore) -> None:
    lands(inbox_store, "1.csv", [contact(1)])
    (inbox_store.settings.inbox / "ua/contacts/2.csv").write_text("")
    lands(inbox_store, "3.csv", [contact(3)])
    take(inbox_store)

    done = import_all(inbox_store)

    assert [done[f"{number}.csv"].outcome for number in (1, 2, 3)] == [
        Outcome.COMMITTED,
        Outcome.QUARANTINED,
        Outcome.COMMITTED,
    ]
    (failed,) = inbox_store.batches(status=BatchStatus.FAILED)
    assert failed.batch_id == done["2.csv"].batch_id
    assert failed.failure == done["2.csv"].sentence == "2.csv is empty. The first line must name the columns."
    assert failed.file_sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (folder,) = places(inbox_store)["2.csv"]
    why = (inbox_store.settings.data / folder / "WHY.txt").read_text()
    assert (
        f"2.csv arrived in inbox/ua/contacts and was not imported (batch {failed.batch_id}).\n\n2.csv is empty" in why
    )


def test_content_of_the_file_is_quoted_only_beside_it(inbox_store: RecordStore) -> None:
    lands(inbox_store, "in.csv", [{"canary@secret.example": "x", "status": "lead"}])
    take(inbox_store)
    done = import_all(inbox_store)["in.csv"]
    assert done.sentence.startswith("No column stands for external_id")
    (failed,) = inbox_store.batches()
    assert "canary" not in done.sentence + str(failed)
    (folder,) = places(inbox_store)["in.csv"]
    assert "canary@secret.example" in (inbox_store.settings.data / folder / "WHY.txt").read_text()


def test_rejects_beyond_the_policy_lie_in_quarantine_and_can_be_corrected(inbox_store: RecordStore) -> None:
    (inbox_store.settings.home / "inbox.yaml").write_text("policies:\n- commit: 40%\n")
    lands(inbox_store, "few.csv", [contact(1), contact(2), contact(3, status="VIP")])
    lands(inbox_store, "many.csv", [contact(4), contact(5, status="VIP")])
    take(inbox_store)

    done = import_all(inbox_store)

    assert done["few.csv"].outcome is Outcome.COMMITTED
    assert done["few.csv"].sentence == "1 of 3 records is rejected and left out."
    assert done["many.csv"].outcome is Outcome.QUARANTINED
    (waiting,) = inbox_store.batches(status=BatchStatus.PREVIEWED)
    assert (waiting.batch_id, waiting.waits, waiting.counts.rejected) == (done["many.csv"].batch_id, True, 1)
    (folder,) = places(inbox_store)["many.csv"]
    beside = {path.name for path in (inbox_store.settings.data / folder).iterdir()}
    assert beside == {"many.csv", "many.rejects.csv", "WHY.txt"}
    why = (inbox_store.settings.data / folder / "WHY.txt").read_text()
    assert "1 of 2 records is rejected" in why
    assert "In this inbox files are committed when at most 40% of their records are rejected." in why
    assert f"records commit {waiting.batch_id} --on-invalid skip" in why
    there = inbox_store.settings.data / folder / "many.rejects.csv"
    command = f"records import {there if isinstance(there, Path) else there.name} -a ua -t contacts"
    assert f"Or import it yourself: {command}" in why

    Importer(inbox_store, "tester").commit("ua", waiting.batch_id, OnInvalid.SKIP)
    rejects = inbox_store.settings.data / folder / "many.rejects.csv"
    corrected = rejects.read_text().replace("VIP", "lead")
    (inbox_store.settings.inbox / "ua/contacts/many.rejects.csv").write_text(corrected)
    take(inbox_store)
    assert import_all(inbox_store)["many.rejects.csv"].outcome is Outcome.COMMITTED
    assert [row["external_id"] for row in stored(inbox_store)] == ["C-000001", "C-000002", "C-000004", "C-000005"]


def test_a_file_with_a_long_name_and_its_rejects_file_lie_side_by_side(inbox_store: RecordStore) -> None:
    """The file is the rejects file of an earlier one, and its name is as long as such names become."""
    name = f"{'x' * 100}.rejects.csv"
    (inbox_store.settings.home / "inbox.yaml").write_text("policies:\n- commit: clean\n")
    arrived = lands(inbox_store, name, [contact(1), contact(2, status="VIP")]).read_bytes()
    take(inbox_store)
    assert import_all(inbox_store)[name].outcome is Outcome.QUARANTINED

    folder = inbox_store.settings.data / places(inbox_store)[name][0]
    rejects, why, source = sorted(entries(folder), key=lambda path: (path.name == name, path.name == "WHY.txt"))
    assert (source.name, source.read_bytes()) == (name, arrived)
    assert "C-000002,VIP" in rejects.read_text()
    assert f"each with its problems: {rejects.name}." in why.read_text()


def test_no_file_in_quarantine_replaces_another(inbox_store: RecordStore) -> None:
    """An earlier version gave the rejects file of a long name the same name."""
    lands(inbox_store, "same.csv", [contact(1)])
    take(inbox_store)
    inbox = inbox_of(inbox_store)
    rejects = inbox_store.settings.folder("ua", "rejects") / "b-1" / "same.csv"
    with inbox_store.files.making(rejects) as made:
        made.write_text("rejects")
    (bundle,) = inbox.bundles()
    with inbox.bundle(bundle) as (file,):
        inbox.quarantine(file, "It has rejects.", rejects)
    folder = inbox_store.settings.data / places(inbox_store)["same.csv"][-1]
    assert [path.name for path in entries(folder)] == ["REJECTS.same.csv", "WHY.txt", "same.csv"]
    assert (folder / "REJECTS.same.csv").read_text() == "rejects"


def test_a_file_that_waits_for_approval_lies_in_the_archive(inbox_store: RecordStore) -> None:
    (inbox_store.settings.home / "inbox.yaml").write_text("policies:\n- account: ua\n  commit: approve\n")
    lands(inbox_store, "in.csv", [contact(1)])
    take(inbox_store)
    done = import_all(inbox_store)["in.csv"]
    assert (done.outcome, done.sentence) == (Outcome.WAITS, f"It waits for approval: records commit {done.batch_id}.")
    assert places(inbox_store) == {"in.csv": [f"archive/ua/contacts/{done.batch_id}"]}
    assert stored(inbox_store) == []
    Importer(inbox_store, "tester").commit("ua", done.batch_id or "")
    assert len(stored(inbox_store)) == 1


def test_a_content_that_was_imported_already_lies_in_quarantine(inbox_store: RecordStore) -> None:
    for name in ("first.csv", "second.csv"):
        lands(inbox_store, name, [contact(1)])
        take(inbox_store)
        done = import_all(inbox_store)[name]
    assert done.outcome is Outcome.QUARANTINED
    assert done.sentence.startswith("second.csv was imported already as first.csv: batch b-")
    assert "second.csv -a ua -t contacts --again." in done.sentence
    assert kinds(inbox_store) == {"first.csv": ["archive"], "second.csv": ["quarantine"], "WHY.txt": ["quarantine"]}
    why = (inbox_store.settings.data / places(inbox_store)["WHY.txt"][0] / "WHY.txt").read_text()
    assert "Nothing needs to be done." in why
    assert "Put a corrected file" not in why


def test_a_file_called_as_the_text_beside_it_is_kept(inbox_store: RecordStore) -> None:
    (inbox_store.settings.inbox / "ua/contacts").mkdir(parents=True)
    (inbox_store.settings.inbox / "ua/contacts/WHY.txt").write_text("mine\n")
    take(inbox_store)
    assert import_all(inbox_store)["WHY.txt"].outcome is Outcome.QUARANTINED
    (folder,) = places(inbox_store)["WHY.txt"]
    assert (inbox_store.settings.data / folder / "WHY.txt").read_text() == "mine\n"
    assert "was not imported" in (inbox_store.settings.data / folder / "REASON.txt").read_text()


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (StoreBusy("Another process writes.", "Wait."), Outcome.POSTPONED),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Outcome.POSTPONED),
        (ValueError("canary@secret.example"), Outcome.QUARANTINED),
    ],
)
def test_a_failure_that_the_file_did_not_cause_leaves_it_for_later(
    inbox_store: RecordStore, monkeypatch: pytest.MonkeyPatch, raised: Exception, outcome: Outcome
) -> None:
    def fails(*_: object) -> None:
        raise raised

    lands(inbox_store, "in.csv", [contact(1)])
    take(inbox_store)
    with monkeypatch.context() as patch:
        patch.setattr(Importer, "import_file", fails)
        done = import_all(inbox_store)["in.csv"]
    assert done.outcome is outcome
    assert "canary" not in done.sentence
    if outcome is Outcome.POSTPONED:
        assert kinds(inbox_store) == {"in.csv": ["processing"]}
        assert import_all(inbox_store)["in.csv"].outcome is Outcome.COMMITTED
    else:
        assert done.sentence.startswith("ValueError in test_arrivals.py, line ")
        assert "canary" not in (inbox_store.batches()[0].failure or "")


@pytest.mark.runs_on("laptop")
def test_a_link_that_comes_into_processing_is_not_followed(inbox_store: RecordStore, tmp_path: Path) -> None:
    file = lands(inbox_store, "in.csv", [contact(1)])
    take(inbox_store)
    (moved,) = on_disk(inbox_store.settings.processing).glob("*/ua/contacts/in.csv")
    secret = shutil.move(moved, tmp_path / file.name)
    moved.symlink_to(secret)
    assert import_all(inbox_store)["in.csv"].sentence == "It is no longer a file. Only files are imported."
    assert kinds(inbox_store)["in.csv"] == ["quarantine"]
    assert inbox_store.batches() == []


def test_a_bundle_that_another_process_has_is_left_to_it(inbox_store: RecordStore) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    take(inbox_store)
    inbox = inbox_of(inbox_store)
    (bundle,) = inbox.bundles()
    with inbox.bundle(bundle) as files:
        assert [file.path.name for file in files] == ["in.csv"]
        assert Arrivals(inbox_store).import_bundle(bundle) == []
    assert import_all(inbox_store)["in.csv"].outcome is Outcome.COMMITTED
    assert Arrivals(inbox_store).import_bundle(bundle) == []
    with pytest.raises(InvalidRequest, match="is not a bundle"):
        Arrivals(inbox_store).import_bundle("../inbox")


@pytest.mark.parametrize("status", [BatchStatus.PREVIEWED, BatchStatus.COMMITTED, BatchStatus.FAILED])
def test_a_file_that_is_found_after_a_crash_goes_on_from_where_it_was(
    inbox_store: RecordStore, monkeypatch: pytest.MonkeyPatch, status: BatchStatus
) -> None:
    class Died(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise Died

    file = lands(inbox_store, "in.csv", [contact(1)])
    if status is BatchStatus.FAILED:
        file.write_text("")
    take(inbox_store)
    inbox = type(inbox_of(inbox_store))
    method = {"previewed": (Importer, "_commit"), "committed": (inbox, "archive"), "failed": (inbox, "quarantine")}
    with monkeypatch.context() as patch:
        patch.setattr(*method[status.value], dies)
        with pytest.raises(Died):
            import_all(inbox_store)
    assert [batch.status for batch in inbox_store.batches()] == [status]
    assert kinds(inbox_store) == {"in.csv": ["processing"]}

    done = import_all(inbox_store)["in.csv"]

    (batch,) = inbox_store.batches()
    assert done.batch_id == batch.batch_id
    expected = BatchStatus.FAILED if status is BatchStatus.FAILED else BatchStatus.COMMITTED
    assert batch.status is expected
    assert kinds(inbox_store)["in.csv"] == ["archive" if expected is BatchStatus.COMMITTED else "quarantine"]


def test_a_preview_that_is_no_longer_true_after_a_crash_is_made_anew(
    inbox_store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lands(inbox_store, "in.csv", [contact(1)])
    take(inbox_store)

    def busy(*_: object) -> None:
        raise StoreBusy("Another process writes.", "Wait.")

    with monkeypatch.context() as patch:
        patch.setattr(Importer, "_commit", busy)
        assert import_all(inbox_store)["in.csv"].outcome is Outcome.POSTPONED
    shutil.rmtree(on_disk(inbox_store.account("ua").folder("staging")))
    assert import_all(inbox_store)["in.csv"].outcome is Outcome.COMMITTED
    assert [batch.status for batch in inbox_store.batches()] == [BatchStatus.COMMITTED, BatchStatus.DISCARDED]


def test_a_file_that_may_not_be_read_lies_in_quarantine(
    inbox_store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    file = lands(inbox_store, "in.csv", [contact(1)])
    file.write_text("")
    take(inbox_store)
    monkeypatch.setattr(arrivals, "sha256_of", denied)
    done = import_all(inbox_store)["in.csv"]
    assert (done.outcome, done.batch_id) == (Outcome.QUARANTINED, None)
    assert inbox_store.batches() == []


@pytest.mark.parametrize("commit", ["clean", "2%"])
def test_a_file_that_can_be_read_in_several_ways_waits_for_approval_under_any_policy(
    inbox_store: RecordStore, commit: str
) -> None:
    (inbox_store.settings.home / "inbox.yaml").write_text(f"policies: [{{commit: {commit}}}]")
    content = "external_id;company;status\n" + "".join(f"C-{n};José Núñez {n};lead\n" for n in range(20))
    lands(inbox_store, "spanish.csv", [contact(1)]).write_bytes(content.encode("cp1252"))

    take(inbox_store)
    (arrived,) = import_all(inbox_store).values()

    assert arrived.outcome is Outcome.WAITS
    assert arrived.sentence == (
        f"It waits for approval, because it can be read in several ways: records commit {arrived.batch_id}."
    )
    assert arrived.batch_id is not None
    Importer(inbox_store, "tester").commit("ua", arrived.batch_id)
    lands(inbox_store, "again.csv", [contact(1)]).write_bytes(content.replace("C-", "D-").encode("cp1252"))
    take(inbox_store)
    (arrived,) = import_all(inbox_store).values()
    assert arrived.outcome is Outcome.COMMITTED, "what was accepted is remembered"


def test_the_policy_says_how_files_are_written(inbox_store: RecordStore) -> None:
    (inbox_store.settings.home / "inbox.yaml").write_text(
        "policies: [{account: ua, type: contacts, encoding: cp1252, delimiter: '~', date_order: dmy, "
        "value_map: {status: {Kunde: customer}}}]"
    )
    content = "external_id~last_name~birthday~status\nC-1~Núñez~03/04/1980~kunde\n"
    lands(inbox_store, "in.csv", [contact(1)]).write_bytes(content.encode("cp1252"))
    take(inbox_store)
    (arrived,) = import_all(inbox_store).values()
    assert arrived.outcome is Outcome.COMMITTED
    (record,) = stored(inbox_store)
    assert (record["last_name"], f"{record['birthday']}") == ("Núñez", "1980-04-03")
    assert record["status"] == "customer"
