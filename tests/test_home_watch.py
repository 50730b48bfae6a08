"""What a running UI prints about changes in its home."""

import os
from dataclasses import replace

import pytest

from pipelines.commands import home_watch
from pipelines.commands.home_watch import HomeWatch, difference
from resources.record_store import RecordStore
from schemas import load_record_types

MISTAKE = "exports:\n- {name: daily, account: nobody, type: contacts, at: 07:00}\n"


@pytest.fixture
def watch(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> HomeWatch:
    monkeypatch.setattr(home_watch, "_TYPES_SECONDS", 0.0)
    return HomeWatch(store)


@pytest.mark.runs_on("laptop")
def test_a_mistake_in_an_operators_file_is_printed_once_it_is_there(store: RecordStore, watch: HomeWatch) -> None:
    assert watch.operator_notices() == []
    (store.settings.home / "exports.yaml").write_text(MISTAKE)
    (notice,) = watch.operator_notices()
    assert "export 'daily': There is no account 'nobody'." in notice
    assert watch.operator_notices() == []

    (store.settings.home / "exports.yaml").unlink()
    (store.settings.home / "inbox.yaml").write_text("nonsense: 1\n")
    (notice,) = watch.operator_notices()
    assert "inbox.yaml: `nonsense` is no setting of this file" in notice


@pytest.mark.runs_on("laptop")
def test_a_change_of_record_types_is_said_once(
    store: RecordStore, watch: HomeWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watch.type_notices() == []
    (contacts, *_) = load_record_types()
    module = next(file for file, name in watch._modules.items() if name == "contacts")
    watch._times[module] = os.stat_result(module.stat()).st_mtime - 1
    (notice,) = watch.type_notices()
    assert notice == f"{module}, the module of contacts, has changed. Run: records init. Then restart records ui."

    store.initialise([replace(contacts, description="Another description.")])
    assert watch.type_notices() == ["The store has other record types than this UI: contacts. Restart records ui."]
    assert watch.type_notices() == []


def test_a_record_type_that_the_store_lacks_comes_first() -> None:
    loaded = {record_type.name: record_type for record_type in load_record_types()}
    assert difference(loaded, loaded) == ""
    assert difference(loaded, {}) == "The store is not prepared for contacts, flights yet. Run: records init."
