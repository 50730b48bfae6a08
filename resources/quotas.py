"""Quotas: how much each account may have, as `quotas.yaml` in the home says.

Without that file nothing is measured. The records are counted under the write lock, so that two commits at the same
time cannot both use the last room.
"""

from collections.abc import Callable

from resources.file_storage import usage
from resources.record_store import RecordStore, examination, lake_files
from resources.record_store.lake import Connection
from resources.settings import Settings
from schemas.quotas import FILE, Measure, Quota, QuotasFile, Use, require_within


def read_quotas(settings: Settings) -> QuotasFile | None:
    """Return the quotas in `quotas.yaml`; None without that file. Raises InvalidRequest if the file is not valid."""
    path = settings.home / FILE
    if not path.exists():
        return None
    from resources.operator_file import read_operator_file  # imports ruamel, which most commands do not need

    return read_operator_file(path, QuotasFile)


class Quotas:
    """The quotas of one account. Each method raises QuotaExceeded for more than they allow."""

    def __init__(self, store: RecordStore, account: str) -> None:
        self._store = store
        self._account = account
        quotas = read_quotas(store.settings)
        self._quota = Quota() if quotas is None else quotas.of(account)

    def require_file(self, size: int) -> None:
        """Require room for a file that is about to be uploaded or previewed."""
        if self._quota.bytes is not None:
            with self._store.reading() as connection:
                self._require(Measure.BYTES, self._bytes(connection), size)
        if self._quota.files_a_day == 0:
            self._require(Measure.FILES_A_DAY, 0, 1)

    def require_another(self, sha256: str) -> None:
        """Require that a file may be previewed today. A file that was previewed today already costs nothing."""
        if self._quota.files_a_day is None:
            return
        with self._store.reading() as connection:
            midnight = self._store.time(connection).replace(hour=0, minute=0, second=0, microsecond=0)
            known = examination.files_previewed(connection, self._account, midnight)
        self._require(Measure.FILES_A_DAY, len(known), 0 if sha256 in known else 1)

    def require_records(self, created: int) -> None:
        """Require room for the records that a preview would create."""
        if self._quota.records is not None:
            with self._store.reading() as connection:
                self._require(Measure.RECORDS, examination.records_of(connection, self._account), created)

    def of_commit(self, staged: int) -> Callable[[Connection, int], None] | None:
        """Return what a commit calls with its connection and the number of new records; None without a quota.

        staged: the bytes of the staged records. The records that are written take about as much.
        """
        if self._quota.records is None and self._quota.bytes is None:
            return None

        def require(connection: Connection, created: int) -> None:
            if self._quota.records is not None:
                self._require(Measure.RECORDS, examination.records_of(connection, self._account), created)
            if self._quota.bytes is not None:
                self._require(Measure.BYTES, self._bytes(connection), staged)

        return require

    @property
    def limits_bytes(self) -> bool:
        """Returns whether the account has a quota of bytes."""
        return self._quota.bytes is not None

    def _require(self, measure: Measure, used: int, more: int) -> None:
        require_within(self._account, self._quota, Use(measure, used, more))

    def _bytes(self, connection: Connection) -> int:
        """Return the bytes of all files of the account, but for those in the inbox and the trash."""
        settings = self._store.settings
        folders = (settings.accounts, settings.archive, settings.quarantine)
        uploads = usage(settings.uploads / self._account).bytes
        return (
            lake_files.bytes_of(connection, self._account)
            + uploads
            + sum(usage(folder / self._account).bytes for folder in folders)
        )
