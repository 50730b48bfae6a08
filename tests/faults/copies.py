"""Copies of a store; a test kills each copy's process at another step."""

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
    """Makes copies, in a folder, of a store that no process has open. `server` has its catalog."""

    settings: Settings
    folder: Path
    postgres: Postgres | None

    def fatal(self, steps: int) -> list[int]:
        """Return the steps to kill at: each step, or on a server, where copies cost more, each third and the last."""
        return [*range(1, steps, 1 if self.postgres is None else 3), steps]

    @contextmanager
    def one(self, name: str) -> Iterator[Settings]:
        """Yield the settings of a copy, which is deleted at the end."""
        home = shutil.copytree(self.settings.home, self.folder / name)
        if self.postgres is None or self.settings.postgres is None:
            yield settings_of(home)
        else:
            database = self.postgres.create(database_of(self.settings.postgres))
            yield settings_of(home, self.postgres.address(database))
            self.postgres.drop(database)
        shutil.rmtree(home)
