"""The running UI of this home: `ui.json`, which `records ui` writes, and the links to the files that it serves."""

import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from resources.file_storage import sync
from resources.settings import Settings
from schemas.batches import ImportReport
from schemas.exports import ExportManifest

_KEY_BYTES = 32


@dataclass(frozen=True)
class RunningUi:
    """The addresses of Dagster's UI and of the accounts' files, and the process that serves them."""

    url: str
    files: str
    pid: int

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Returns the UI that the home names, even if it was killed; None if the home names none."""
        try:
            return cls(**json.loads(_path(settings).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, settings: Settings) -> None:
        """Write this UI's entry into the home, and make the key of links to exports if there is no whole one."""
        if _key(settings) is None:
            _make_key(_key_path(settings))
        partial = _path(settings).with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        os.replace(partial, _path(settings))

    def links(self, report: ImportReport) -> dict[str, str]:
        """Returns the addresses of a batch's files, by kind of file."""
        token = report.batch.link_token
        return {what: f"{self.files}/{report.batch.batch_id}/{token}/{what}" for what in report.files if token}

    def export_link(self, settings: Settings, export: ExportManifest) -> str | None:
        """Returns the address of an export's file; None if the UI does not serve it."""
        token = export_token(settings, export)
        return None if token is None else f"{self.files}/{export.export_id}/{token}/export"

    @staticmethod
    def remove(settings: Settings) -> None:
        """Remove the UI's entry from the home."""
        _path(settings).unlink(missing_ok=True)


def page_of(settings: Settings, account: str, *parts: str) -> str | None:
    """Returns the address of an account's web page, as `history` and an id; None if nobody knows where the pages are.

    It is not secret: the pages ask who reads them.
    """
    running = RunningUi.of(settings)
    pages = settings.web_url or (None if running is None else running.files)
    return None if pages is None else "/".join((pages, "a", account, *parts))


def export_token(settings: Settings, export: ExportManifest) -> str | None:
    """Returns the secret part of the address of an export's file.

    None if there is no address: the file is outside the account's own folder of exports, or no UI has run here yet.
    """
    folder = settings.folder(export.account, "exports")
    if not str(export.path).startswith(f"{folder}/"):
        return None
    key = _key(settings)
    return None if key is None else hmac.new(key, export.export_id.encode(), "sha256").hexdigest()


def _path(settings: Settings) -> Path:
    return settings.home / "ui.json"


def _key(settings: Settings) -> bytes | None:
    """Returns the key of links to exports; None if there is none, or a power cut has left a part of one."""
    try:
        key = _key_path(settings).read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _make_key(path: Path) -> None:
    """Write a new key that only this user can read. It is complete under its name, even after a power cut."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync(path.parent)


def _key_path(settings: Settings) -> Path:
    """Returns the path of the key of links to exports. The key stays, so that links in Dagster's history still work."""
    return settings.home / "links.key"
