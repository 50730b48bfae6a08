"""`Uploads`: files that browsers send in pieces, kept in the home until they are imported.

An upload is a folder `uploads/ACCOUNT/ID` in the home. It has `upload.json`, the file itself, and its confirmed size.
A piece is confirmed after it is flushed. So a broken connection or a power cut costs at most the last piece.
Several requests may change one upload at the same time: `change` lets them wait for each other.
"""

import fcntl
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from resources.clock import new_id
from resources.disk_space import require_disk_space
from resources.file_storage import entries, make_folder, remove, replace_text, sync, usage
from resources.settings import Settings
from schemas.errors import InvalidRequest, NotFound, RecordsError, StoreBusy
from schemas.maintenance import Removed
from schemas.uploads import Upload

KEPT_FOR = timedelta(days=7)
"""How long an upload is kept after its last change."""

_DESCRIPTION, _CONFIRMED, _FILE, _PART = "upload.json", "confirmed", "file", "file.part"
_RECEIVING, _CHANGING = "lock", "change.lock"
_ID = re.compile(r"u-[0-9]{8}-[0-9]{9}-[0-9a-f]{6}")
_NAME_BYTES = 180
_MOST = 200
"""How many uploads an account has at most. They are removed a week after their last change."""
_HIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")


class OffsetMismatch(RecordsError):
    """A piece does not begin where the file on the server ends. `offset` is where it must begin."""

    code = "offset_mismatch"

    def __init__(self, offset: int) -> None:
        super().__init__(f"The file on the server has {offset:,} bytes.", "Continue from there.")
        self.offset = offset


class TooLarge(InvalidRequest):
    """The file is larger than may be uploaded."""

    code = "too_large"


@dataclass
class Piece:
    """A piece of a file that is being received. `write` takes its bytes."""

    file: BinaryIO
    left: int

    def write(self, data: bytes | bytearray) -> None:
        """Write bytes at the end. Raises InvalidRequest if the file would be longer than was said."""
        if len(data) > self.left:
            raise InvalidRequest("The file is longer than was said.", "Upload it again.")
        self.file.write(data)
        self.left -= len(data)


