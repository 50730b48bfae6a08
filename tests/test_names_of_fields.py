"""Names of types and fields that the store's own SQL uses too: everything works as with others."""

from collections.abc import Callable
from pathlib import Path

import pytest

import schemas
from resources.erasure.eraser import Eraser
from resources.export_writer import ExportWriter
from resources.health.check import StoreCheck
from resources.importing.importer import Importer
from resources.record_store import RecordStore
from resources.upkeep.maintenance import Maintenance
from schemas.batches import Batch, ImportRequest
from schemas.erasure import ErasureRequest
from schemas.exports import ExportRequest
from schemas.model import RESERVED, Integer, RecordModel, Text, field
from schemas.rollbacks import OnModified, RollbackRequest
from tests.records import stored, write_csv

NAMES = (
    "present", "same", "there", "was_there", "left_by", "rests", "pos", "form", "spelling", "other", "key", "record",
    "line", "value", "rule", "path", "seq", "at", "account", "batch", "staged", "number", "name", "old", "new",
    "change",
)  # fmt: skip


class Files(RecordModel):
    """A type with the name of a table of the ledger."""

    id: Text = field("Identifier.", required=True)
    hash: Integer = field("A number.")

    class Config:
        name = "files"
        metadata = {"key": ("id",)}


Odd = type(
    "Odd",
    (RecordModel,),
    {
        "__doc__": "Fields with names of helper columns.",
        "__module__": __name__,
        "__annotations__": dict.fromkeys(("id", *NAMES), Text),
        "id": field("Identifier.", required=True),
        **{name: field(f"The {name}.") for name in NAMES},
        "Config": type("Config", (), {"name": "odd", "metadata": {"key": ("id",)}}),
    },
)


@pytest.fixture
def imported(
    store: RecordStore, importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Batch]:
    """Imports rows of one of the types for the account ua."""
    for name, model in (("files", "Files"), ("odd", "Odd")):
        monkeypatch.setitem(schemas.RECORD_TYPES, name, f"{__name__}:{model}")
    store.initialise([Files.record_type(), Odd.record_type()])  # type: ignore[attr-defined]

    def imported(record_type: str, *rows: dict[str, str]) -> Batch:
        path = write_csv(tmp_path / f"{len(store.batches())}.csv", list(rows))
        return importer.import_file(ImportRequest(path, "ua", record_type)).batch

    return imported


def odd(number: int, text: str) -> dict[str, str]:
    return {"id": f"k{number}", **dict.fromkeys(NAMES, text)}


@pytest.mark.parametrize("on_modified", [OnModified.KEEP, OnModified.MERGE, OnModified.OVERWRITE])
def test_a_batch_is_rolled_back(
    store: RecordStore, imported: Callable[..., Batch], tmp_path: Path, on_modified: OnModified
) -> None:
    imported("odd", odd(1, "first"), odd(2, "first"))
    batch = imported("odd", odd(1, "second"), odd(2, "second"))
    imported("odd", odd(1, "second") | {"present": "third"})

    store.account("ua").roll_back(RollbackRequest("ua", batch.batch_id, on_modified), "tester", None)

    found = {row["id"]: (row["present"], row["same"]) for row in stored(store, "odd")}
    assert found == {
        "k1": {
            OnModified.KEEP: ("third", "second"),
            OnModified.MERGE: ("third", "first"),
            OnModified.OVERWRITE: ("first", "first"),
        }[on_modified],
        "k2": ("first", "first"),
    }
    changed = ExportRequest("ua", "odd", changed_since=batch.batch_id)
    assert ExportWriter(store, "tester").export(changed).rows == 2


def test_records_are_erased_and_the_store_is_whole(store: RecordStore, imported: Callable[..., Batch]) -> None:
    imported("odd", odd(1, "first"), odd(2, "first"))
    imported("odd", odd(2, "second"))

    Eraser(store, "tester").erase(ErasureRequest("ua", "odd", ("k1",)))
    Maintenance(store, "tester").maintain()

    assert [row["id"] for row in stored(store, "odd")] == ["k2"]
    assert StoreCheck(store).run().wrong == ()


def test_two_records_of_one_key_are_noticed_whatever_a_field_named_hash_has(
    imported: Callable[..., Batch], importer: Importer, tmp_path: Path
) -> None:
    path = write_csv(
        tmp_path / "twice.csv", [{"id": "k", "hash": ""}, {"id": "k", "hash": "1"}, {"id": "l", "hash": ""}]
    )
    counts = importer.preview(ImportRequest(path, "ua", "files")).batch.counts
    assert (counts.created, counts.rejected) == (1, 2)


def test_a_type_may_have_the_name_of_a_table_of_the_ledger(
    store: RecordStore, imported: Callable[..., Batch], importer: Importer, tmp_path: Path
) -> None:
    imported("files", {"id": "1", "hash": "1"})
    preview = importer.preview(ImportRequest(write_csv(tmp_path / "p.csv", [{"id": "2", "hash": "2"}]), "ua", "files"))
    later = imported("files", {"id": "3", "hash": "3"})
    importer.commit("ua", preview.batch.batch_id)

    store.account("ua").roll_back(RollbackRequest("ua", later.batch_id, OnModified.STOP), "tester", None)
    Maintenance(store, "tester").maintain()

    assert [row["id"] for row in stored(store, "files")] == ["1", "2"]
    assert StoreCheck(store).run().wrong == ()


@pytest.mark.parametrize("name", RESERVED)
def test_a_name_that_duckdb_uses_is_refused(name: str) -> None:
    model = type(
        "Taken", (RecordModel,), {"__annotations__": {name: Text}, name: field("Taken."), "__module__": __name__}
    )
    with pytest.raises(TypeError, match="has the name of a column that DuckDB adds"):
        model.record_type()  # type: ignore[attr-defined]
