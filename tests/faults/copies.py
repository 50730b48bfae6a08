"""Copies of a store, each to be killed at another step."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resources.settings import Settings
from tests.faults.steps import settings_of
from tests.postgres import Postgres, database_of


@dataclass(frozen=True)
class Copies:
    """A store that nobody has open while it is copied, a folder for copies, and the server that has its catalog."""

    settings: Settings
    folder: Path
    postgres: Postgres | None

    def fatal(self, steps: int) -> list[int]:
        """At which of so many steps to kill: each, or each third and the last where a server makes a copy cost more."""
        return [*range(1, steps, 1 if self.postgres is None else 3), steps]

    @contextmanager
    def one(self, name: str) -> Iterator[Settings]:
        """The settings of a copy, which is gone at the end."""
        home = shutil.copytree(self.settings.home, self.folder / name)
        if self.postgres is None or self.settings.postgres is None:
            yield settings_of(home)
        else:
            database = self.postgres.create(database_of(self.settings.postgres))
            yield settings_of(home, self.postgres.address(database))
            self.postgres.drop(database)
        shutil.rmtree(home)
