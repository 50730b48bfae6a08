"""Stores that each worker of pytest makes once, and copies for each test that starts from one."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from resources.file_reader import reader
from resources.record_store import RecordStore
from resources.settings import Settings
from schemas import load_record_types
from tests.forked_reading import FORKED
from tests.object_server import ObjectServer, on_disk
from tests.postgres import Postgres

Make = Callable[[Settings, Path], Any]
"""Makes a store where the settings say, with files of its own in a folder. Its result is for the tests."""


@dataclass(frozen=True)
class Prepared:
    """A store to copy: its home, its database, its objects if it has them, and the result of its maker."""

    home: Path
    database: str
    objects: Path | None
    value: Any

    def copy_to(self, settings: Settings) -> None:
        """Copy its home and its objects. The database that the settings name must be a copy already."""
        shutil.copytree(self.home, settings.home, symlinks=True)
        if self.objects is not None:
            shutil.copytree(self.objects, on_disk(settings.data), dirs_exist_ok=True)


class PreparedStores:
    """The stores that were made so far."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[Make, str], Prepared] = {}

    def get(self, make: Make, setting: str, request: pytest.FixtureRequest) -> Prepared:
        """Return the store that `make` makes in this setting."""
        if (make, setting) not in self._made:
            self._made[make, setting] = self._make(make, setting, request)
        return self._made[make, setting]

    def _make(self, make: Make, setting: str, request: pytest.FixtureRequest) -> Prepared:
        folder = self._folder / f"{len(self._made)}"
        home, database, objects = folder / "home", "", None
        environment = {"RECORDS_HOME": str(home), "RECORDS_ACTOR": "tester"}
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(reader, "subprocess", FORKED)
            if setting != "laptop":
                postgres: Postgres = request.getfixturevalue("postgres")
                database = postgres.create()
                environment["RECORDS_CATALOG"] = postgres.address(database)
            if setting == "server":
                server: ObjectServer = request.getfixturevalue("objects")
                for name, value in server.environment.items():
                    patch.setenv(name, value)
                bucket = server.create()
                environment["RECORDS_DATA"] = f"{bucket}/data"
                objects = server.folder(f"{bucket}/data")
            settings = Settings.from_environment(environment)
            files = folder / "files"
            files.mkdir(parents=True)
            return Prepared(home, database, objects, make(settings, files))


def starts_with(make: Make) -> pytest.MarkDecorator:
    """Mark a test that starts from a copy of the store that a function makes."""
    return pytest.mark.starts_with.with_args(make)


def an_empty_store(settings: Settings, _: Path) -> None:
    """Make a store that has the record types."""
    with RecordStore(settings) as store:
        store.initialise(load_record_types())
