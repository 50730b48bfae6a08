r"""Every error a user can meet, as one tree.

```
RecordsError                exit 1   something failed; nothing was half done
├── InvalidRequest          exit 2   an option, name or value that cannot be meant
├── NotFound                exit 2   no such batch, export, account, type or file (for this account)
├── Refused                 exit 3   a rule says no; the state is as it was
│   ├── RejectsFound                 records are rejected and the import may not skip them
│   ├── AlreadyImported              the file's content is in the records already, by an earlier batch
│   ├── ModifiedSince                records were modified since and the rollback may not touch them
│   ├── WindowOver                   the time in which the batch could be committed or taken back has ended
│   ├── PreviewOutdated              what was previewed is no longer what would be written
│   ├── BeyondHorizon                the records as of that time are not kept any more
│   ├── ForeignData                  the catalog and the data are of two different stores
│   ├── CatalogOutdated              the catalog is older than the data, as after a backup was restored
│   └── ImplausibleClock             the time of this machine cannot be right
├── DamagedFile             exit 1   a file of the store is not as the store wrote it
├── UnreadableFile          exit 1   the bytes are not the format they claim to be
├── DiskFull                exit 1   there is no room for what would be written
├── OutOfMemory             exit 1   the operation takes more memory than it may
├── NotAccessible           exit 1   the system refuses to read or write a file or folder
├── StoreNotReady           exit 1   the store is missing, or older than the record types
├── StoreBusy               exit 1   another process holds the write lock, or took it (transient)
├── StoreUnreachable        exit 1   the server of the catalog or of the data does not answer, or refuses (transient)
├── CommitUnknown           exit 1   a commit was not confirmed: it is whole, or nothing of it is there
├── NoDeployment            exit 1   no Dagster deployment answers
└── Unaccounted             exit 1   the counts do not balance; the run stops before it writes
```

Catch the base class and show its two sentences:

    try:
        importer.commit("ua", batch_id)
    except RecordsError as error:
        print(error.message, error.hint, sep="\n")
"""


class RecordsError(Exception):
    """An operation that failed: what was received and what is valid, then what to do next.

    `message` and `hint` are whole sentences; `hint` may be empty. `quoted` is what the file itself says,
    such as its headers: it may be personal, so it is shown to the person who asked and is in no log, no
    event and not in `str(error)`. All are the exception's arguments, so that it survives pickling.
    """

    code = "failed"
    exit_code = 1
    transient = False

    def __init__(self, message: str, hint: str = "", quoted: str = "") -> None:
        super().__init__(message, hint, quoted)
        self.message = message
        self.hint = hint
        self.quoted = quoted

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class InvalidRequest(RecordsError):
    """An option, name or value that cannot be meant."""

    code = "invalid_request"
    exit_code = 2


class NotFound(RecordsError):
    """Nothing of that name exists for this account; the same words whoever else may own it."""

    code = "not_found"
    exit_code = 2


class Refused(RecordsError):
    """A rule forbids it now; nothing was changed."""

    code = "refused"
    exit_code = 3


class RejectsFound(Refused):
    """The batch has rejected records and the import was not told to skip them."""

    code = "rejects_found"


class AlreadyImported(Refused):
    """A batch of the same account, type and content is committed, and the import was not told to read it again."""

    code = "already_imported"


class ModifiedSince(Refused):
    """Records of the batch were modified since its commit, and the rollback was not told what to do about them."""

    code = "modified_since"


class WindowOver(Refused):
    """The time in which the batch could be taken back, or the preview committed, has ended; the message says when."""

    code = "window_over"


class PreviewOutdated(Refused):
    """The file, the record type or the records have changed since the preview."""

    code = "preview_outdated"


class BeyondHorizon(Refused):
    """The store keeps no snapshot of that time any more; the hint says what the oldest is."""

    code = "beyond_horizon"


class ForeignData(Refused):
    """The catalog and the data belong to two different stores, or the data to a store that is not known here."""

    code = "foreign_data"


class CatalogOutdated(Refused):
    """The data have files of commits that the catalog does not know: it was restored from a backup."""

    code = "catalog_outdated"


class ImplausibleClock(Refused):
    """The clock differs from another one, or has jumped; times that it gives would end what is promised."""

    code = "implausible_clock"


class DamagedFile(RecordsError):
    """A file of the store is missing or has other bytes than were written; the message names what it touches."""

    code = "damaged_file"


class UnreadableFile(RecordsError):
    """The bytes are not the format they claim to be; the message names the first bad place."""

    code = "unreadable_file"


class DiskFull(RecordsError):
    """There is no room on the disk for what would be written; the message says how much is needed or where."""

    code = "disk_full"


class OutOfMemory(RecordsError):
    """The operation takes more memory than the process, or DuckDB in it, may have."""

    code = "out_of_memory"


class NotAccessible(RecordsError):
    """The operating system refuses to read or write a file or folder; the message has its words."""

    code = "not_accessible"


class StoreNotReady(RecordsError):
    """The store does not exist, may not be used, is damaged, or was prepared for other record types than these."""

    code = "store_not_ready"


class StoreBusy(RecordsError):
    """Another process kept the write lock for longer than this one was willing to wait, or has it instead."""

    code = "store_busy"
    transient = True


class StoreUnreachable(RecordsError):
    """The server that has the catalog, or the data, does not answer, lets nobody in, or refuses."""

    code = "store_unreachable"
    transient = True


class CommitUnknown(RecordsError):
    """The catalog did not confirm a commit: whoever tries again without a look may do it twice."""

    code = "commit_unknown"


class NoDeployment(RecordsError):
    """Nothing that is Dagster answers at the address, or there is no address."""

    code = "no_deployment"


class Unaccounted(RecordsError):
    """Records read and records accounted for differ: a defect, never a property of the file."""

    code = "unaccounted"
