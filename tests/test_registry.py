"""The sources of record types: the shipped ones, the setting RECORDS_TYPES, and installed packages."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import schemas
from resources.record_store import RecordStore
from schemas import load_model, load_record_types, record_type_files, record_type_names
from schemas.errors import InvalidRequest, NotFound

ORDERS = '''"""Orders."""
from schemas.model import Integer, RecordModel, Text, field

class Orders(RecordModel):
    """Orders of the shop."""
    number: Integer = field("Number.", required=True)
    buyer: Text = field("Who bought.", personal=True)

    class Config:
        name = "{name}"
        metadata = {{"key": ("{key}",)}}

TYPES = [Orders]
BY_NAME = {{"orders": "shop.orders:Orders"}}
NOTHING = 7
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules; `shop.orders` has a record type."""
    (tmp_path / "shop").mkdir()
    write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    schemas._load.cache_clear()


def write(folder: Path, name: str = "orders", key: str = "number") -> None:
    (folder / "shop" / "orders.py").write_text(ORDERS.format(name=name, key=key))
    importlib.invalidate_caches()


@pytest.mark.parametrize("source", ["shop.orders:TYPES", "shop.orders:Orders", "shop.orders:BY_NAME"])
def test_the_setting_adds_record_types_beside_the_shipped_ones(
    source: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDS_TYPES", source)
    assert record_type_names() == ("contacts", "flights", "orders")
    assert [record_type.name for record_type in load_record_types()] == ["contacts", "flights", "orders"]
    assert load_model("orders").__name__ == "Orders"
    assert record_type_files()["orders"] == folder / "shop" / "orders.py"


def test_the_shipped_record_types_can_be_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDS_TYPES", " shop.orders:TYPES, schemas.flights:Flights ")
    monkeypatch.setenv("RECORDS_SHIPPED_TYPES", "no")
    assert record_type_names() == ("orders", "flights")


def test_an_installed_package_adds_record_types(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = folder / "shop-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[records.types]\nshop = shop.orders:TYPES\n")
    schemas._entry_points.cache_clear()
    try:
        assert record_type_names() == ("contacts", "flights", "orders")
    finally:
        schemas._entry_points.cache_clear()


def test_names_of_the_shipped_types_need_no_pandera() -> None:
    code = "import schemas, sys; schemas.record_type_names(); print('pandera' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("shop", "'shop' does not name record types."),
        (
            "nowhere.types:TYPES",
            "The module nowhere.types of record types cannot be imported: No module named",
        ),
        ("shop.orders:ORDERS", "The module shop.orders has no ORDERS, which 'shop.orders:ORDERS' names."),
        ("shop.orders:NOTHING", "shop.orders:NOTHING is 7, which is not a record type."),
        ("shop.broken:TYPES", "The module shop.broken of record types cannot be imported: ZeroDivisionError"),
    ],
)
def test_a_setting_that_cannot_be_loaded_is_a_sentence(
    source: str, sentence: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "shop" / "broken.py").write_text("1 / 0\n")
    monkeypatch.setenv("RECORDS_TYPES", source)
    with pytest.raises(InvalidRequest) as refused:
        load_record_types()
    assert refused.value.message.startswith(sentence)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("name", "key", "sentence"),
    [
        ("contacts", "number", "Two record types are called 'contacts': one of schemas.contacts:Contacts and one"),
        ("My orders", "number", "shop.orders:TYPES: Orders.Config.name is 'My orders'."),
        ("orders", "buyer", "shop.orders:TYPES: Orders is not a record type: Orders.Config.metadata['key'] must name"),
    ],
)  # fmt: skip
def test_a_model_that_is_no_record_type_is_a_sentence(
    name: str, key: str, sentence: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, name, key)
    monkeypatch.setenv("RECORDS_TYPES", "shop.orders:TYPES")
    with pytest.raises(InvalidRequest) as refused:
        load_record_types()
    assert refused.value.message.startswith(sentence)


def test_a_setting_of_the_shipped_types_is_yes_or_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDS_SHIPPED_TYPES", "maybe")
    with pytest.raises(InvalidRequest, match=r"RECORDS_SHIPPED_TYPES is 'maybe'. Give yes or no."):
        record_type_names()


def test_no_record_type_at_all_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORDS_SHIPPED_TYPES", "no")
    with pytest.raises(InvalidRequest, match="No record type is left"):
        load_record_types()


def test_a_record_type_that_is_not_loaded_names_those_that_are() -> None:
    with pytest.raises(NotFound, match="defines the record type 'orders'; these are defined: contacts, flights"):
        load_model("orders")


def test_a_record_type_that_the_store_is_not_prepared_for_names_the_command(
    store: RecordStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECORDS_TYPES", "shop.orders:TYPES")
    with pytest.raises(Exception, match="not prepared for the record type 'orders' yet") as refused:
        store.record_type("orders")
    assert getattr(refused.value, "hint", "") == "Run: records init."
    store.initialise(load_record_types())
    assert store.record_type("orders").name == "orders"
