"""The files of an account that were imported or wait for it, and how erased records leave them."""

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from resources.checksums import checksum, sha256_of, state_of
from resources.erasure.erased_records import ErasedRecords
from resources.erasure.file_cutter import cut
from resources.erasure.source_search import FoundRecords, SourceSearch, is_anywhere
from resources.file_storage import entries, exists, files_below, is_local, read, remove, sync
from resources.inbox.bundles import WHY, why_name
from resources.record_store import RecordStore
from resources.store_files import closed_folders
from schemas.batches import Batch
from schemas.erasure import Found, Touched
from schemas.errors import NotAccessible, NotFound, Refused
from schemas.files import StoredFile
from schemas.location import Location

_UNFINISHED = ".erasing"
"""How the name of a file ends that is being written beside the one that it will replace."""
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""The errors of a file system that gives a file one name only."""
_REASONS = (WHY, why_name(WHY))


@dataclass(frozen=True)
class SourceFile:
    """A file with erased records. is_exact: whether it can be written anew with exactly the other records.

    sha256: of the bytes that were searched; "" if they changed meanwhile. batch_id: the batch of a rejects file or of
    an archived file.
    """

    kind: Found
    place: Location
    found: FoundRecords
    is_exact: bool
    sha256: str
    batch_id: str | None = None

    @property
    def is_waiting(self) -> bool:
        """Returns whether it has other records that were not imported yet."""
        return self.kind is Found.INBOX and self.found.total != len(self.found.records)


def remove_certainly(place: Location) -> None:
    """Remove a file or folder. Raises NotAccessible if it is still there."""
    remove(place)
    if exists(place) or entries(place):
        raise NotAccessible(f"{place} cannot be removed.", "Let this user write its folder, then erase again.")


class SourceFiles:
    """Searches the files of one account and type, and takes the erased records out of them."""

    def __init__(self, store: RecordStore, account: str, erased: ErasedRecords, folder: Path) -> None:
        self._store = store
        self._account = account
        self._type = erased.record_type.name
        self._erased = erased
        self._folder = folder
        self._search = SourceSearch(store, account, erased)
        self._unreadable: set[str] = set()
        self._similar: set[str] = set()
        self._elsewhere: set[str] = set()

    @property
    def beyond(self) -> list[str]:
        """Returns, as sentences, the files with rows that may be erased records, and what this user may not read."""
        masked = self._erased.values.masked_name
        return [
            *(
                f"{masked(path)} has a row without a valid key that may be of the records: look at it."
                for path in sorted(self._similar)
            ),
            *(
                f"{masked(path)} has a key outside of such a record, as in a title or on another sheet: look at it."
                for path in sorted(self._elsewhere)
            ),
            *(
                f"{masked(path)} may not be read by this user, so it was not searched. "
                "It may have the records: let this user read it, then erase again."
                for path in sorted(self._unreadable)
            ),
        ]

    def find(self, batches: Sequence[Batch]) -> list[SourceFile]:
        """Returns the files with erased records: rejects, inbox, archive and quarantine.

        A file with a value in its name alone is among them, because it gets another name.
        """
        known = {batch.batch_id: batch for batch in batches}
        found, others = [], []
        for kind, place, batch_id in self._places(known):
            if is_local(place) and not (place.is_file() and not place.is_symlink()):
                continue
            if place.name.endswith(_UNFINISHED):
                remove(place)
                continue
            batch = known.get(batch_id or "") if kind is Found.ARCHIVE else None
            try:
                with self._store.files.fetched(place, self._folder) as path:
                    before = state_of(path)
                    records = self._search.find(path, batch)
                    if records.has_similar:
                        self._similar.add(str(place))
                    if records.has_any:
                        with cut(path, records, self._folder) as after:
                            is_exact = after is not None
                            if after is not None and is_anywhere(self._erased, after):
                                self._elsewhere.add(str(place))
                        found.append(SourceFile(kind, place, records, is_exact, _searched(path, before), batch_id))
                    else:
                        if is_anywhere(self._erased, path):
                            self._elsewhere.add(str(place))
                        others.append(SourceFile(kind, place, records, True, _searched(path, before), batch_id))
            except (FileNotFoundError, NotFound):  # it was moved or removed meanwhile
                continue
            except PermissionError:
                self._unreadable.add(str(place))
        own = re.compile(
            rf"(accounts/{self._account}(/rejects.*)?)|"
            rf"(inbox|processing/[^/]+|archive|quarantine)/{self._account}(/{re.escape(self._type)}.*)?"
        )
        settings, values = self._store.settings, self._erased.values
        self._unreadable |= {str(settings.data / it) for it in closed_folders(settings) if own.fullmatch(it)}
        return found + [file for file in others if values.has(file.place.name)]

    def finds_in(self, path: Path) -> bool:
        """Returns whether a file of this machine has erased records."""
        return self._search.find(path).has_any

    def finds_in_place(self, place: Location) -> bool:
        """Returns whether a file of the store has erased records; False if it was removed meanwhile."""
        try:
            with self._store.files.fetched(place, self._folder) as path:
                return self._search.find(path).has_any
        except PermissionError:
            self._unreadable.add(str(place))
        except (FileNotFoundError, NotFound):
            pass
        return False

    def require_exact(self, files: Sequence[SourceFile]) -> None:
        """Raises Refused if a file that waits for its import has erased records and cannot be written without them."""
        for file in files:
            if file.is_waiting and not file.is_exact:
                raise Refused(
                    f"{file.place} waits for its import. It has records to erase among others, and its format cannot "
                    "be written without them. Nothing was erased yet.",
                    "Import the file, or remove it from the inbox. Then erase again.",
                )

    def erase(self, file: SourceFile, actor: str) -> Touched:
        """Write a file without the erased records, or remove it if that is not exact.

        If a value is in its name, it gets another name, which no file has. A rejects file is alone in its folder.
        A file that is another one than was searched, or cannot be cut just now, stays: the next search finds it.
        """
        try:
            before = state_of(file.place)
            with self._store.files.fetched(file.place, self._folder) as path:
                if sha256_of(path) != file.sha256:
                    return Touched(file.kind)
                with self._left_of(file, path) as after:
                    if after is not None:
                        return self._replaced(file, path, after, before, actor)
                    if file.is_exact or state_of(file.place) != before:
                        return Touched(file.kind)
        except (FileNotFoundError, NotFound):  # it was moved or removed meanwhile
            return Touched(file.kind)
        remove_certainly(file.place)
        return Touched(file.kind, removed=1, records=len(file.found.records))

    def _left_of(self, file: SourceFile, path: Path) -> AbstractContextManager[Path | None]:
        """Yields the file without its erased records; None if it cannot be cut."""
        if not file.is_exact:
            return nullcontext()
        return cut(path, file.found, self._folder) if file.found.has_any else nullcontext(path)

    def _replaced(self, file: SourceFile, path: Path, after: Path, before: tuple[object, ...], actor: str) -> Touched:
        """Put what is left of a file into its place, or below its new name, if its state is still the one before."""
        masked = self._erased.values.masked(file.place.name)
        final = file.place.parent / masked
        working = final.parent / f".{masked}{_UNFINISHED}" if is_local(final) else self._store.files.working(final)
        try:
            shutil.copyfile(after, working)
            shutil.copystat(path, working)  # the inbox takes files in the order of their time
            if state_of(file.place) != before:
                return Touched(file.kind)
            if file.kind is Found.REJECTS:
                self._record(file, working, final, actor)
            if file.kind is Found.REJECTS or masked == file.place.name:
                self._store.files.put(working, final)
            else:
                self._put_new(working, final)
        finally:
            remove(working)
        if masked != file.place.name and state_of(file.place) == before:
            remove_certainly(file.place)
        return Touched(file.kind, rewritten=1, records=len(file.found.records))

    def _put_new(self, made: Path, final: Location) -> None:
        """Put a file to a location, or if its name is taken, to the next one that is free: `name-2.csv`."""
        begin, end = _parted(final.name)
        for number in count(1):
            place = final if number == 1 else final.parent / f"{begin}-{number}{end}"
            if not is_local(place):
                if exists(place):
                    continue
                self._store.files.put(made, place)
                return
            try:
                sync(made)
                os.link(made, place)  # unlike a rename, this replaces no file that came just now
                sync(place.parent)
            except FileExistsError:
                continue
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if os.path.lexists(place):
                    continue
                self._store.files.put(made, place)
            return

    def mask_reasons(self) -> Touched:
        """Take the erased values out of the texts that say why a file is in quarantine."""
        values, rewritten = self._erased.values, 0
        for listed in files_below(self._store.settings.quarantine / self._account / self._type):
            if listed.place.name not in _REASONS:
                continue
            try:
                text = read(listed.place).decode("utf-8", "replace")
            except PermissionError:
                self._unreadable.add(str(listed.place))
                continue
            masked = values.masked(text)
            if masked != text:
                with self._store.files.making(listed.place) as made:
                    made.write_text(masked, "utf-8")
                rewritten += 1
        return Touched(Found.QUARANTINE, rewritten=rewritten)

    def _record(self, file: SourceFile, made: Path, final: Location, actor: str) -> None:
        """Record the new checksum of a rejects file, before it takes the place of the old one."""
        path = self._store.settings.path_below_data(final)
        batches = () if file.batch_id is None else (file.batch_id,)
        stored = StoredFile(path, made.stat().st_size, checksum(made), self._account, batches)
        with self._store.transaction("erase: rejects file", actor, writes=()) as transaction:
            transaction.record_files([stored])

    def _places(self, known: "dict[str, Batch]") -> Iterator[tuple[Found, Location, str | None]]:
        settings = self._store.settings
        for folder in _readable(settings.folder(self._account, "rejects")):
            if folder.name in known:
                yield from ((Found.REJECTS, place, folder.name) for place in _readable(folder))
        for root in (settings.inbox, *_readable(settings.processing)):
            for listed in files_below(root / self._account / self._type):  # in an object store, each has a folder
                yield Found.INBOX, listed.place, None
        for listed in files_below(settings.archive / self._account / self._type):
            yield Found.ARCHIVE, listed.place, listed.place.parent.name
        for listed in files_below(settings.quarantine / self._account / self._type):
            if listed.place.name not in _REASONS:
                yield Found.QUARANTINE, listed.place, None


def _searched(path: Path, before: tuple[object, ...]) -> str:
    """Returns the SHA-256 of a file that was searched; "" if its state is not the one before the search."""
    sha256 = sha256_of(path)
    return sha256 if state_of(path) == before else ""


def _parted(name: str) -> tuple[str, str]:
    """Returns the name of a file before and after the place of a number: before the first point, but not at 0."""
    at = name.find(".", 1)
    return (name, "") if at < 0 else (name[:at], name[at:])


def _readable(folder: Location) -> Sequence[Location]:
    """Returns the files and folders in a folder; none if this user may not read it."""
    try:
        return entries(folder)
    except PermissionError:
        return ()
