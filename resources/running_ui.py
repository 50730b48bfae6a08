"""Where the deployment of this home is, while it runs: `ui.json`, which `records ui` writes."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from resources.settings import Settings
from schemas.batches import ImportReport


@dataclass(frozen=True)
class RunningUi:
    """The addresses of Dagster's UI and of the accounts' files, and the process that serves them."""

    url: str
    files: str
    pid: int

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The one of the home; what a killed one left behind is told like any other. None: there is none."""
        try:
            return cls(**json.loads(_path(settings).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, settings: Settings) -> None:
        """It can be found in the home from now on."""
        partial = _path(settings).with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        os.replace(partial, _path(settings))

    def links(self, report: ImportReport) -> dict[str, str]:
        """Where the browser finds the files of a batch, by what they are."""
        path = report.batch.link_token
        return {what: f"{self.files}/{report.batch.batch_id}/{path}/{what}" for what in report.files if path}

    @staticmethod
    def remove(settings: Settings) -> None:
        """It can be found no more."""
        _path(settings).unlink(missing_ok=True)


def _path(settings: Settings) -> Path:
    return settings.home / "ui.json"
