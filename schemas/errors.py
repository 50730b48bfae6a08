r"""Every error a user can meet, as one tree.

```
RecordsError                exit 1   something failed; nothing was half done
├── InvalidRequest          exit 2   an option, name or value is not valid
├── NotFound                exit 2   no such batch, export, account, type or file (for this account)
├── Refused                 exit 3   a rule forbids it; nothing was changed
│   ├── RejectsFound                 records are rejected and the import may not skip them
│   ├── Uncertain                    the file can be read in several ways and nobody has said which is right
│   ├── AlreadyImported              an earlier batch has imported the same content
│   ├── ModifiedSince                records were modified since and the rollback may not touch them
│   ├── WindowOver                   the time to commit the batch or roll it back has ended
│   ├── PreviewOutdated              the preview no longer shows what would be written
│   ├── BeyondHorizon                the records as of that time are no longer kept
│   ├── QuotaExceeded                the account would have more records, bytes or files than it may have
│   ├── ForeignData                  the catalog and the data belong to different stores
│   ├── CatalogOutdated              the catalog is older than the data, as after a restored backup
│   └── ImplausibleClock             the clock of this machine is wrong
├── DamagedFile             exit 1   a file of the store is missing or has changed
├── UnreadableFile          exit 1   the file does not have the format that it seems to have
├── DiskFull                exit 1   the disk has no room for what would be written
├── OutOfMemory             exit 1   the operation needs more memory than it may use
├── NotAccessible           exit 1   the system refuses to read or write a file or folder
├── StoreNotReady           exit 1   the store is missing, or older than the record types
│   └── OtherFormat                  a program of another version made the store
├── StoreBusy               exit 1   another process has the write lock (transient)
├── StoreUnreachable        exit 1   the server of the catalog or the data does not answer, or refuses (transient)
├── CommitUnknown           exit 1   the catalog did not confirm a commit; it is there whole, or not at all
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

    `message` and `hint` are whole sentences; `hint` may be empty. `quoted` has texts of the file itself, such as its
    headers. They may be personal. So only the user who asked sees them; `str(error)`, logs and events leave them out.
    All three are the exception's arguments, so that it survives pickling.
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
    """An option, name or value is not valid."""

    code = "invalid_request"
    exit_code = 2


class NotFound(RecordsError):
    """Nothing of that name exists for this account. The words are the same if another account owns it."""

    code = "not_found"
    exit_code = 2


class Refused(RecordsError):
    """A rule forbids the operation. Nothing was changed."""

    code = "refused"
    exit_code = 3


class RejectsFound(Refused):
    """The batch has rejected records, and the import may not skip them."""

    code = "rejects_found"


class Uncertain(Refused):
    """The file can be read in several ways, and no user has said which one is right."""

    code = "uncertain"


class AlreadyImported(Refused):
    """A batch of the same account, type and content is committed, and the import may not repeat it."""

    code = "already_imported"


class ModifiedSince(Refused):
    """Records of the batch were modified since its commit, and the rollback may not touch them."""

    code = "modified_since"


class WindowOver(Refused):
    """The time to commit the preview or roll the batch back has ended. The message says when."""

    code = "window_over"


class PreviewOutdated(Refused):
    """The file, the record type or the records have changed since the preview."""

    code = "preview_outdated"


class BeyondHorizon(Refused):
    """The store no longer has a snapshot of that time. The hint names the oldest one."""

    code = "beyond_horizon"


class QuotaExceeded(Refused):
    """The account would have more than `quotas.yaml` allows. The message says what, how much, and the limit."""

    code = "quota_exceeded"


class ForeignData(Refused):
    """The catalog and the data belong to different stores, or the data belong to an unknown store."""

    code = "foreign_data"


class CatalogOutdated(Refused):
    """The data have files of commits that the catalog does not have, because it was restored from a backup."""

    code = "catalog_outdated"


class ImplausibleClock(Refused):
    """The clock differs from another clock, or has jumped. Its time could end a batch's time too early."""

    code = "implausible_clock"


class DamagedFile(RecordsError):
    """A file of the store is missing or has changed. The message names what it affects."""

    code = "damaged_file"


class UnreadableFile(RecordsError):
    """A file does not have the format that it seems to have. The message names the first bad place."""

    code = "unreadable_file"


class DiskFull(RecordsError):
    """The disk has no room for what would be written. The message says how much is needed, or where."""

    code = "disk_full"


class OutOfMemory(RecordsError):
    """The operation needs more memory than the process, or DuckDB in it, may use."""

    code = "out_of_memory"


class NotAccessible(RecordsError):
    """The operating system refuses to read or write a file or folder. The message quotes it."""

    code = "not_accessible"


class StoreNotReady(RecordsError):
    """The store does not exist, may not be used, is damaged, or was prepared for other record types."""

    code = "store_not_ready"


class OtherFormat(StoreNotReady):
    """The store has another format than this program reads and writes: an older or a newer program made it."""

    code = "other_format"


class StoreBusy(RecordsError):
    """Another process has the write lock, and this one has waited long enough or has lost it."""

    code = "store_busy"
    transient = True


class StoreUnreachable(RecordsError):
    """The server of the catalog or the data does not answer, takes no connections, or refuses."""

    code = "store_unreachable"
    transient = True


class CommitUnknown(RecordsError):
    """The catalog did not confirm a commit. Look at the history first, because a second attempt may write it twice."""

    code = "commit_unknown"


class NoDeployment(RecordsError):
    """No Dagster deployment answers at the address, or no address is known."""

    code = "no_deployment"


class Unaccounted(RecordsError):
    """The number of records read differs from the number of outcomes. This is a defect, whatever the file contains."""

    code = "unaccounted"
