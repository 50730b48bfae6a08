"""Backups of a store as values: the manifest of each, and the results of making, verifying and restoring one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

FORMAT = 1
"""The version of the form of backups. Another version is refused."""

CATALOG, HOME = "catalog", "home"
"""The folders of a backup that have the catalog's rows and the operator's files. Other paths are below RECORDS_DATA."""


@dataclass(frozen=True)
class BackupFile:
    """A file of a backup: its path in the store, its bytes and its checksum.

    put_at: when the store's file was put there, for a file that may change. modified: its time in nanoseconds, which a
    restored file gets again.
    """

    path: str
    bytes: int
    checksum: str
    put_at: str | None = None
    modified: int | None = None

    @property
    def place(self) -> str:
        """Returns the path below the place of the backups. Files of one content and path are shared."""
        return f"files/{self.path}/{self.checksum.replace(':', '-')}"


@dataclass(frozen=True)
class Contents:
    """What a store has, as its catalog counts it. records: number of records by record type and account."""

    accounts: int
    batches: int
    exports: int
    records: Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Manifest:
    """A backup: the store and snapshot that it equals, when it was made, and its files.

    at: the time at which the store was as in the backup. seq: the number of the ledger's last row.
    verified_at: when all of its new files had been read back. store_format: the number of the store's format.
    """

    backup: str
    store: str
    snapshot: int
    seq: int
    at: datetime
    verified_at: datetime
    contents: Contents
    files: tuple[BackupFile, ...]
    store_format: int = 0

    @property
    def bytes(self) -> int:
        """Returns the bytes of all files."""
        return sum(file.bytes for file in self.files)

    def to_json(self) -> str:
        """Returns the manifest as one line of JSON."""
        written = {**vars(self), "at": self.at.isoformat(), "verified_at": self.verified_at.isoformat()}
        if not self.store_format:
            del written["store_format"]  # the older programs that can use this store do not know the key
        written["files"] = [[*vars(file).values()] for file in self.files]
        written["contents"] = {
            **vars(self.contents),
            "records": [[*key, number] for key, number in sorted(self.contents.records.items())],
        }
        return json.dumps(written, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Returns the manifest that `to_json` wrote. Raises ValueError, KeyError or TypeError for another text."""
        read = json.loads(text)
        contents = read["contents"]
        records = {(name, account): number for name, account, number in contents["records"]}
        return cls(
            **{
                **read,
                "at": datetime.fromisoformat(read["at"]),
                "verified_at": datetime.fromisoformat(read["verified_at"]),
                "contents": Contents(**{**contents, "records": records}),
                "files": tuple(BackupFile(*file) for file in read["files"]),
            }
        )


@dataclass(frozen=True)
class BackupReport:
    """What a backup has, what was new in it, and what was left out.

    lock_seconds: how long writers had to wait at most.
    left_out: files of the inbox that were still arriving. unreadable: files and folders that this user may not read.
    pruned: the earlier backups that were removed. freed: the bytes of the files that only they had.
    """

    backup: str
    place: str
    snapshot: int
    at: datetime
    files: int
    bytes: int
    new_files: int
    new_bytes: int
    verified: int
    seconds: float
    lock_seconds: float
    left_out: tuple[str, ...]
    unreadable: tuple[str, ...]
    pruned: tuple[str, ...]
    freed: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for backup."""
        lists = {name: [*getattr(self, name)] for name in ("left_out", "unreadable", "pruned")}
        return asdict(self) | {"at": self.at.isoformat()} | lists


@dataclass(frozen=True)
class ListedBackup:
    """A backup in a list. `damage` says what is wrong with it; None if nothing was found.

    snapshot, at, files, bytes, verified_at: None if the manifest cannot be read.
    """

    backup: str
    snapshot: int | None = None
    at: datetime | None = None
    files: int | None = None
    bytes: int | None = None
    verified_at: datetime | None = None
    damage: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for backups."""
        times = {name: at and at.isoformat() for name, at in (("at", self.at), ("verified_at", self.verified_at))}
        return asdict(self) | times


@dataclass(frozen=True)
class RestoreReport:
    """What was restored, and what is left to do.

    kept: files of the home that were there already and differ.
    erased: erasures after the backup, as sentences. The restored store has what they erased.
    store_format: the number of the store's format.
    """

    backup: str
    store: str
    is_new_id: bool
    snapshot: int
    at: datetime
    accounts: int
    batches: int
    exports: int
    records: int
    files: int
    bytes: int
    seconds: float
    kept: tuple[str, ...]
    store_format: int
    erased: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the keys that the command prints for restore."""
        return asdict(self) | {"at": self.at.isoformat(), "kept": [*self.kept], "erased": [*self.erased]}


@dataclass(frozen=True)
class LastBackup:
    """The last backup of a store that was completed: where it is, and when it was made and verified."""

    backup: str
    place: str
    snapshot: int
    at: datetime
    verified_at: datetime

    def to_json(self) -> str:
        """Returns it as JSON."""
        return json.dumps(vars(self), default=lambda at: at.isoformat())

    @classmethod
    def from_json(cls, text: str) -> "LastBackup":
        """Returns what `to_json` wrote. Raises ValueError, KeyError or TypeError for another text."""
        read = json.loads(text)
        times = {name: datetime.fromisoformat(read[name]) for name in ("at", "verified_at")}
        return cls(**{**read, **times})