class Uploads:
    """The uploads of all accounts. An account sees only its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = settings.uploads

    def start(self, account: str, record_type: str, name: str, size: int, actor: str, now: datetime) -> Upload:
        """Returns a new upload, which has no bytes yet. `account` must be a valid name.

        Raises InvalidRequest for a size that is too large or negative, or if the account has too many uploads. Raises
        DiskFull if the disk has no room for it.
        """
        most = self._settings.upload_mb
        if not 0 <= size <= most * 1_000_000:
            raise TooLarge(
                f"The file has {size:,} bytes. At most {most:,} MB can be uploaded.",
                "Divide it, or raise RECORDS_UPLOAD_MB.",
            )
        if len(entries(self._root / account)) >= _MOST:
            raise InvalidRequest(f"The account has {_MOST} uploads already.", "Remove some of them.")
        announced = sum(it.bytes - self.received(it) for it in self.listed(account))
        require_disk_space(self._settings.home, size + announced, "The upload", "Free some space on the server.")
        upload = Upload(new_id("u", now), account, record_type, safe_name(name), size, actor, now)
        make_folder(self._folder(upload))
        self._save(upload)
        return upload

    def find(self, account: str, upload_id: str) -> Upload:
        """Returns an upload of the account. Raises NotFound if it has none with this id."""
        folder = self._root / account / upload_id
        with suppress(OSError, ValueError, KeyError, TypeError):
            if _ID.fullmatch(upload_id):
                return Upload.from_dict(json.loads((folder / _DESCRIPTION).read_text("utf-8")))
        raise NotFound("There is no such upload, or its time has ended.", "Upload the file again.")

    def listed(self, account: str) -> list[Upload]:
        """Returns the account's uploads, newest first."""
        found = []
        for folder in sorted((Path(str(it)) for it in entries(self._root / account)), reverse=True):
            with suppress(NotFound):
                found.append(self.find(account, folder.name))
        return found

    def change(self, upload: Upload, change: Callable[[Upload], Upload]) -> Upload:
        """Change what is known of an upload, and return it as it is then.

        `change` is called with what is known now, which another request may have changed since. Raises NotFound if the
        upload was removed.
        """
        with self._found(upload), _locked(self._folder(upload) / _CHANGING, waits=True):
            known = self.find(upload.account, upload.upload_id)
            changed = change(known)
            if changed != known:
                self._save(changed)
            return changed

    def received(self, upload: Upload) -> int:
        """Returns how many bytes are on the disk for certain."""
        try:
            return int((self._folder(upload) / _CONFIRMED).read_text("ascii"))
        except FileNotFoundError:
            return 0

    def is_complete(self, upload: Upload) -> bool:
        """Returns whether the whole file is on the disk. Gives it its name if a power cut came before that."""
        if self.received(upload) != upload.bytes:
            return False
        if not self.file(upload).exists():
            self._name(upload)
        return self.file(upload).exists()

    def file(self, upload: Upload) -> Path:
        """Returns the path of the complete file. Its last part is the name that the person gave."""
        return self._folder(upload) / _FILE / upload.name

    @contextmanager
    def receiving(self, upload: Upload, offset: int) -> Iterator[Piece]:
        """Yields a piece of the file to write to. At the end, also after an error, what was written is confirmed.

        Raises OffsetMismatch if the file on the disk does not end at the offset. Raises StoreBusy if another connection
        sends a piece of the same file. Raises NotFound if the upload was removed.
        """
        folder = self._folder(upload)
        with self._found(upload), _locked(folder / _RECEIVING):
            confirmed = self.received(upload)
            if offset != confirmed:
                raise OffsetMismatch(confirmed)
            if confirmed == upload.bytes and self.file(upload).exists():
                yield Piece(io.BytesIO(), 0)  # it is whole, so there is no part to add to
                return
            with (folder / _PART).open("ab") as file:
                yield from self._received_piece(upload, file, confirmed)
            if self.received(upload) == upload.bytes:
                self._name(upload)

    def _received_piece(self, upload: Upload, file: BinaryIO, confirmed: int) -> Iterator[Piece]:
        """Yields a piece at the end of the part. Afterwards, what was written is confirmed."""
        if file.tell() < confirmed:  # the disk has lost what it had flushed
            confirmed = file.tell()
            replace_text(self._folder(upload) / _CONFIRMED, str(confirmed))
            raise OffsetMismatch(confirmed)
        file.truncate(confirmed)  # what a power cut has left behind is not certain
        file.seek(confirmed)
        try:
            yield Piece(file, upload.bytes - confirmed)
        finally:
            file.flush()
            size = file.tell()
            os.fsync(file.fileno())
            replace_text(self._folder(upload) / _CONFIRMED, str(size))

    def remove(self, upload: Upload) -> None:
        """Remove an upload with its file. Its description goes first: an upload is there whole, or not at all."""
        remove(self._folder(upload) / _DESCRIPTION)
        remove(self._folder(upload))

    def sweep(self, now: datetime) -> Removed:
        """Remove the uploads that nobody has changed for KEPT_FOR. Returns what was removed."""
        removed = Removed()
        for account in entries(self._root):
            for folder in entries(account):
                found = usage(folder)
                if found.at is not None and found.at + KEPT_FOR <= now:
                    remove(folder / _DESCRIPTION)
                    remove(folder)
                    removed += Removed(1, found.bytes)
        return removed

    def _name(self, upload: Upload) -> None:
        """Give the whole file its name."""
        folder = self._folder(upload)
        make_folder(folder / _FILE)
        with suppress(FileNotFoundError):  # another request was faster, or there are no bytes yet
            os.replace(folder / _PART, self.file(upload))
        sync(folder / _FILE)
        sync(folder)

    def _save(self, upload: Upload) -> None:
        """Write what is known of an upload to the disk, in one step."""
        replace_text(self._folder(upload) / _DESCRIPTION, json.dumps(upload.to_dict(), ensure_ascii=False))

    @contextmanager
    def _found(self, upload: Upload) -> Iterator[None]:
        """Raises NotFound for a missing file, if the whole upload was removed meanwhile."""
        try:
            yield
        except FileNotFoundError:
            self.find(upload.account, upload.upload_id)
            raise

    def _folder(self, upload: Upload) -> Path:
        return self._root / upload.account / upload.upload_id


def safe_name(name: str) -> str:
    """Returns the last part of a file's name, as a name that any file system takes.

    A browser may send a whole path, and another client anything.
    """
    last = _HIDDEN.sub("", re.split(r"[/\\]", name)[-1]).encode(errors="replace").decode()
    while len(last.encode()) > _NAME_BYTES:  # the end stays, because it says what the file is
        last = last[1:]
    return last if last.strip(". ") else "file"


@contextmanager
def _locked(path: Path, *, waits: bool = False) -> Iterator[None]:
    """Holds a lock that also keeps out other processes. If another has it, waits or raises StoreBusy at once."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            raise StoreBusy("Another connection is sending this file.", "Wait until it has ended.") from None
        yield
