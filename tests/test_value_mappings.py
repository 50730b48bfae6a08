"""Texts that a person maps to values: said for a file, remembered, learnt from corrections, and accepted."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipelines.commands.cli import main
from resources.importing.importer import Importer
from resources.importing.used_values import UsedValues
from resources.importing.value_mappings import accept_values, forget_values
from resources.record_store import RecordStore
from schemas.batches import ImportReport, ImportRequest, OnInvalid, Remembered
from schemas.contacts import Contacts
from schemas.errors import InvalidRequest, RejectsFound
from schemas.proposals import proposed
from schemas.record_type import Field
from schemas.rollbacks import RollbackRequest
from schemas.values import KnownValue, MappedValue, as_map, as_pairs, joined, value_map
from tests.editing import edit
from tests.object_server import on_disk
from tests.records import contact, contacts_of, values, write_csv

TYPE = Contacts.record_type()
KUNDE = MappedValue("status", "Kunde", "customer", 2, 100)


def sent(path: Path, first: int = 1, **more: str) -> Path:
    """Return a file of four contacts, two of them with a status in German and a country in words."""
    rows = [contact(first + at, country="DE", **more) for at in range(4)]
    rows[0] |= {"status": "Kunde", "country": "Deutschland"}  # type: ignore[operator]
    rows[1] |= {"status": "kunde ", "country": "Deutschland"}  # type: ignore[operator]
    return write_csv(path, rows)


def corrected(importer: Importer, report: ImportReport, path: Path) -> ImportReport:
    """Correct the rejects file of a batch and import it."""
    assert report.rejects_file is not None

    def correct(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row |= {"status": "customer", "country": "DE"}

    file = edit(on_disk(report.rejects_file), correct, path, "utf-8-sig")
    return importer.import_file(contacts_of(file), OnInvalid.SKIP)


def known(store: RecordStore, account: str = "ua") -> list[tuple[str, int, bool]]:
    found: list[KnownValue] = store.account(account).known_values("contacts")
    return [(it.mapping.pair, it.mapping.records, it.is_accepted) for it in found]


def test_what_is_said_is_proposed_first_and_remembered_then(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    preview = importer.preview(contacts_of(sent(tmp_path / "a.csv")))
    assert [*preview.proposals] == [MappedValue("country", "Deutschland", "DE", 2, 100), KUNDE]
    assert store.account("ua").report(preview.batch.batch_id).proposals == preview.proposals
    assert (preview.batch.counts.rejected, preview.batch.understood[-1][0]) == (2, "Quotation mark")
    shown = preview.to_dict()["values"]
    assert shown[1] == {**vars(KUNDE), "option": "--value status:Kunde=customer"}

    said = {"status": {"Kunde": "customer"}, "country": {"Deutschland": "DE"}, "email": {"-": ""}}
    first = importer.import_file(ImportRequest(tmp_path / "a.csv", "ua", "contacts", value_map=said)).batch
    assert values(store, "status") == {f"C-{at:06}": "customer" if at < 3 else "lead" for at in range(1, 5)}
    assert first.remembered is not None
    assert first.remembered.value_map == {name: said[name] for name in ("status", "country")}, "e-mail is personal"

    again = importer.import_file(contacts_of(sent(tmp_path / "b.csv", 5))).batch
    assert again.remembered is not None
    assert (again.counts.created, again.remembered.remembered_from) == (4, first.batch_id)
    assert [str(it) for it in again.cleaned] == [
        "2 country: mapped to another value",
        "2 status: mapped to another value",
    ]
    with pytest.raises(RejectsFound):
        importer.import_file(contacts_of(sent(tmp_path / "c.csv", 9, notes="another header row")))


def test_corrections_teach_and_are_used_once_accepted(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    preview = importer.preview(contacts_of(sent(tmp_path / "a.csv")))
    child = corrected(importer, preview, tmp_path / "fixed.csv").batch
    pairs = ["country:Deutschland=DE", "status:Kunde=customer"]
    assert [str(it) for it in child.learnt] == [
        "country 'Deutschland' is DE (2 times)",
        "status 'Kunde' is customer (2 times)",
    ]
    assert known(store) == [(pair, 2, False) for pair in pairs]
    assert known(store, "de") == []
    rejected = importer.preview(contacts_of(sent(tmp_path / "b.csv", 5))).batch
    assert rejected.counts.rejected == 2, "what was learnt is not used"

    accept_values(store, "ua", "contacts", value_map(pairs), "tester")
    assert known(store) == [(pair, 2, True) for pair in pairs]
    used = importer.import_file(contacts_of(tmp_path / "b.csv")).batch
    assert used.counts.created == 4
    assert [text for label, text in used.understood if label == "Value"] == [
        "country 'Deutschland' is DE (2, as accepted)",
        "status 'Kunde' is customer (1, as accepted)",
        "status 'kunde ' is customer (1, as accepted)",
    ]

    store.account("ua").roll_back(RollbackRequest("ua", child.batch_id), "tester", None)
    assert known(store) == [(pair, 0, True) for pair in pairs], "accepted, though its batch is rolled back"
    forget_values(store, "ua", "contacts", ["status:Kunde"], "tester")
    assert known(store) == [("country:Deutschland=DE", 0, True)]
    assert "Deutschland" in str(store.account("ua").accepted_values("contacts"))
    assert store.account("ua").accepted_values("flights") == {}


def test_forgetting_takes_away_what_was_learnt_before(importer: Importer, store: RecordStore, tmp_path: Path) -> None:
    corrected(importer, importer.preview(contacts_of(sent(tmp_path / "a.csv"))), tmp_path / "fixed.csv")
    forget_values(store, "ua", "contacts", ["country:Deutschland", "status:Kunde"], "tester")
    assert known(store) == []
    corrected(importer, importer.preview(contacts_of(sent(tmp_path / "b.csv", 5))), tmp_path / "fixed-2.csv")
    assert ("country:Deutschland=DE", 2, False) in known(store), "learnt since"


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["status"], "A mapping of values was 'status'."),
        (["state:Kunde=customer"], "contacts has no field 'state'"),
        (["external_id:a=b"], "external_id is a key, and keys are never changed"),
        (["status:Kunde=VIP"], "status must be one of lead, prospect, customer, churned"),
        (["status:Kunde="], "status must not be empty"),
    ],
)
def test_a_mapping_that_cannot_be_used_is_a_sentence(pairs: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        UsedValues(Contacts, ImportRequest(Path("a.csv"), "ua", "contacts", value_map=value_map(pairs)), None, {})
    assert message in raised.value.message


def test_only_what_is_no_value_and_not_personal_can_be_accepted(store: RecordStore) -> None:
    for pairs, message in (
        (["status:lead=customer"], "'lead' is a value of status as it is."),
        (["first_name:x=y"], "first_name is personal, and its values are not kept in the ledger."),
    ):
        with pytest.raises(InvalidRequest) as raised:
            accept_values(store, "ua", "contacts", value_map(pairs), "tester")
        assert raised.value.message == message
    with pytest.raises(InvalidRequest, match=r"The account ua has no mapping of 'status:x' for contacts\."):
        forget_values(store, "ua", "contacts", ["status:x"], "tester")


def test_what_is_said_wins_and_what_no_longer_fits_is_left_out() -> None:
    request = ImportRequest(Path("a.csv"), "ua", "contacts", value_map={"status": {"x": "lead"}})
    earlier = Remembered("", {}, value_map={"status": {"X": "customer", "y": "gone"}, "old": {"a": "b"}})
    used = UsedValues(Contacts, request, earlier, {"status": {" x ": "churned", "z": "churned", "lead": "customer"}})
    assert used.used == {"status": {"x": "lead", "z": "churned"}}
    assert used.said == {"status": {"x": "lead"}}
    assert not used.is_remembered


def test_a_correction_after_its_time_says_that_nothing_is_learnt(
    importer: Importer, store: RecordStore, tmp_path: Path
) -> None:
    preview = importer.preview(contacts_of(sent(tmp_path / "a.csv")))
    shutil.rmtree(on_disk(store.account("ua").folder("staging") / preview.batch.batch_id))  # as expiry does
    child = corrected(importer, preview, tmp_path / "fixed.csv").batch
    why = f"none, because the problems of {preview.batch.batch_id} are no longer kept"
    assert (child.counts.created, child.learnt) == (2, ())
    assert dict(child.understood)["Mappings learnt from the corrections"] == why


def test_a_mapping_of_a_field_without_a_column_is_said_to_have_no_effect(importer: Importer, tmp_path: Path) -> None:
    said = {"country": {"Wonderland": "DE"}, "email": {"-": ""}, "status": {"Kunde": "customer"}}
    path = write_csv(tmp_path / "in.csv", [contact(1, status="Kunde")])
    request = ImportRequest(path, "ua", "contacts", value_map=said, blank="keep,notes=clear,amount=clear")
    understood = dict(importer.preview(request).batch.understood)
    assert understood["Options without effect"] == (
        "--blank notes=clear --value country:… --value email:… (no column feeds the field)"
    )
    assert "Wonderland" not in str(understood)


@pytest.mark.parametrize(
    ("name", "text", "value", "score"),
    [
        ("status", "Kunde", "customer", 100),
        ("status", "Kunden", "customer", 90),
        ("status", "cliente", "customer", 100),
        ("status", "Custommer", "customer", 94),
        ("status", "VIP", None, None),
        ("status", "Ex-Kunde", None, None),
        ("status", "former customer", None, None),
        ("status", "no lead", None, None),
        ("country", "Allemagne", "DE", 100),
        ("country", "germania", "DE", 100),
        ("country", "DEU", "DE", 100),
        ("country", "Untied States", "US", 92),
        ("country", "D", None, None),
        ("country", "Korea", None, None),
    ],
)
def test_a_text_like_a_value_or_its_name_is_proposed(
    name: str, text: str, value: str | None, score: int | None
) -> None:
    assert proposed(TYPE.field(name), text, 3) == MappedValue(name, text, value, 3, score)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inactive", None),
        ("inactiv", None),
        ("not active", None),
        ("In Bearbeitng", "in Bearbeitung"),
        ("no shows", "no show"),
        ("nteressent", "Interessent"),
    ],
)
def test_a_negation_makes_an_opposite_and_no_mistake_in_typing_does(text: str, value: str | None) -> None:
    field = Field("state", "text", choices=("active", "in Bearbeitung", "no show", "Interessent"))
    assert proposed(field, text, 1).value == value


def test_a_boolean_is_proposed_by_words_of_other_languages() -> None:
    assert [proposed(Field("paid", "boolean"), text, 1).value for text in ("oui", "Falso", "x")] == [
        "true",
        "false",
        None,
    ]


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4)


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), WORDS.filter(str.strip), WORDS.filter(lambda it: "=" not in it)))
)
def test_mappings_survive_their_form_as_options(mappings: list[tuple[str, str, str]]) -> None:
    given_ = as_map(MappedValue(*it) for it in mappings)
    assert value_map(it.pair for it in as_pairs(given_)) == given_
    assert as_map(as_pairs(joined(given_, given_))) == given_


def test_the_commands_print_and_take_the_same_form(store: RecordStore, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--json"])
        return json.loads(result.stdout)

    file = str(sent(tmp_path / "a.csv"))
    of = ("-a", "ua", "-t", "contacts")
    printed = CliRunner().invoke(main, ["preview", file, *of]).output
    assert re.search(r"--value status:Kunde=customer +2 records, a name of the value", printed)
    assert f"With all of them: records preview {file} -a ua -t contacts --value country:Deutschland=DE " in printed
    report = run("import", file, *of, "--value", "status:Kunde=customer", "--value", "country:Deutschland=DE")
    assert (report["created"], report["cleaned"][0]["kind"], report["values"]) == (4, "mapped", [])
    item = {
        "record_type": "contacts",
        "field": "status",
        "text": "A",
        "value": "lead",
        "records": 0,
        "state": "accepted",
    }
    assert run("mappings", "accept", "status:A=lead", *of) == {"items": [item], "next": None}
    assert run("mappings", "list", "-a", "ua") == {"items": [item], "next": None}
    assert "accepted" in CliRunner().invoke(main, ["mappings", "list", "-a", "ua"]).output
    assert run("mappings", "forget", "status:A", *of) == {"items": [], "next": None}
